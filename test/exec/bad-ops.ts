import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findProcesses } from "./launcher.ts";

/** Ops that do not want to end: their shell scripts, in which PROBE is the probe and MARK what their command lines carry. */
export const BAD_OPS: Readonly<Record<string, { script: string; processes: number; pids?: number }>> = {
  "a double fork": { script: "PROBE daemon:MARK-a; exec PROBE sleep:MARK-b", processes: 2 },
  setsid: { script: "setsid PROBE stubborn:MARK-a & exec PROBE sleep:MARK-b", processes: 2 },
  "TERM ignored": { script: 'trap "" TERM; exec PROBE stubborn:MARK', processes: 2 },
  "a fork bomb": { script: "exec PROBE bomb:MARK", processes: 15, pids: 24 },
  "stopped processes": { script: "PROBE stopped:MARK-a; exec PROBE sleep:MARK-b", processes: 2 },
};

/** The script for one run; it also leaves files where an Op may write. */
export function badScript(kind: string, mark: string, probe: string): string {
  const { script } = BAD_OPS[kind]!;
  return `echo x > /tmp/${mark}; echo x > /dev/shm/${mark}; ${script.replaceAll("PROBE", probe).replaceAll("MARK", mark)}`;
}

let serial = 0;
export const newMark = (): string => `sallyport-bad-${process.pid}-${++serial}-`;

/** Waits until none is left, or 15 s: ms since `from` for each kind. What remains is Infinity. */
export async function timeToGone(
  marks: ReadonlyMap<string, string>,
  from: number,
): Promise<Map<string, number>> {
  const gone = new Map<string, number>();
  while (gone.size < marks.size && performance.now() - from < 15_000) {
    for (const [kind, mark] of marks)
      if (!gone.has(kind) && findProcesses(mark).length === 0) gone.set(kind, performance.now() - from);
    await sleep(10);
  }
  for (const kind of marks.keys()) if (!gone.has(kind)) gone.set(kind, Number.POSITIVE_INFINITY);
  return gone;
}

export const inWords = (gone: ReadonlyMap<string, number>): string =>
  [...gone].map(([kind, ms]) => `${kind} ${Math.round(ms)} ms`).join(", ");

/** Lines of a process's mount table. */
export const mountsOf = (pid: number | "self"): string[] =>
  readFileSync(`/proc/${pid}/mountinfo`, "utf8").trim().split("\n").sort();

/** Files of these runs where an Op's would be, did they reach the host. */
export function filesOf(marks: Iterable<string>, dirs: readonly string[]): string[] {
  const all = dirs
    .filter((dir) => existsSync(dir))
    .flatMap((dir) => readdirSync(dir).map((name) => join(dir, name)));
  return [...marks].flatMap((mark) => all.filter((path) => path.includes(mark)));
}

/** Groups of a launcher's runs, wherever cgroup hierarchies are mounted and this process is in them. */
export function groupsOf(launcher: number): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4]!);
  const own = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
  const paths = own.map((line) => line.split(":").slice(2).join(":"));
  const places = new Set(mounts.flatMap((mount) => paths.map((path) => join(mount, path))));
  return [...places]
    .filter((place) => existsSync(place))
    .flatMap((place) => readdirSync(place).map((name) => join(place, name)))
    .filter((path) => path.includes(`/sallyport-${launcher}-`));
}
