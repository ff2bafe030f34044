import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { once, USERS } from "./support/once.ts";
import { probe } from "./support/probe.ts";
import { BIND, type BindEntry, type RunSpec, script } from "./support/spec.ts";

t.setTimeout(FILE_TIMEOUT);

/** A folder of the host with what root might list. `user`: who owns it. */
function host(user: number | undefined): { root: string; logs: string; file: string } {
  const root = mkdtempSync(join(tmpdir(), "sallyport-bind-"));
  const logs = join(root, "logs");
  mkdirSync(join(logs, "inner"), { recursive: true });
  writeFileSync(join(logs, "app.log"), "a line\n");
  writeFileSync(join(logs, "tool"), "#!/bin/sh\necho ran\n");
  chmodSync(join(logs, "tool"), 0o4755);
  writeFileSync(join(root, "secret"), "beside it\n");
  // So that it is the mount that refuses to be written to.
  chmodSync(join(logs, "app.log"), 0o666);
  symlinkSync("../secret", join(logs, "out"));
  symlinkSync(logs, join(root, "link"));
  for (const path of [root, logs, join(logs, "inner"), join(logs, "app.log")])
    if (user !== undefined) chownSync(path, user, user);
  return { root, logs, file: join(logs, "app.log") };
}

const withBinds = (text: string, binds: BindEntry[], extra: Partial<RunSpec> = {}): RunSpec =>
  script(text, { binds, ...extra, files: [{ tree: "op", path: "probe", content: probe() }] });

