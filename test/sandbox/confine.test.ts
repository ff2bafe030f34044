import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { launch } from "./support/once.ts";
import { harden } from "./support/serve.ts";
import { BUILD, type ConfineSpec, confineSpec, LAUNCHER, ROOT, record, VERSION } from "./support/spec.ts";

const READ = 1;
const WRITE = 2;
const EXEC = 4;
const OPTIONAL = 128;
const folder = mkdtempSync(join(tmpdir(), "sallyport-confine-"));
t.teardown(() => rmSync(folder, { recursive: true }));
const outside = join(folder, "outside");
writeFileSync(outside, "not for roles");
chmodSync(outside, 0o644);
const script = join(import.meta.dirname, "support/role.mjs");

/** What the development runtime reads; the packaged one needs less. */
const NODE: ConfineSpec["paths"] = [
  { rights: READ | EXEC, path: ROOT },
  { rights: READ | EXEC, path: "/usr" },
  { rights: READ | EXEC | OPTIONAL, path: "/lib" },
  { rights: READ | EXEC | OPTIONAL, path: "/lib64" },
  { rights: READ, path: "/proc" },
  { rights: READ | OPTIONAL, path: "/sys/fs/cgroup" },
  { rights: READ | WRITE, path: "/dev" },
];
const alive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");

const role = (name: string, extra: Partial<ConfineSpec> = {}): Buffer =>
  confineSpec({
    argv: [
      process.execPath,
      script,
      join(BUILD, "harden.node"),
      join(BUILD, "seccomp/role-noexec.bpf"),
      outside,
    ],
    execPath: process.execPath,
    env: ["PATH=/usr/bin", "OPENSSL_CONF=/dev/null"],
    seccomp: `role-${name}`,
    paths: NODE,
    pdeathsig: 9,
    ...extra,
  });

for (const name of ["keeper", "notary", "runner", "gateway", "egress", "courier"]) {
  t.test(`Node confined as ${name}`, async (t) => {
    const internet = name === "gateway" || name === "egress" || name === "courier";
    const r = await launch("confine", role(name, { net: internet ? 1 : 3, scope: 2 }));
    t.equal(r.code, 0, r.stderr);
    const out = JSON.parse(r.stdout);
    t.match(out, {
      spawnBefore: "EPERM",
      execFile: "EPERM",
      execve: /EPERM|ERR_FEATURE_UNAVAILABLE_ON_PLATFORM/,
      connect: internet ? "ECONNREFUSED" : "EPERM",
      unix: name === "keeper" ? "ok" : "EPERM",
      unixConnect: "EPERM",
      listen: "EPERM",
      socketpair: "ok",
      setuid: "EPERM",
      setgroups: "EPERM",
      caps: "ok",
      readInside: "ok",
      pool: "ok",
      worker: "ok",
    });
    if (name !== "keeper") {
      const refused = ["chmod", "fchmod", "chown", "utimes", "lutimes", "link", "symlink", "killSelf"];
      t.same(
        refused.filter((call) => out[call] !== "EPERM"),
        [],
        "by the filter, before any look at the path",
      );
    }
    t.same(out.env, ["OPENSSL_CONF", "PATH", "SALLYPORT_LANDLOCK"]);
    t.test(
      "by Landlock",
      { skip: /^abi=/.test(out.landlock) ? false : `Landlock: ${out.landlock}` },
      async (t) => {
        t.match(out, { readOutside: "EACCES", writeOutside: "EACCES" }, "asynchronous fs too");
        if (Number(out.landlock.slice(4)) >= 6) t.equal(out.signal, "EPERM", "no signal to its parent");
      },
    );
  });
}

