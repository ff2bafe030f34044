import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { readBundleFolder } from "../../src/cli/bundle-folder.ts";
import { BUNDLE_LIMITS, decodeBundle, encodeBundle } from "../../src/core/bundle.ts";

const folder = (test: { testdir(): string }): string => {
  const dir = test.testdir();
  writeFileSync(join(dir, "op.yaml"), "op: a/b\n");
  return dir;
};
const refused = (detail: RegExp) => ({ code: "bundle_invalid", detail });

t.test("files, folders, executable bits; times and owners do not count", async (t) => {
  const dir = folder(t);
  mkdirSync(join(dir, "lib/deep"), { recursive: true });
  mkdirSync(join(dir, "empty"));
  writeFileSync(join(dir, "main.sh"), "#!/bin/sh\n");
  chmodSync(join(dir, "main.sh"), 0o4711);
  writeFileSync(join(dir, "lib/deep/ünï.txt"), Buffer.from([0, 255]));
  const files = readBundleFolder(dir);
  t.same(
    files.map(({ path, mode }) => [path, mode]),
    [
      ["lib/deep/ünï.txt", 0o644],
      ["main.sh", 0o755],
      ["op.yaml", 0o644],
    ],
  );
  const first = encodeBundle(files);
  t.same(decodeBundle(first).length, 3);
  chmodSync(join(dir, "op.yaml"), 0o600);
  t.ok(encodeBundle(readBundleFolder(dir)).equals(first));
});

t.test("no folder, a file, an empty folder", async (t) => {
  const dir = folder(t);
  t.throws(() => readBundleFolder(join(dir, "nope")), refused(/ENOENT.*holds op\.yaml/));
  t.throws(() => readBundleFolder(join(dir, "op.yaml")), refused(/is no folder/));
  mkdirSync(join(dir, "sub"));
  t.throws(() => readBundleFolder(join(dir, "sub")), refused(/holds no file/));
});

t.test("links: to a file, a folder, out of the folder, to nothing, in a subfolder", async (t) => {
  const targets = ["op.yaml", ".", "..", "/etc/passwd", "nowhere", "link"];
  for (const target of targets) {
    const dir = folder(t);
    symlinkSync(target, join(dir, "link"));
    t.throws(() => readBundleFolder(dir), refused(/"link" is a symbolic link/), target);
    execFileSync("rm", [join(dir, "link")]);
  }
  const dir = folder(t);
  mkdirSync(join(dir, "sub"));
  symlinkSync("/etc", join(dir, "sub/etc"));
  t.throws(() => readBundleFolder(dir), refused(/"sub\/etc" is a symbolic link/));
});

t.test("the folder itself may be named through a link", async (t) => {
  const dir = folder(t);
  mkdirSync(join(dir, "real"));
  writeFileSync(join(dir, "real/op.yaml"), "x");
  symlinkSync("real", join(dir, "link"));
  t.equal(readBundleFolder(join(dir, "link")).length, 1);
});

t.test("a hard link is a file like any other", async (t) => {
  const dir = folder(t);
  linkSync(join(dir, "op.yaml"), join(dir, "copy"));
  t.equal(readBundleFolder(dir).length, 2);
});

t.test("FIFO (never opened, so nothing hangs), socket, device", async (t) => {
  // A socket's address is at most 107 bytes, so not below this checkout.
  const dir = mkdtempSync(join(tmpdir(), "folder-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  execFileSync("mkfifo", [join(dir, "pipe")]);
  t.throws(() => readBundleFolder(dir), refused(/"pipe" is a FIFO/));
  execFileSync("rm", [join(dir, "pipe")]);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(dir, "sock"), resolve));
  t.throws(() => readBundleFolder(dir), refused(/"sock" is a socket/));
  await new Promise((resolve) => server.close(resolve));
  try {
    execFileSync("mknod", [join(dir, "null"), "c", "1", "3"], { stdio: "ignore" });
  } catch {
    t.skip("making a device node needs CAP_MKNOD", async () => {});
    return;
  }
  t.throws(() => readBundleFolder(dir), refused(/"null" is a device/));
});

t.test("names: control characters, invisible ones, not UTF-8, too deep, too long", async (t) => {
  for (const name of ["a\nb", "a\u001bb", "a\u202eb", "a\\b"]) {
    const dir = folder(t);
    writeFileSync(join(dir, name), "");
    t.throws(() => readBundleFolder(dir), refused(/can't be used/), JSON.stringify(name));
    execFileSync("rm", [join(dir, name)]);
  }
  const dir = folder(t);
  writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from([0x61, 0xff])]), "");
  t.throws(() => readBundleFolder(dir), refused(/not valid UTF-8/));
  const deep = mkdtempSync(join(tmpdir(), "folder-"));
  t.teardown(() => rmSync(deep, { recursive: true }));
  mkdirSync(join(deep, ..."abcdefghijklmnopq".split("")), { recursive: true });
  t.throws(() => readBundleFolder(deep), refused(/deeper than 16/));
});

t.test("too many files, folders or bytes", async (t) => {
  const dir = folder(t);
  truncateSync(join(dir, "op.yaml"), BUNDLE_LIMITS.total + 1);
  t.throws(() => readBundleFolder(dir), refused(/more than 8388608 bytes.*"op.yaml"/));
  truncateSync(join(dir, "op.yaml"), 2 ** 40);
  t.throws(() => readBundleFolder(dir), refused(/more than 8388608 bytes/), "a sparse file costs no memory");
  truncateSync(join(dir, "op.yaml"), 0);
  for (let i = 0; i < BUNDLE_LIMITS.files - 1; i++) writeFileSync(join(dir, `f${i}`), "");
  t.equal(readBundleFolder(dir).length, BUNDLE_LIMITS.files);
  writeFileSync(join(dir, "more"), "");
  t.throws(() => readBundleFolder(dir), refused(/more than 512 files/));
  const empty = join(dir, "e");
  for (let i = 0; i < BUNDLE_LIMITS.files * 2 + 1; i++)
    mkdirSync(join(empty, String(i)), { recursive: true });
  t.throws(() => readBundleFolder(empty), refused(/more than 1024 files and folders/));
});

t.test("a file that is written while it is read, and a name that is swapped for a link", async (t) => {
  const dir = folder(t);
  const script = `
    cd "$1"; i=0
    while [ -e go ]; do
      dd if=/dev/zero of=big bs=64k count=40 2>/dev/null
      ln -sfn /etc/passwd swap; rm -f swap; echo inside > swap
    done`;
  writeFileSync(join(dir, "go"), "");
  writeFileSync(join(dir, "big"), "");
  const writer = spawn("/bin/sh", ["-c", script, "sh", dir]);
  const ended = new Promise((resolve) => writer.on("exit", resolve));
  let reads = 0;
  let changed = 0;
  const start = Date.now();
  while (Date.now() < start + 1000 || (changed === 0 && Date.now() < start + 20_000)) {
    try {
      const swap = readBundleFolder(dir).find(({ path }) => path === "swap");
      reads++;
      const text = swap === undefined ? "" : Buffer.from(swap.bytes).toString();
      if (!["", "inside\n"].includes(text)) t.fail(`read through a link: ${text.slice(0, 20)}`);
    } catch (error) {
      const { code, detail = "" } = error as { code?: string; detail?: string };
      if (code !== "bundle_invalid") throw error;
      if (/"big" changed while it was read/.test(detail)) changed++;
      reads++;
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  execFileSync("rm", [join(dir, "go")]);
  await ended;
  t.ok(reads > 10, "many reads");
  t.ok(changed > 0, "a torn read was noticed");
});
