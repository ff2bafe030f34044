/**
 * Start-to-exit of /bin/true, in one run, randomly interleaved, timed by one small C process (launch.c):
 * - fork: a plain fork and exec, the baseline; spawn: posix_spawn, which is a vfork, and the fastest that there is;
 * - serve: the persistent launcher asked over its socket, everything on (cgroup and limits too); once: the launcher as a
 *   process of its own;
 * - bwrap with the same namespaces, mounts and compiled filter (without the masks in /proc, a cgroup and Landlock, which it
 *   has not); crun, runc and runsc on an equivalent bundle, without a cgroup;
 * - runner: the launcher as the runner asks it, from Node, output read and the result made (alone, interleaved with spawn).
 * Medians and p99 of one after the other, ratios to fork and to bwrap; then runs a second by one and by two at a time.
 * What is not installed is left out, aloud. Exits 1 when a goal is missed: serve at most 0.5 x bwrap and 2.5 x fork, two
 * workers 1.5 x one.
 * SAMPLES=n (default 200), RATE_MS=n a way and number of workers (default 4000), ONLY=serve,bwrap leaves out the others,
 * BEFORE=/path/of/another/launcher measures that one's `once` too.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repoPath } from "../../src/host/self.ts";
import { runOp, startLauncher } from "../../test/exec/launcher.ts";
import { LAUNCHER, runSpec } from "../../test/sandbox/support/spec.ts";
import { ociBundle } from "./oci-bundle.ts";

const SAMPLES = Number(process.env.SAMPLES ?? 200);
const RATE_MS = Number(process.env.RATE_MS ?? 4000);
const only = process.env.ONLY?.split(",");
const GOALS = { fork: 2.5, bwrap: 0.5, workers: 1.5 };
const FILTER = repoPath("build/seccomp/default.bpf");

const sorted = (list: number[]): number[] => list.toSorted((a, b) => a - b);
const median = (list: number[]): number => sorted(list)[list.length >> 1] ?? Number.NaN;
const p99 = (list: number[]): number => sorted(list)[Math.floor(list.length * 0.99)] ?? Number.NaN;

const folder = mkdtempSync(join(tmpdir(), "sallyport-bench-"));
// gVisor's own process is nobody's, and must reach the root.
chmodSync(folder, 0o755);

/** What runs /bin/true by other means; the first word of each is looked for on this machine. */
function others(): Map<string, string[]> {
  const bundle = join(folder, "bundle");
  mkdirSync(join(bundle, "rootfs"), { recursive: true });
  writeFileSync(join(bundle, "config.json"), ociBundle(["/bin/true"]));
  const plain = join(folder, "plain");
  mkdirSync(join(plain, "rootfs"), { recursive: true });
  writeFileSync(join(plain, "config.json"), ociBundle(["/bin/true"], false));
  const state = join(folder, "state");
  mkdirSync(state);
  const root = ["--root", state];
  const before = process.env.BEFORE;
  return new Map<string, string[]>([
    ["once", [LAUNCHER, "once", "8"]],
    ...(before ? [["before", [before, "once", "8"]] as [string, string[]]] : []),
    ["bwrap", bwrap()],
    ["crun", ["crun", "--cgroup-manager=disabled", ...root, "run", "--bundle", bundle, "@"]],
    ["runc", ["runc", ...root, "run", "--bundle", bundle, "@"]],
    [
      "runsc",
      [
        ...["runsc", "--platform=ptrace", "--network=none", "--ignore-cgroups", ...root],
        ...["run", "--bundle", plain, "@"],
      ],
    ],
  ]);
}