t.test("descriptors: the kept ones and no other", async (t) => {
  const r = await launch(
    "confine",
    confineSpec({ argv: ["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"], execPath: "/bin/sh", keep: [] }),
  );
  t.equal(r.stdout, "0 1 2 3 ", "3 is ls's own");
  const kept = await launch(
    "confine",
    confineSpec({ argv: ["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"], execPath: "/bin/sh", keep: [3] }),
    { fd3: 0 },
  );
  t.equal(kept.stdout, "0 1 2 3 4 ");
  const missing = await launch("confine", confineSpec({ argv: ["sh"], execPath: "/bin/sh", keep: [77] }));
  t.match(missing, { code: 125, stderr: "launcher: keep_fd: Bad file descriptor\n" });
});

t.test("executes a sealed memfd, with limits and without cores", async (t) => {
  const fd = harden.memfd("true", readFileSync("/bin/cat"), true);
  const r = await new Promise<{ code: number | null; stdout: string }>((resolve) => {
    const child = spawn(LAUNCHER, ["confine", "4"], { stdio: ["ignore", "pipe", "inherit", fd, "pipe"] });
    let stdout = "";
    child.stdout?.on("data", (data) => {
      stdout += data;
    });
    child.on("close", (code) => resolve({ code, stdout }));
    (child.stdio[4] as NodeJS.WritableStream).end(
      confineSpec({ argv: ["cat", "/proc/self/limits"], execFd: 3, rlimits: [{ resource: 7, value: 50 }] }),
    );
  });
  harden.closeFd(fd);
  t.equal(r.code, 0);
  t.match(r.stdout, /Max open files +50 +50 /);
  t.match(r.stdout, /Max core file size +[01] +[01] /);
});

t.test("failures have a step and a status", async (t) => {
  const missing = await launch("confine", confineSpec({ argv: ["x"], execPath: "/nowhere" }));
  t.match(missing, { code: 126, stderr: "launcher: exec: No such file or directory\n" });
  const rule = await launch(
    "confine",
    confineSpec({ argv: ["x"], execPath: "/bin/true", paths: [{ rights: READ, path: "/nowhere" }] }),
  );
  t.match(rule, { code: 125, stderr: "launcher: landlock.path: No such file or directory\n" });
  const both = Buffer.concat([
    confineSpec({ argv: ["x"], execPath: "/bin/true" }),
    record(20, Buffer.alloc(4)),
  ]);
  t.match(await launch("confine", both), { code: 125, stderr: /^launcher: spec.exec: / });
  t.match(await launch("confine", VERSION), { code: 125, stderr: /^launcher: spec.argv: / });
  const notify = confineSpec({ argv: ["true"], execPath: "/bin/true", seccomp: "default" });
  t.match(
    await launch("confine", notify),
    { code: 125, stderr: /^launcher: seccomp.notify: / },
    "nobody would answer",
  );
});

t.test("runner: launcher and child die together", async (t) => {
  const spec = (text: string) => confineSpec({ argv: ["sh", "-c", text], execPath: "/bin/sh" });
  const status = await launch("runner", spec("echo fd $SALLYPORT_LAUNCHER_FD; exit 9"));
  t.match(status, { code: 9, stdout: /^fd \d+\n$/ });
  t.equal((await launch("runner", spec("kill -TERM $$"))).code, 143);

  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const child = spawn(LAUNCHER, ["runner", "4"], {
      stdio: ["ignore", "pipe", "inherit", "ignore", "pipe"],
    });
    (child.stdio[4] as NodeJS.WritableStream).end(spec("echo $$; exec sleep 100"));
    const pid = await new Promise<number>((resolve) =>
      child.stdout?.once("data", (data) => resolve(Number(String(data)))),
    );
    t.ok(alive(pid));
    child.kill(signal);
    const code = await new Promise((resolve) => child.once("exit", (c, s) => resolve(c ?? s)));
    t.equal(code, signal === "SIGKILL" ? "SIGKILL" : 143, signal);
    for (let i = 0; i < 100 && alive(pid); i++) await sleep(10);
    t.notOk(alive(pid));
  }
});

t.test("usage", async (t) => {
  t.match(await launch("nonsense", VERSION), { code: 2 });
});
