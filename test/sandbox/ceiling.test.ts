import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { allows, ERRNO, KILL, NOTIFY, run } from "./support/bpf.ts";
import { BUILD, bpf, ROOT } from "./support/spec.ts";

const CEILING_FILE = join(ROOT, "policies/seccomp/ceiling.json");
const NAMES = JSON.parse(readFileSync(join(BUILD, "seccomp/syscalls.json"), "utf8")) as Record<
  string,
  string
>;
const NUMBERS = new Map(Object.entries(NAMES).map(([nr, name]) => [name, Number(nr)]));
const nr = (name: string): number => NUMBERS.get(name) ?? -1;
const CEILING = bpf("ceiling");

const dir = mkdtempSync(join(tmpdir(), "ceiling-"));
t.teardown(() => rmSync(dir, { recursive: true }));

function compile(profile: object): { program: Buffer; said: string[]; status: number | null } {
  const file = join(dir, "profile.json");
  writeFileSync(file, JSON.stringify(profile));
  const r = spawnSync(join(BUILD, "seccomp-compile"), ["--ceiling", CEILING_FILE, file]);
  return { program: r.stdout, said: String(r.stderr).trim().split("\n"), status: r.status };
}

const profile = (syscalls: object[], extra: object = {}): object => ({
  defaultAction: "SCMP_ACT_ERRNO",
  syscalls,
  ...extra,
});
const allow = (names: string[], extra: object = {}): object => ({
  names,
  action: "SCMP_ACT_ALLOW",
  ...extra,
});

// Deterministic (xorshift), so that a failure can be had again.
let seed = 0x2545f491;
function random(below: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
}
const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;

/** What conditions of the ceiling and of random profiles look at, and their neighbours. */
const VALUES: bigint[] = [
  ...[0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 38, 40, 45, 46, 100, 0xffff_ffff].map(BigInt),
  ...[0x5401, 0x5412, 0x541c, 0x541b, 0x20000, 0x2000000, 0x10000000, 0x40000000, 0x7e020000].map(BigInt),
  ...[0x50f00, 0x3d0f00, 0x1200011, 0x10011].map(BigInt),
];
const value = (): bigint => {
  const low = pick(VALUES);
  const high = random(3) === 0 ? BigInt(random(4)) << 32n : 0n;
  return random(8) === 0 ? BigInt(random(0x7fffffff)) : low | high;
};
const INTERESTING = [
  "clone",
  "socket",
  "socketpair",
  "ioctl",
  "personality",
  "memfd_create",
  "seccomp",
  "mount",
  "bpf",
];
const call = () => ({
  nr: random(2) === 0 ? nr(pick(INTERESTING)) : random(470),
  args: [value(), value(), value(), 0n, 0n, 0n],
});

const OPS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"].map((op) => `SCMP_CMP_${op}`);
const ACTIONS = ["ALLOW", "ALLOW", "ALLOW", "ERRNO", "NOTIFY", "KILL_PROCESS"].map((a) => `SCMP_ACT_${a}`);
// A profile that allows what the ceiling never does is refused: those names would end every profile that has one.
const ASKABLE = [...NUMBERS.keys()].filter(
  (name) => compile(profile([allow([name])])).status === 0 || INTERESTING.slice(0, 7).includes(name),
);

function randomProfile(): object {
  const syscalls = Array.from({ length: 1 + random(12) }, () => {
    const names = Array.from({ length: 1 + random(4) }, () =>
      random(2) === 0 ? pick(INTERESTING.slice(0, 7)) : pick(ASKABLE),
    );
    const args = Array.from({ length: random(3) }, () => ({
      index: random(3),
      value: Number(value() & 0xffff_ffffn),
      valueTwo: Number(value() & 0xffff_ffffn),
      op: pick(OPS),
    }));
    return { names, action: pick(ACTIONS), ...(args.length > 0 ? { args } : {}) };
  });
  return profile(syscalls, { defaultAction: pick(["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"]) });
}

t.test("nothing is allowed beyond the ceiling: shipped profiles", async (t) => {
  for (const name of ["default", "strict", "network"]) {
    const program = bpf(name);
    for (let number = 0; number < 1024; number++)
      for (const args of [[], [1n], [0n, 8n], [0n, 0x5412n], [2n], [0x10000n]])
        if (allows(program, { nr: number, args }) && !allows(CEILING, { nr: number, args }))
          t.fail(`${name}: ${NAMES[number] ?? number} ${args}`);
    for (let i = 0; i < 20_000; i++) {
      const c = call();
      if (allows(program, c) && !allows(CEILING, c)) t.fail(`${name}: ${NAMES[c.nr]} ${c.args}`);
    }
  }
});

t.test("nothing is allowed beyond the ceiling: profiles of anybody's making", async (t) => {
  let compiled = 0;
  let allowed = 0;
  for (let p = 0; p < 150; p++) {
    const wanted = randomProfile();
    const { program, status } = compile(wanted);
    if (status !== 0) continue;
    compiled++;
    for (let i = 0; i < 400; i++) {
      const c = call();
      const gets = run(program, c);
      if (gets === 0x7fff0000) allowed++;
      if (gets === 0x7fff0000 && !allows(CEILING, c))
        t.fail(`${NAMES[c.nr]} ${c.args}: ${JSON.stringify(wanted)}`);
      // What the ceiling says of a call that it refuses is what happens: the same event, the same errno.
      if (!allows(CEILING, c) && gets !== run(CEILING, c)) t.fail(`another answer for ${NAMES[c.nr]}`);
    }
  }
  t.ok(compiled > 50, `${compiled} profiles`);
  t.ok(allowed > 500, `${allowed} allowed calls`);
});