function bwrap(): string[] {
  const links = ["bin", "sbin", "lib", "lib64"].flatMap((name) => ["--symlink", `usr/${name}`, `/${name}`]);
  const etc = ["ld.so.cache", "alternatives", "ssl/certs"].flatMap((name) => [
    "--ro-bind-try",
    `/etc/${name}`,
    `/etc/${name}`,
  ]);
  return [
    ...[
      "bwrap",
      "--unshare-all",
      "--unshare-user",
      "--die-with-parent",
      "--new-session",
      "--cap-drop",
      "ALL",
    ],
    ...["--uid", "1000", "--gid", "1000", "--hostname", "op", "--clearenv", "--setenv", "PATH", "/usr/bin"],
    ...["--ro-bind", "/usr", "/usr", ...links, ...etc, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"],
    ...["--dir", "/run/secrets", "--dir", "/op", "--remount-ro", "/", "--chdir", "/op", "--seccomp", "9"],
    "/bin/true",
  ];
}

/**
 * crun and runc want a host whose cgroups are all of v2: a mount namespace in which they look so, held by a process. Null
 * where it can't be made, or need not be.
 */
async function pureCgroup(): Promise<{ path: string; end(): void } | null> {
  if (process.getuid?.() !== 0 || !existsSync("/sys/fs/cgroup/unified")) return null;
  const script = "mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup && echo ready && exec sleep 3600";
  const holder = spawn("unshare", ["--mount", "sh", "-c", script], { stdio: ["ignore", "pipe", "inherit"] });
  await once(holder.stdout, "data");
  return { path: `/proc/${holder.pid}/ns/mnt`, end: () => holder.kill() };
}
const pure = await pureCgroup();

function driver(mode: "time" | "rate", amount: number, ways: Map<string, string[]>): string[][] {
  const args = [...ways].flatMap(([name, command]) => [name, ...command, ";"]);
  const out = execFileSync(
    join(folder, "driver"),
    [mode, LAUNCHER, join(folder, "spec"), FILTER, String(amount), ...args],
    {
      encoding: "utf8",
      // Pipes all three: crun and runsc as root give the container's user what they get, be it the host's own /dev/null.
      input: "",
      maxBuffer: 1 << 28,
      env: { ...process.env, ...(pure === null ? {} : { OCI_MOUNTS: pure.path }) },
    },
  );
  return out
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
}

/** Those that run here, each tried once. */
function usable(): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [name, command] of others()) {
    if (only && !only.includes(name)) continue;
    if (!command[0]?.startsWith("/") && spawnSync(command[0]!, ["--version"]).error) {
      console.log(`${name}: not installed, left out`);
      continue;
    }
    try {
      driver("time", 1, new Map([[name, command]]));
      found.set(name, command);
    } catch {
      console.log(`${name}: does not start /bin/true here, left out`);
    }
  }
  return found;
}

/** The launcher as the runner asks it. */
async function runner(): Promise<number[]> {
  const { launcher, stop } = startLauncher();
  const times: number[] = [];
  for (let i = 0; i < SAMPLES + 10; i++) {
    const start = performance.now();
    const { result } = await runOp(launcher, { argv: ["/bin/true"] });
    if (result.exit !== 0) throw new Error(JSON.stringify(result));
    if (i >= 10) times.push((performance.now() - start) * 1000);
  }
  await stop();
  return times;
}

try {
  const limits = { memory: 256 << 20, pids: 64, wallMs: 60_000 };
  writeFileSync(join(folder, "spec"), runSpec({ argv: ["/bin/true"], limits }));
  execFileSync("gcc", ["-O2", "-o", join(folder, "driver"), repoPath("scripts/bench/launch.c")]);
  const ways = usable();
  const times: Record<string, number[]> = {};
  for (const [name = "", us] of driver("time", SAMPLES, ways))
    times[name] = [...(times[name] ?? []), Number(us)];
  times.runner = await runner();
  const base = median(times.fork!);
  const beside = times.bwrap ? median(times.bwrap) : Number.NaN;
  const shown: Record<string, { median_us: number; p99_us: number; x_fork: number; x_bwrap: number }> = {};
  for (const [name, list] of Object.entries(times).toSorted(([, a], [, b]) => median(a) - median(b))) {
    const m = median(list);
    shown[name] = {
      median_us: Math.round(m),
      p99_us: Math.round(p99(list)),
      x_fork: Number((m / base).toFixed(2)),
      x_bwrap: Number((m / beside).toFixed(2)),
    };
    console.log(name.padEnd(8), JSON.stringify(shown[name]));
  }
  const rates: Record<string, { one: number; two: number; gain: number }> = {};
  const sums = new Map<string, { runs: number; us: number }>();
  for (const [name = "", workers = "", runs, us] of driver("rate", RATE_MS, ways)) {
    const sum = sums.get(`${name} ${workers}`) ?? { runs: 0, us: 0 };
    sums.set(`${name} ${workers}`, { runs: sum.runs + Number(runs), us: sum.us + Number(us) });
  }
  for (const name of ["fork", "serve", ...ways.keys()]) {
    const [one = 0, two = 0] = ["1", "2"].map((workers) => {
      const { runs, us } = sums.get(`${name} ${workers}`)!;
      return Math.round((runs * 1e6) / us);
    });
    rates[name] = { one, two, gain: Number((two / one).toFixed(2)) };
    console.log(`${name.padEnd(8)} runs a second: ${one} by one, ${two} by two: ${rates[name].gain} x`);
  }
  const ours = median(times.serve!);
  const goals = [
    [`serve / fork ${(ours / base).toFixed(2)}, goal ${GOALS.fork}`, ours / base <= GOALS.fork],
    [
      `serve / bwrap ${(ours / beside).toFixed(2)}, goal ${GOALS.bwrap}`,
      !times.bwrap || ours / beside <= GOALS.bwrap,
    ],
    [`two workers / one ${rates.serve!.gain}, goal ${GOALS.workers}`, rates.serve!.gain >= GOALS.workers],
  ] as const;
  for (const [text, met] of goals) console.log(`${met ? "met" : "MISSED"}: ${text}`);
  if (!goals.every(([, met]) => met)) process.exitCode = 1;
  console.log(JSON.stringify({ bench: "launch", samples: SAMPLES, times: shown, rates }));
} finally {
  pure?.end();
  rmSync(folder, { recursive: true, force: true });
}
