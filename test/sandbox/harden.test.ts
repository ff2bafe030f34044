import { execFileSync, spawnSync } from "node:child_process";
import {
  closeSync,
  fstatSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { harden } from "./support/serve.ts";
import { BUILD, bpf } from "./support/spec.ts";

const code = (run: () => unknown): string => {
  try {
    run();
    return "ok";
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
};

t.test("peer credentials and descriptors over a socket pair", async (t) => {
  const [a, b] = harden.socketpair();
  t.same(harden.peerCred(a), { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
  t.equal(harden.recvFds(b, 100), null, "nothing there yet");
  const [read, write] = harden.pipe();
  harden.sendFds(a, Buffer.from("with"), [write]);
  harden.sendFds(a, Buffer.from("out"), []);
  const first = harden.recvFds(b, 4);
  t.equal(first?.bytes.toString(), "with");
  t.equal(first?.fds.length, 1);
  writeSync(first!.fds[0]!, "through");
  const buffer = Buffer.alloc(7);
  readSync(read, buffer);
  t.equal(buffer.toString(), "through");
  t.match(harden.recvFds(b, 100), { bytes: Buffer.from("out"), fds: [] });
  harden.closeFd(a);
  t.equal(harden.recvFds(b, 100)?.bytes.length, 0, "end of file");
  t.equal(
    code(() => harden.sendFds(b, Buffer.from("x"), [])),
    "EPIPE",
    "no SIGPIPE",
  );
  for (const fd of [b, read, write, ...first!.fds]) harden.closeFd(fd);
  const flags = (fd: number) => /flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
  const [c, d] = harden.socketpair();
  t.match(flags(c), /^02/, "close-on-exec");
  for (const fd of [c, d]) harden.closeFd(fd);
});

t.test("a full socket: EAGAIN after a second, not for ever", async (t) => {
  const [a, b] = harden.socketpair();
  const start = Date.now();
  t.equal(
    code(() => {
      for (let i = 0; i < 100; i++) harden.sendFds(a, Buffer.alloc(65_536), []);
    }),
    "EAGAIN",
  );
  t.ok(Date.now() - start < 10_000);
  for (const fd of [a, b]) harden.closeFd(fd);
});

t.test("sealed memfds", async (t) => {
  const fd = harden.memfd("code", Buffer.from("#!/bin/sh\n"), true);
  t.equal(fstatSync(fd).mode & 0o777, 0o500);
  t.equal(
    code(() => writeSync(fd, "x")),
    "EPERM",
  );
  t.equal(
    code(() => openSync(`/proc/self/fd/${fd}`, "r+")),
    process.getuid?.() === 0 ? "ok" : "EACCES",
  );
  const data = harden.memfd("data", readFileSync("/bin/true"));
  t.equal(fstatSync(data).mode & 0o111, 0);
  t.equal(spawnSync(`/proc/${process.pid}/fd/${data}`).error !== undefined, true, "data can't be executed");
  const program = harden.memfd("program", readFileSync("/bin/true"), true);
  t.equal(spawnSync(`/proc/${process.pid}/fd/${program}`).status, 0);
  for (const one of [fd, data, program]) harden.closeFd(one);
});

t.test("locks, unnamed files, wiping", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-harden-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const one = openSync(join(folder, "lock"), "w");
  const two = openSync(join(folder, "lock"), "r");
  t.equal(harden.tryLock(one), true);
  t.equal(harden.tryLock(two), false);
  closeSync(one);
  t.equal(harden.tryLock(two), true);
  closeSync(two);
  const file = harden.openTmpFile(folder);
  t.equal(fstatSync(file).nlink, 0);
  t.equal(fstatSync(file).mode & 0o777, 0o700);
  t.equal(
    code(() => harden.openTmpFile(join(folder, "missing"))),
    "ENOENT",
  );
  // Whoever may not write to the directory is told that first.
  t.match(
    code(() => harden.openTmpFile("/proc")),
    process.getuid?.() === 0 ? "EOPNOTSUPP" : /^(EOPNOTSUPP|EACCES)$/,
    "a file system without O_TMPFILE",
  );
  for (const buffer of [Buffer.from("secret"), new Uint8Array([1, 2, 3])]) {
    harden.wipe(buffer);
    t.ok(buffer.every((byte) => byte === 0));
  }
  const whole = new Uint8Array([1, 2, 3, 4]);
  harden.wipe(whole.subarray(1, 3));
  t.same([...whole], [1, 0, 0, 4], "a view only");
});

t.test("wrong arguments are errors, never a crash", async (t) => {
  const junk: unknown[] = [
    undefined,
    null,
    -1,
    2 ** 32 + 3,
    1.5,
    Number.NaN,
    "x",
    {},
    [],
    [-1],
    Buffer.alloc(0),
    new Float64Array(2),
    Symbol("s"),
    10n,
  ];
  const names = Object.keys(harden).filter((name) => !["setDumpable", "disableCoreDumps"].includes(name));
  let tried = 0;
  for (const name of names) {
    const call = (harden as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!;
    if (call.length === 0 && ["socketpair", "pipe"].includes(name)) continue;
    for (const a of junk)
      for (const b of junk)
        for (const c of [undefined, ...junk.slice(0, 9)]) {
          // A real descriptor number is no junk: closeFd(0) would close it.
          if (name === "closeFd" && typeof a === "number" && a >= 0) continue;
          code(() => call(a, b, c));
          tried++;
        }
  }
  t.ok(tried > 1000);
  t.equal(
    code(() => harden.closeFd(-1)),
    "ERR_INVALID_ARG_TYPE",
  );
  t.equal(
    code(() => harden.closeFd(1_000_000)),
    "EBADF",
  );
  t.equal(
    code(() => harden.peerCred(0)),
    "ENOTSOCK",
  );
  t.equal(
    code(() => harden.seccompTsync(Buffer.alloc(7))),
    "ERR_INVALID_ARG_VALUE",
  );
  t.equal(
    code(() => harden.sendFds(0, Buffer.alloc(0), [])),
    "ERR_INVALID_ARG_VALUE",
  );
  t.equal(
    code(() => harden.sendFds(0, Buffer.alloc(1), Array(17).fill(0))),
    "ERR_INVALID_ARG_TYPE",
  );
});

t.test("dumpable, core limit and a filter on all threads, in a process of their own", async (t) => {
  const text = `
    const loaded = { exports: {} };
    process.dlopen(loaded, ${JSON.stringify(join(BUILD, "harden.node"))});
    const h = loaded.exports, fs = require("node:fs");
    const before = fs.statSync("/proc/self/environ").uid;
    h.setDumpable(false);
    h.disableCoreDumps();
    const core = /Max core file size +(\\d+) +(\\d+)/.exec(fs.readFileSync("/proc/self/limits", "utf8")).slice(1);
    h.seccompTsync(Buffer.from(process.argv[1], "base64"));
    const threads = fs.readdirSync("/proc/self/task").map((id) => /Seccomp:\\t(\\d)/.exec(fs.readFileSync("/proc/self/task/" + id + "/status", "utf8"))[1]);
    let spawned; try { require("node:child_process").execFileSync("/bin/true"); spawned = "ok"; } catch (e) { spawned = e.code; }
    console.log(JSON.stringify({ core, threads, spawned }));`;
  const out = JSON.parse(
    execFileSync(process.execPath, ["-e", text, bpf("role-noexec").toString("base64")], { encoding: "utf8" }),
  ) as { core: string[]; threads: string[]; spawned: string };
  t.same(out.core, ["1", "1"]);
  t.ok(out.threads.length > 1);
  t.ok(
    out.threads.every((mode) => mode === "2"),
    "every thread has the filter",
  );
  t.equal(out.spawned, "EPERM");
});
