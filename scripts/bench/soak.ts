/**
 * Many runs of /bin/true through one launcher, two at a time, asked from here as the runner asks: what the launcher and this
 * process hold afterwards against what they held after the first hundredth, the baseline. Processes, mounts, descriptors and
 * control groups must be the same, resident memory must not have grown by more than 5 MiB (launcher) and 48 MiB (this
 * process: a garbage collector's slack). Exits 1 on growth. RUNS=n (default 10000).
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { runOp, startLauncher } from "../../test/exec/launcher.ts";

const RUNS = Number(process.env.RUNS ?? 10_000);
const SLACK_KIB = { launcher: 5 * 1024, client: 48 * 1024 };

const { launcher, child, stop } = startLauncher();
const pid = child.pid!;

function processes(of: number): number[] {
  const children = readFileSync(`/proc/${of}/task/${of}/children`, "utf8").trim();
  return children === ""
    ? []
    : children.split(" ").flatMap((one) => [Number(one), ...processes(Number(one))]);
}
const rssKib = (of: number): number =>
  Number(/^VmRSS:\s*([0-9]+)/m.exec(readFileSync(`/proc/${of}/status`, "utf8"))?.[1]);

/** Those of the launcher in every hierarchy that it can make groups in, by the name that its groups have. */
function groups(): number {
  const name = `sallyport-${pid}-`;
  const below = (dir: string): number => {
    try {
      return readdirSync(dir).filter((entry) => entry.startsWith(name)).length;
    } catch {
      return 0;
    }
  };
  const mine = readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().split("\n");
  return mine.reduce((sum, line) => {
    const [, controllers = "", path = ""] = line.split(":");
    const roots =
      controllers === "" ? ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] : [`/sys/fs/cgroup/${controllers}`];
    return sum + roots.reduce((n, root) => n + below(`${root}${path}`), 0);
  }, 0);
}

const look = () => ({
  processes: processes(pid).length,
  mounts: readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n").length,
  launcherFds: readdirSync(`/proc/${pid}/fd`).length,
  clientFds: readdirSync("/proc/self/fd").length,
  groups: groups(),
  launcherKib: rssKib(pid),
  clientKib: rssKib(process.pid),
});

async function runs(count: number): Promise<void> {
  let left = count;
  const worker = async () => {
    while (left-- > 0) {
      const { result } = await runOp(launcher, { argv: ["/bin/true"] });
      if (result.outcome !== "exited" || result.exit !== 0) throw new Error(JSON.stringify(result));
    }
  };
  await Promise.all([worker(), worker()]);
  // The spares are made again, and what cleans up behind the last run has ended.
  await sleep(2000);
}

await runs(Math.max(20, Math.round(RUNS / 100)));
const before = look();
const start = performance.now();
await runs(RUNS);
const seconds = (performance.now() - start) / 1000 - 2;
const after = look();
await stop();

let grown = false;
for (const key of Object.keys(before) as (keyof typeof before)[]) {
  const slack = key === "launcherKib" ? SLACK_KIB.launcher : key === "clientKib" ? SLACK_KIB.client : 0;
  const isGrown = after[key] > before[key] + slack;
  grown ||= isGrown;
  console.log(`${key.padEnd(12)} ${before[key]} before, ${after[key]} after${isGrown ? ": GROWN" : ""}`);
}
console.log(
  JSON.stringify({ bench: "soak", runs: RUNS, a_second: Math.round(RUNS / seconds), before, after, grown }),
);
process.exit(grown ? 1 : 0);
