import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { probe } from "./support/probe.ts";
import { Launcher } from "./support/serve.ts";
import { BUILD, bpf, LAUNCHER, ROOT, type RunSpec, script } from "./support/spec.ts";

/** What issue and design ask of every profile, tried against the kernel. */

t.setTimeout(240_000);
const NAMES = JSON.parse(readFileSync(join(BUILD, "seccomp/syscalls.json"), "utf8")) as Record<
  string,
  string
>;
const NR = new Map(Object.entries(NAMES).map(([nr, name]) => [name, nr]));

/** A bundle's profile that allows all that it may. */
function widest(): Buffer {
  const dir = mkdtempSync(join(tmpdir(), "profile-"));
  const ceiling = join(ROOT, "policies/seccomp/ceiling.json");
  const { syscalls } = JSON.parse(readFileSync(ceiling, "utf8")) as {
    syscalls: { action: string; narrow?: boolean; names: string[] }[];
  };
  const names = syscalls.filter((r) => r.action === "SCMP_ACT_ALLOW" || r.narrow).flatMap((r) => r.names);
  const file = join(dir, "profile.json");
  const rule = { names: [...new Set(names)], action: "SCMP_ACT_ALLOW" };
  writeFileSync(file, JSON.stringify({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [rule] }));
  const r = spawnSync(join(BUILD, "seccomp-compile"), ["--ceiling", ceiling, file]);
  rmSync(dir, { recursive: true });
  if (r.status !== 0) throw new Error(String(r.stderr));
  return r.stdout;
}

const PROFILES: [string, Buffer][] = [
  ...["default", "strict", "network", "ceiling"].map((name): [string, Buffer] => [name, bpf(name)]),
  ["a bundle's that allows all it may", widest()],
];
const call = (name: string, ...args: string[]): string[] =>
  ["call", NR.get(name) ?? "", ...args, "0", "0"].slice(0, 4);

/** What, the probe's arguments, its answer, the name that is told (null: nothing is). */
const REFUSED: [string, string[], string, string | null][] = [
  ...[0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000].map(
    (flag): [string, string[], string, string] => [
      `clone with ${flag.toString(16)}`,
      ["clone", `0x${flag.toString(16)}`],
      "EPERM",
      "clone",
    ],
  ),
  ...[
    ...[
      "unshare",
      "setns",
      "bpf",
      "userfaultfd",
      "perf_event_open",
      "ptrace",
      "process_vm_readv",
      "pidfd_getfd",
    ],
    ...[
      "mount",
      "umount2",
      "pivot_root",
      "chroot",
      "fsopen",
      "fsmount",
      "move_mount",
      "open_tree",
      "mount_setattr",
    ],
    ...["kexec_load", "init_module", "finit_module", "swapon", "reboot", "open_by_handle_at", "settimeofday"],
  ].map((name): [string, string[], string, string] => [name, call(name), "EPERM", name]),
  ...["clone3", "io_uring_setup", "io_uring_enter", "keyctl", "add_key"].map(
    (name): [string, string[], string, null] => [name, call(name, "0x10000000"), "ENOSYS", null],
  ),
  ["a number that nobody knows", ["call", "9999", "0", "0"], "ENOSYS", null],
  ["TIOCSTI", ["ioctl", "0x5412"], "EPERM", "ioctl"],
  ["TIOCSTI with high bits", ["ioctl", "0x500005412"], "EPERM", "ioctl"],
  ["TIOCLINUX", ["ioctl", "0x541C"], "EPERM", "ioctl"],
  ["TIOCLINUX with high bits", ["ioctl", "0xf0000541C"], "EPERM", "ioctl"],
  ["a packet socket", ["socket", "17"], "EPERM", "socket"],
  ["a packet socket with high bits", ["socketraw", "0x300000011"], "EPERM", "socket"],
  ["a vsock socket", ["socket", "40"], "EPERM", "socket"],
  ["a listener of its own", ["listener"], "EPERM", "seccomp"],
  ["ADDR_NO_RANDOMIZE", call("personality", "0x40000"), "EPERM", "personality"],
];

