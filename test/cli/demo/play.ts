import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { FILE_TIMEOUT } from "../../faults/support.ts";

// Every file that plays a demo needs more than the 30 s that tap gives by itself.
t.setTimeout(FILE_TIMEOUT);

const ROOT = join(import.meta.dirname, "../../..");
const PACKAGED = join(ROOT, "dist/sallyport");

/** How the demo is started: as users do, from the executable where there is one. */
export const DEMO: readonly string[] = existsSync(PACKAGED)
  ? [PACKAGED, "demo"]
  : [process.execPath, "--disable-sigusr1", join(ROOT, "src/main.ts"), "demo"];

export const SCRIPT = join(ROOT, "examples/demo.script");

export interface Played {
  status: number | null;
  out: string;
  err: string;
  ms: number;
}

/** A demo whose temporary directory is made in one of our own, so that what it leaves can be seen. */
export class Playing {
  readonly scratch: string;
  readonly child: ChildProcess;
  readonly done: Promise<Played>;
  out = "";
  err = "";

  constructor(args: readonly string[], scratch: string, input?: string) {
    this.scratch = scratch;
    const [file = "", ...own] = DEMO;
    this.child = spawn(file, [...own, ...args], {
      env: { PATH: process.env.PATH, TMPDIR: scratch, TZ: "UTC" },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.child.stdin?.on("error", () => undefined);
    this.child.stdin?.end(input ?? "");
    this.child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
      this.out += chunk;
    });
    this.child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
      this.err += chunk;
    });
    const from = performance.now();
    this.done = new Promise((resolve) => {
      this.child.once("close", (status) =>
        resolve({ status, out: this.out, err: this.err, ms: performance.now() - from }),
      );
    });
  }

  async printed(pattern: RegExp, ms = 60_000): Promise<void> {
    await until(() => pattern.test(this.out), ms, `${pattern} was not printed:\n${this.out}\n${this.err}`);
  }
}

/** Short, because sockets are made below it. */
export function scratchDir(t: { teardown(f: () => void): unknown }): string {
  const dir = mkdtempSync("/tmp/demo-test-");
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

export async function until(condition: () => boolean, ms: number, otherwise: string): Promise<void> {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error(otherwise);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Processes that were started with our scratch directory in their arguments or their environment. */
export function processesOf(scratch: string): string[] {
  const found: string[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const seen =
        readFileSync(`/proc/${pid}/cmdline`, "latin1") + readFileSync(`/proc/${pid}/environ`, "latin1");
      if (seen.includes(scratch) && Number(pid) !== process.pid) found.push(`${pid} ${seen.slice(0, 200)}`);
    } catch {
      // It ended meanwhile, or is none of ours.
    }
  }
  return found;
}

/** A process and all that came from it, each as "pid start-time", which no later process can have. */
export function familyOf(root: number | undefined): string[] {
  const parents = new Map<string, { parent: string; key: string }>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const stat = statOf(pid);
    if (stat !== null) parents.set(pid, { parent: stat[1] ?? "", key: `${pid} ${stat[19]}` });
  }
  const found = new Set([String(root)]);
  for (let before = 0; before !== found.size; ) {
    before = found.size;
    for (const [pid, { parent }] of parents) if (found.has(parent)) found.add(pid);
  }
  return [...found].flatMap((pid) => parents.get(pid)?.key ?? []);
}

export function alive(family: readonly string[]): string[] {
  return family.filter((key) => {
    const [pid = "", start] = key.split(" ");
    const stat = statOf(pid);
    return stat !== null && stat[19] === start && stat[0] !== "Z";
  });
}

/** The fields of /proc/PID/stat from the third (state) on. */
function statOf(pid: string): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null;
  }
}

export function scriptFile(dir: string, lines: readonly string[]): string {
  const file = join(dir, "lines.script");
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}
