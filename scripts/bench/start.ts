import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestAppliance } from "../../test/e2e/appliance.ts";

/**
 * Start of `dist/sallyport --version` beside the same runtime's start of nothing (`node -e 0`; its --version starts no VM), and
 * the idle memory of all roles together (PSS), which only root may read.
 */
const SALLYPORT = join(import.meta.dirname, "../../dist/sallyport");
const TIMES = 30;

function medianStart(file: string, ...args: string[]): number {
  const ms: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    const from = performance.now();
    if (spawnSync(file, args).status !== 0) throw new Error(`${file} ${args.join(" ")} failed`);
    ms.push(performance.now() - from);
  }
  return ms.toSorted((a, b) => a - b)[TIMES / 2] ?? Number.NaN;
}

const bare = medianStart(process.execPath, "-e", "0");
const ours = medianStart(SALLYPORT, "--version");
console.log(
  `sallyport --version: median ${ours.toFixed(0)} ms (goal: under 100); node -e 0 ${bare.toFixed(0)} ms; ratio ${(ours / bare).toFixed(2)} x`,
);

if (process.getuid?.() === 0) await idleMemory();
else
  console.log(
    "idle memory: not measured. The roles are not dumpable, so only root may read theirs; run this as root.",
  );

async function idleMemory(): Promise<void> {
  // A file of its own: pages that it shares with other appliances on this host would be counted in part only.
  const dir = mkdtempSync(join(tmpdir(), "sallyport-bench-"));
  process.env.SALLYPORT_TEST_PROGRAM = join(dir, "sallyport");
  copyFileSync(SALLYPORT, process.env.SALLYPORT_TEST_PROGRAM);
  const appliance = new TestAppliance();
  try {
    await appliance.ready();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    let total = 0;
    for (const [name, kib] of descendants(appliance.serving?.pid ?? 0)) {
      console.log(`  ${name.padEnd(24)} ${(kib / 1024).toFixed(0)} MiB PSS`);
      total += kib / 1024;
    }
    console.log(
      `idle memory of all roles together: ${total.toFixed(0)} MiB PSS (goal: under 250); ratio to the goal ${(total / 250).toFixed(2)} x`,
    );
  } finally {
    await appliance.stop();
    rmSync(dir, { recursive: true });
  }
}

/** Name and PSS in KiB of a process and all below it. */
function descendants(root: number): [string, number][] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It ended meanwhile.
    }
  }
  const below = (pid: number): boolean => pid === root || (pid > 1 && below(parents.get(pid) ?? 0));
  return [...parents.keys()].filter(below).map((pid) => {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    const at = words.indexOf("role");
    const name =
      at >= 0
        ? (words[at + 1] ?? "")
        : (words.find((word) => word === "serve" || word === "runner") ?? words[0] ?? "");
    const pss = /^Pss:\s+([0-9]+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? "0";
    return [`${name} (${pid})`, Number(pss)];
  });
}
