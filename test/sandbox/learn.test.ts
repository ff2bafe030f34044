import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { launch, once, USERS } from "./support/once.ts";
import { probe } from "./support/probe.ts";
import { Launcher } from "./support/serve.ts";
import { BUILD, ROOT, record, runSpec, script } from "./support/spec.ts";

const LEARN = record(17, Buffer.alloc(64));
const learning = (text: string): Buffer =>
  Buffer.concat([
    runSpec(script(text, { seccomp: "ceiling", files: [{ tree: "op", path: "probe", content: probe() }] })),
    LEARN,
  ]);
const NAMES = JSON.parse(readFileSync(join(BUILD, "seccomp/syscalls.json"), "utf8")) as Record<
  string,
  string
>;
const LEARNED = 134;
const NEVER = ["mount", "bpf", "ptrace", "unshare", "clone3", "keyctl"];

for (const { name, user } of USERS) {
  const options = user === undefined ? {} : { user };

  t.test(`what is allowed goes on and is told, as ${name}`, async (t) => {
    const launcher = new Launcher({ ...options, mode: "learn" });
    t.teardown(() => launcher.end());
    const r = await launcher.run(learning("umask 22; /bin/uname -s; (exec ./probe ok); exit 7"));
    t.match(r, { exited: { code: 7, denied: 0 }, stdout: /^Linux\n/ }, JSON.stringify(r));
    const told = launcher.frames.filter((f) => f.kind === LEARNED).map((f) => f.payload.readUInt32LE(0));
    const names = told.map((nr) => NAMES[nr]);
    for (const call of ["umask", "uname", "write", "openat", "mmap", "wait4"])
      t.ok(names.includes(call), call);
    t.equal(new Set(told).size, told.length, "each once");
    const next = await launcher.run(script("unshare -U true; exit 0"));
    t.equal(next.exited?.denied, 1, "a run that does not ask for it has nothing let through");
  });

  t.test(`what the ceiling refuses stays refused, by the kernel, as ${name}`, async (t) => {
    const launcher = new Launcher({ ...options, mode: "learn" });
    t.teardown(() => launcher.end());
    const tries: [string, string][] = [
      ["call 165 0 0", "EPERM"], // mount
      ["call 321 0 0", "EPERM"], // bpf
      ["call 272 0x10000000 0", "EPERM"], // unshare
      ["clone 0x10000000", "EPERM"],
      ["ptrace", "EPERM"],
      ["vmread", "EPERM"],
      ["ioctl 0x5412", "EPERM"],
      ["ioctl 0x500005412", "EPERM"],
      ["socket 17", "EPERM"],
      ["socketraw 0x100000011", "EPERM"],
      ["listener", "EPERM"],
      ["memfd 0", "EACCES"],
      ["call 435 0 0", "ENOSYS"], // clone3
      ["call 250 0 0", "ENOSYS"], // keyctl
      ["call 9999 0 0", "ENOSYS"],
      ["socket 1", "ok"],
      ["clone 0", "ok"],
    ];
    const r = await launcher.run(
      learning(`trap "" TERM\n${tries.map(([what]) => `./probe ${what}`).join("\n")}`),
    );
    t.same(
      r.stdout.trim().split("\n"),
      tries.map(([, answer]) => answer),
      r.stderr,
    );
    const told = launcher.frames.filter((f) => f.kind === LEARNED).map((f) => f.payload.readUInt32LE(0));
    for (const call of NEVER) t.notOk(told.map((nr) => NAMES[nr]).includes(call), call);
  });

  t.test(`x32 and i386 calls kill while learning too, as ${name}`, async (t) => {
    const launcher = new Launcher({ ...options, mode: "learn" });
    t.teardown(() => launcher.end());
    const r = await launcher.run(learning("./probe x32; ./probe int80; echo after"));
    t.match(r.stdout, /^signal[^\n]*\nsignal[^\n]*\nafter\n$|^after\n$/, r.stdout);
  });

  t.test(`a program that can't be executed is said at once, as ${name}`, async (t) => {
    const launcher = new Launcher({ ...options, mode: "learn" });
    t.teardown(() => launcher.end());
    const spec = Buffer.concat([runSpec({ argv: ["/nowhere"], seccomp: "ceiling" }), LEARN]);
    t.match(await launcher.run(spec), { failed: { step: "exec", errno: 2 } });
  });

  t.test(`no other mode lets calls through, as ${name}`, async (t) => {
    const launcher = new Launcher(options);
    t.teardown(() => launcher.end());
    t.match(await launcher.run(learning("exit 0")), { failed: { step: "learn", errno: 1 } });
    t.match(await launcher.run(script("exit 3")), { exited: { code: 3 } }, "and goes on");
    const r = await launch("once", learning("exit 0"), options);
    t.match(r, { code: 125, stderr: /^launcher: learn: / });
    t.equal((await once(script("exit 4"), options)).code, 4);
  });
}

t.test("a malformed record is refused", async (t) => {
  for (const size of [0, 63, 65]) {
    const spec = Buffer.concat([runSpec({ argv: ["/bin/true"] }), record(17, Buffer.alloc(size))]);
    t.match(await launch("once", spec), { code: 125, stderr: /^launcher: spec.learn: / });
  }
});

t.test("one place in the launcher lets a call go on, and no role starts that mode", async (t) => {
  const holding = (dir: string, text: RegExp): string[] =>
    readdirSync(join(ROOT, dir), { recursive: true, encoding: "utf8" })
      .filter((file) => /\.(c|h|ts|service)$/.test(file))
      .filter((file) => text.test(readFileSync(join(ROOT, dir, file), "utf8")))
      .sort();
  t.same(holding("sandbox", /FLAG_CONTINUE/), ["learn.c"]);
  t.same(holding("sandbox", /learn_answer/), ["learn.c", "learn.h", "run.c", "run.h"]);
  t.same(holding("src", /openSandbox\("learn"\)/), ["cli/admin/op-test.ts"]);
  t.same(holding("src", /\["learn", /), [], "the supervisor and the units start other modes");
  // The launcher itself, so that nothing else in it answers: notify.c has one kind of answer.
  t.match(readFileSync(join(ROOT, "sandbox/notify.c"), "utf8"), /out\.resp\.error = -EPERM;/);
  t.equal(spawnSync(join(BUILD, "launcher"), ["learn", "77"]).status, 125, "a descriptor is needed");
});