for (const [name, program] of PROFILES) {
  t.test(`every profile refuses what an Op never needs: ${name}`, async (t) => {
    const launcher = new Launcher();
    t.teardown(() => launcher.end());
    const files = [{ tree: "op", path: "probe", content: probe() } as const];
    const run = (args: string[]) =>
      launcher.run({ argv: ["./probe", ...args], seccomp: program, files } satisfies RunSpec);
    for (const [what, args, answer, told] of REFUSED) {
      const r = await run(args);
      t.equal(r.stdout.trim(), answer, what);
      // strict tells of the fork that the probe needs for some, and of nothing else.
      const calls = r.denied.map(({ nr }) => NAMES[String(nr)]);
      if (told === null) t.same(calls, [], `${what}: not told`);
      else t.ok(calls.includes(told), `${what}: told, ${calls}`);
    }
    for (const what of ["x32", "int80"]) {
      const r = await run([what]);
      t.notMatch(r.stdout, /^ok/, what);
      t.ok(r.exited?.signal === 31 || /signal/.test(r.stdout), `${what}: killed, ${JSON.stringify(r)}`);
    }
  });
}

t.test("strict has no network and no processes, but threads; network has internet sockets", async (t) => {
  const launcher = new Launcher();
  t.teardown(() => launcher.end());
  const files = [{ tree: "op", path: "probe", content: probe() } as const];
  const run = async (seccomp: string, ...args: string[]) =>
    (await launcher.run({ argv: ["./probe", ...args], seccomp, files })).stdout.trim();
  for (const family of ["1", "2", "10"]) t.equal(await run("strict", "socket", family), "EPERM", family);
  for (const family of ["2", "10"]) t.equal(await run("default", "socket", family), "EPERM", family);
  for (const family of ["1", "2", "10"]) t.equal(await run("network", "socket", family), "ok", family);
  t.equal(await run("strict", "clone", "0"), "EPERM", "a process");
  t.equal(await run("default", "clone", "0"), "ok");
  const python =
    "import threading,os\nt=threading.Thread(target=lambda: print('thread'));t.start();t.join()\ntry: os.fork()\nexcept OSError as e: print(e.errno)";
  if (!existsSync("/usr/bin/python3")) return t.comment("threads under strict not tried: no python3 here");
  const r = await launcher.run({ argv: ["/usr/bin/python3", "-c", python], seccomp: "strict" });
  t.equal(r.stdout, "thread\n1\n", r.stderr);
});

/** Programs that Ops are made of: what they print under `default`. */
const PROGRAMS: [string, string, RegExp][] = [
  ["bash", `bash -c 'a=(1 2); echo "\${#a[@]}" | cat; wait; echo $(id -u)'`, /^2\n1000\n$/],
  [
    "python3",
    `python3 -c 'import subprocess, threading, ssl; print(subprocess.run(["echo", "py"], capture_output=True).stdout)'`,
    /py/,
  ],
  [
    "node",
    `node -e 'require("fs").readFile("/etc/passwd", () => require("child_process").exec("echo js", (e, o) => console.log(o)))'`,
    /js/,
  ],
  ["perl", `perl -e 'print qx(echo pl)'`, /pl/],
  [
    "git",
    "cd /tmp && git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git log --oneline",
    /x/,
  ],
  ["tar", "cd /tmp && echo a > f && tar czf f.tgz f && tar tzf f.tgz", /^f\n$/],
  ["curl", "curl -s file:///etc/hosts", /localhost/],
  ["ssh", "ssh -V 2>&1; ssh-keygen -q -t ed25519 -N '' -f /tmp/k && ls /tmp/k", /OpenSSH[\s\S]*\/tmp\/k/],
  ["go", "GOCACHE=/tmp/c HOME=/tmp go version", /go version/],
  ["awk", `awk 'BEGIN { "echo w" | getline x; print x }'`, /w/],
];

for (const profile of ["default", "network"])
  t.test(`usual programs work under ${profile}`, async (t) => {
    const launcher = new Launcher();
    t.teardown(() => launcher.end());
    for (const [name, text, wanted] of PROGRAMS) {
      if (spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0) {
        t.pass(`${name} is not installed here`, { skip: `${name} is not installed here` });
        continue;
      }
      const r = await launcher.run(script(text, { seccomp: profile, limits: { wallMs: 60_000 } }));
      t.match(r.stdout, wanted, `${name}: ${JSON.stringify(r)}`);
      t.equal(r.exited?.code, 0, name);
      t.same(
        r.denied.map(({ nr }) => NAMES[String(nr)]),
        [],
        `${name}: nothing refused that is an event`,
      );
    }
    // Static, without libc's usual start: as programs built with musl are.
    const r = await launcher.run({
      argv: ["./launcher"],
      seccomp: profile,
      files: [{ tree: "op", path: "launcher", content: readFileSync(LAUNCHER) }],
    });
    t.match(r, { exited: { code: 2 }, stderr: /^usage: / }, "a static program");
  });
