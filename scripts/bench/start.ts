import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { TestAppliance } from "../../test/e2e/appliance.ts";

/** Start of `dist/sallyport --version` beside the same runtime's own, and the idle memory of all roles together (PSS). */
const SALLYPORT = join(import.meta.dirname, "../../dist/sallyport");
const TIMES = 30;

function medianStart(file: string): number {
  const ms: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    const from = performance.now();
    if (spawnSync(file, ["--version"]).status !== 0) throw new Error(`${file} --version failed`);
    ms.push(performance.now() - from);
  }
  return ms.toSorted((a, b) => a - b)[TIMES / 2] ?? Number.NaN;
}

const bare = medianStart(process.execPath);
const ours = medianStart(SALLYPORT);
console.log(
  `sallyport --version: median ${ours.toFixed(0)} ms (goal: under 100); node --version ${bare.toFixed(0)} ms; ratio ${(ours / bare).toFixed(2)} x`,
);

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
