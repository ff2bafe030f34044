import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import type { Launcher } from "../../src/exec/launch.ts";
import { Profiles } from "../../src/exec/profiles.ts";
import { plainGrant, startLauncher } from "./launcher.ts";

t.setTimeout(120_000);
const { launcher, stop } = startLauncher();
t.teardown(stop);
const profiles = new Profiles(launcher);
const text = (syscalls: object[], defaultAction = "SCMP_ACT_ERRNO"): Buffer =>
  Buffer.from(JSON.stringify({ defaultAction, syscalls }));
const allow = (...names: string[]): object => ({ names, action: "SCMP_ACT_ALLOW" });

/** What dash and true need from start to end. */
const SHELL = [
  ...["execve", "brk", "mmap", "munmap", "mprotect", "access", "openat", "read", "write", "close", "pread64"],
  ...["fstat", "newfstatat", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "dup2"],
  ...["rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "geteuid", "getuid", "getgid", "getegid", "getpid"],
  ...["getppid", "getrandom", "getcwd", "stat", "fcntl", "exit_group", "clone", "vfork", "wait4", "lseek"],
];

async function run(program: Uint8Array, script: string) {
  const out: Buffer[] = [];
  const grant = plainGrant({ argv: ["/bin/sh", "-c", script] });
  const denied: string[] = [];
  const live = launcher.run(
    { ...grant, spec: { ...grant.spec, seccomp: program } },
    {
      onStarted: () => {},
      onOutput: (_, bytes) => out.push(Buffer.from(bytes)),
      ready: () => null,
      onProgress: () => {},
      onDenied: (call) => denied.push(call),
    },
  );
  const result = await live.finished;
  return { result, denied, output: Buffer.concat(out).toString() };
}

t.test("a bundle's profile is compiled in a sandbox, and holds", async (t) => {
  const profile = text([allow(...SHELL)]);
  const { program, notes } = await profiles.compile(profile);
  t.same(notes, ["narrowed clone"]);
  const fine = await run(program, "echo fine");
  t.match(fine.result, { outcome: "exited", exit: 0 }, JSON.stringify(fine));
  t.equal(fine.output, "fine\n");
  const more = await run(program, "ulimit -f 1; umask 77 && echo done");
  t.ok(
    more.denied.some((call) => call.startsWith("umask")),
    JSON.stringify(more),
  );
  t.equal((await profiles.compile(profile)).program, program, "compiled once");
});

t.test("what can't be compiled is refused by the compiler's own words", async (t) => {
  const bad: [Buffer, RegExp][] = [
    [text([allow("read", "exit_group")]), /^it does not allow execve, without which no program starts or/],
    [text([allow("read")]), /^it does not allow execve and exit_group,/],
    [text([allow("bpf")]), /^it allows what the ceiling never does: bpf\.$/],
    [text([allow("read")], "SCMP_ACT_ALLOW"), /defaultAction must refuse/],
    [Buffer.from("{"), /^not a profile/],
    [Buffer.alloc(300_000, " "), /larger than 256 KiB/],
    [Buffer.from([0xff, 0, 1]), /NUL/],
    [text([allow("x".repeat(100)), { names: ["read"], action: "no\u001b[2J" }]), /escape/],
  ];
  for (const [profile, reason] of bad) {
    const r = await profiles.check(profile);
    t.notOk(r.ok, String(reason));
    t.match(r.reason, reason);
    t.match(r.reason, /^[ -~]+$/, "nothing but printable characters");
  }
});

t.test("a run waits for its profile; a cancel meanwhile ends it before it began", async (t) => {
  const grant = plainGrant({ argv: ["/bin/true"] });
  const handlers = {
    onStarted: () => {},
    onOutput: () => {},
    ready: () => null,
    onProgress: () => {},
    onDenied: () => {},
  };
  const start = (program: Uint8Array) =>
    launcher.run({ ...grant, spec: { ...grant.spec, seccomp: program } }, handlers);
  const fresh = text([allow(...SHELL, "getpgrp")]);
  const live = profiles.run(fresh, start);
  live.cancel(true);
  t.equal((await live.finished).outcome, "canceled");
  await live.begun;
  t.match(await profiles.run(fresh, start).finished, { outcome: "exited", exit: 0 });
  const bad = profiles.run(text([allow("mount")]), () => t.fail("started") as never);
  t.match(await bad.finished, { outcome: "launch_failed", detail: /never does: mount/ });
  await bad.begun;
});

t.test(
  "a cancel waits for no compiler, and what fails after it is not told as the profile's fault",
  async (t) => {
    const hangs = {
      run: () => ({ finished: new Promise<never>(() => {}), cancel: () => {} }),
    } as unknown as Launcher;
    const waiting = new Profiles(hangs).run(text([allow("read")]), () => t.fail("started") as never);
    waiting.cancel(false);
    t.equal((await waiting.finished).outcome, "canceled");
    await waiting.begun;
    const moved = profiles.run(text([allow(...SHELL)]), () => {
      throw new SallyportError("launch_failed", "The root file system moved.");
    });
    t.match(await moved.finished, { outcome: "launch_failed", detail: "The root file system moved." });
  },
);

t.test(
  "under a profile that lets it say nothing, a program that is not there is told as such, at once",
  async (t) => {
    const { program } = await profiles.compile(text([allow("execve", "exit_group")]));
    const grant = plainGrant({ argv: ["/nowhere/program"] });
    const { finished } = launcher.run(
      { ...grant, spec: { ...grant.spec, seccomp: program } },
      {
        onStarted: () => {},
        onOutput: () => {},
        ready: () => null,
        onProgress: () => {},
        onDenied: () => {},
      },
    );
    t.match(await finished, { outcome: "launch_failed", detail: /program could not be executed \(ENOENT\)/ });
  },
);