t.test("x32 and foreign architectures are killed by every program", async (t) => {
  const bundle = compile(profile([allow(["read"])])).program;
  for (const [name, program] of [
    ...["default", "strict", "network", "ceiling"].map((n) => [n, bpf(n)] as const),
    ["a bundle's", bundle] as const,
  ]) {
    for (const arch of [0x40000003, 0xc00000b7, 0])
      t.equal(run(program, { nr: 0, arch, args: [] }), KILL, name);
    for (const number of [0x40000000, 0x40000001, 0x40000200])
      t.equal(run(program, { nr: number, args: [] }), KILL, `${name}: x32`);
    // -1 is what a tracer leaves behind that skips a call; libseccomp lets it through as the number that it is.
    t.not(run(program, { nr: 0xffffffff, args: [] }), 0x7fff0000, name);
  }
});

t.test("what is asked for beyond the ceiling is said by name", async (t) => {
  for (const name of [
    "bpf",
    "mount",
    "unshare",
    "setns",
    "userfaultfd",
    "perf_event_open",
    "keyctl",
    "kexec_load",
  ]) {
    const r = compile(profile([allow(["read", name])]));
    t.equal(r.status, 1, name);
    t.equal(r.program.length, 0, name);
    t.equal(r.said.at(-1), `seccomp-compile: it allows what the ceiling never does: ${name}`);
  }
  const all = compile(profile([allow(["mount", "read", "bpf"]), allow(["mount", "setns"])]));
  t.equal(
    all.said.at(-1),
    "seccomp-compile: it allows what the ceiling never does: mount, bpf, setns",
    "all at once",
  );
  const said = (...rules: object[]) =>
    compile(profile([...rules, allow(["execve", "exit_group"])])).said.filter((line) => line !== "");
  t.same(said(allow(["read", "clone", "socket"])), ["narrowed clone", "narrowed socket"]);
  t.same(said(allow(["ptrace", "io_uring_setup", "clone3"])), [
    "refused ptrace",
    "refused io_uring_setup",
    "refused clone3",
  ]);
  const args = [{ index: 0, value: 2114060288, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }];
  t.same(said(allow(["clone"], { args })), [], "the ceiling's own condition");
  for (const without of [[], [allow(["execveat"])], [allow(["execve"], { args })]])
    t.same(compile(profile(without)).said, ["lacks execve", "lacks exit_group"]);
});

t.test("a profile in the form of a container engine's default", async (t) => {
  const r = compile(
    profile(
      [
        allow([
          "read",
          "write",
          "futex_time64",
          "chown32",
          "_llseek",
          "fanotify_mark",
          "execve",
          "exit_group",
        ]),
        allow(["ptrace"], { includes: { minKernel: "4.8" } }),
        allow(["socket"], { args: [{ index: 0, value: 40, op: "SCMP_CMP_NE" }] }),
        ...[0, 8, 0xffffffff].map((v) =>
          allow(["personality"], { args: [{ index: 0, value: v, op: "SCMP_CMP_EQ" }] }),
        ),
        allow(["breakpoint"], { includes: { arches: ["arm"] } }),
        allow(["mount", "bpf", "clone"], { includes: { caps: ["CAP_SYS_ADMIN"] } }),
        allow(["clone"], {
          args: [{ index: 0, value: 2114060288, op: "SCMP_CMP_MASKED_EQ" }],
          excludes: { caps: ["CAP_SYS_ADMIN"], arches: ["s390"] },
        }),
        { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38, excludes: { caps: ["CAP_SYS_ADMIN"] } },
      ],
      {
        defaultErrnoRet: 1,
        archMap: [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] }],
      },
    ),
  );
  t.equal(r.status, 0, r.said.join());
  t.ok(allows(r.program, { nr: nr("read"), args: [] }));
  t.ok(allows(r.program, { nr: nr("socket"), args: [2n] }));
  t.equal(run(r.program, { nr: nr("socket"), args: [17n] }), NOTIFY);
  t.equal(run(r.program, { nr: nr("socket"), args: [0x1_0000_0011n] }), NOTIFY, "high bits");
  t.equal(run(r.program, { nr: nr("mount"), args: [] }), NOTIFY);
  t.equal(run(r.program, { nr: nr("ptrace"), args: [] }), NOTIFY);
  t.equal(run(r.program, { nr: nr("personality"), args: [8n] }), NOTIFY);
  t.equal(run(r.program, { nr: nr("clone"), args: [0x10000011n] }), NOTIFY);
  t.ok(allows(r.program, { nr: nr("clone"), args: [0x1200011n] }));
  t.equal(run(r.program, { nr: nr("clone3"), args: [] }), ERRNO | 38);
  t.equal(run(r.program, { nr: 5000, args: [] }), ERRNO | 38);
  t.equal(run(r.program, { nr: nr("getpid"), args: [] }), NOTIFY, "a plain refusal is an event");
});

t.test("what would hide refusals or allow the rest is refused", async (t) => {
  for (const action of ["ALLOW", "LOG", "TRAP", "TRACE"]) {
    const r = compile({ defaultAction: `SCMP_ACT_${action}`, syscalls: [allow(["read"])] });
    t.equal(r.status, 1, action);
    t.match(r.said.join(), `SCMP_ACT_${action}`);
  }
  t.equal(compile(profile([{ names: ["read"], action: "SCMP_ACT_LOG" }])).status, 1);
});