for (const { name, user } of USERS) {
  // Under root a run is an account of its own, which owns nothing: what others may read is what it reads.
  const options = user === undefined ? {} : { user };

  t.test(`a directory, as ${name}`, async (t) => {
    const { root, logs } = host(user);
    t.teardown(() => rmSync(root, { recursive: true }));
    if (user === undefined) for (const path of [root, logs]) chmodSync(path, 0o755);
    const text = `cat /run/resources/logs/app.log; cat /run/resources/logs/out; ls /run/resources /run/resources/logs/..
for what in "create /run/resources/logs/x" "write /run/resources/logs/app.log" "create /run/resources/x"; do ./probe $what; done
/run/resources/logs/tool; echo $?; grep /run/resources/ /proc/self/mountinfo`;
    const r = await once(withBinds(text, [{ name: "logs", path: logs }]), options);
    t.equal(r.code, 0, r.stderr);
    t.match(r.stdout, /^a line\n\/run\/resources:\nlogs\n/);
    t.notMatch(r.stdout, "beside it");
    t.match(r.stdout, "/run/resources/logs/..:\nlogs\n", "`..` stays inside");
    t.match(r.stdout, /\nEROFS\nEROFS\nEROFS\n126\n/);
    t.match(r.stdout, /\/run\/resources\/logs ro,nosuid,nodev,noexec/);
  });

  t.test(`a writable directory, as ${name}`, async (t) => {
    const { root, logs } = host(user);
    t.teardown(() => rmSync(root, { recursive: true }));
    chmodSync(root, 0o755);
    if (user === undefined) chmodSync(logs, 0o777);
    const text = `echo new > /run/resources/logs/new && mkdir /run/resources/logs/deeper && cat /run/resources/logs/new
mv /run/resources/logs/new /run/resources/logs/deeper/ && cp /bin/true /run/resources/logs/true; chmod 755 /run/resources/logs/true
/run/resources/logs/true; echo $?; ./probe mknod /run/resources/logs/null; grep /run/resources/ /proc/self/mountinfo`;
    const r = await once(withBinds(text, [{ name: "logs", path: logs, writable: true }]), options);
    t.match(r.stdout, /^new\n126\n.*EPERM\n/, r.stderr);
    t.match(r.stdout, /\/run\/resources\/logs rw,nosuid,nodev,noexec/);
    t.equal(readFileSync(join(logs, "deeper/new"), "utf8"), "new\n");
  });

  t.test(`what may be written can't be made setuid or setgid, as ${name}`, async (t) => {
    const { root, logs } = host(user);
    t.teardown(() => rmSync(root, { recursive: true }));
    chmodSync(root, 0o755);
    if (user === undefined) chmodSync(logs, 0o777);
    const binds = [{ name: "logs", path: logs, writable: true }];
    rmSync(join(logs, "tool"));
    const r = await once(
      withBinds("./probe setid /run/resources/logs; chmod 0750 /run/resources/logs/plain0", binds),
      options,
    );
    const words = r.stdout.trim().split(" ");
    t.equal(words.length, 25, r.stdout + r.stderr);
    for (const word of words.slice(0, -1)) t.match(word, /:EPERM$|^openat2:ENOSYS$/, word);
    t.equal(lstatSync(join(logs, "plain0")).mode & 0o7777, 0o750, "other modes are set");
    for (const made of readdirSync(logs)) t.equal(lstatSync(join(logs, made)).mode & 0o6000, 0, made);
    const without = await once(withBinds("./probe setid /tmp", []), options);
    t.match(without.stdout, "chmod:ok", "in its own /tmp, where it means nothing, an Op may");
  });

  t.test(`a file and a socket, as ${name}`, async (t) => {
    const { root, file } = host(user);
    t.teardown(() => rmSync(root, { recursive: true }));
    for (const path of [root, join(root, "logs")]) chmodSync(path, 0o755);
    const path = join(root, "s");
    let met = 0;
    const server = createServer((socket) => {
      met++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    t.teardown(() => server.close());
    chmodSync(path, 0o666);
    const text =
      "cat /run/resources/file; ./probe unix /run/resources/sock; ./probe write /run/resources/file; ./probe unix /run/resources/none; ./probe unix /run/resources/dir/s";
    const binds = [
      { name: "file", path: file, kind: BIND.file },
      { name: "sock", path, kind: BIND.socket },
      { name: "dir", path: root },
    ];
    const r = await once(withBinds(text, binds), options);
    // The last is what docs/resources.md warns of.
    t.match(r.stdout, /^a line\n.*ok\n.*EROFS\n.*ENOENT\n.*ok\n$/, r.stderr);
    t.equal(met, 2);
  });

  t.test(`what is not what was checked is refused, as ${name}`, async (t) => {
    const { root, logs, file } = host(user);
    t.teardown(() => rmSync(root, { recursive: true }));
    chmodSync(root, 0o755);
    const is = lstatSync(logs, { bigint: true });
    const cases: [string, BindEntry, RegExp][] = [
      [
        "a link at the end",
        { name: "r", path: join(root, "link"), dev: is.dev, ino: is.ino },
        /symbolic links/,
      ],
      ["a link on the way", { name: "r", path: join(root, "link/inner") }, /symbolic links/],
      ["another inode", { name: "r", path: logs, dev: is.dev, ino: is.ino + 1n }, /Stale/],
      ["another device", { name: "r", path: logs, dev: is.dev + 1n, ino: is.ino }, /Stale/],
      ["nothing there", { name: "r", path: join(root, "gone"), ino: 1n }, /No such file/],
      ["a file for a directory", { name: "r", path: file }, /Not a directory/],
      ["a directory for a file", { name: "r", path: logs, kind: BIND.file }, /Is a directory/],
      ["a file for a socket", { name: "r", path: file, kind: BIND.socket }, /socket/],
      ["a magic link", { name: "r", path: "/proc/self/cwd", ino: 1n }, /symbolic links/],
    ];
    for (const [what, bind, why] of cases) {
      const r = await once(withBinds("echo started", [bind]), options);
      t.match(r, { code: 125, stdout: "" }, what);
      t.match(r.stderr, /^launcher: bind r: /, what);
      t.match(r.stderr, why, what);
    }
  });
}
