import { type ChildProcess, spawn } from "node:child_process";
import { fchmodSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine } from "../../src/core/engines.ts";
import { GRACE_MS, type Grant, makePlainGrant } from "../../src/exec/grant.ts";
import { type Launcher, openLauncher, type Run } from "../../src/exec/launch.ts";
import { withEngine } from "../../src/exec/oci.ts";
import type { RunResult } from "../../src/exec/result.ts";
import type { RunHandlers } from "../../src/exec/run.ts";
import type { SpecFile } from "../../src/exec/spec.ts";
import { asset } from "../../src/host/asset.ts";
import { harden } from "../../src/host/harden.ts";

/**
 * A launcher of its own for a test, as this user or as another. `before`: a command that runs the rest of its arguments,
 * in front of all.
 */
export function startLauncher(as: { uid?: number | undefined; before?: readonly string[] } = {}): {
  launcher: Launcher;
  child: ChildProcess;
  stop(): Promise<void>;
} {
  const [ours, theirs] = harden().socketpair();
  // Descriptor 4 is the executable: another user need not be able to reach this folder.
  const exec = harden().memfd("launcher", asset("launcher"), true);
  fchmodSync(exec, 0o555);
  const drop = ["setpriv", "--reuid", `${as.uid}`, "--regid", `${as.uid}`, "--clear-groups", "--"];
  const [file, ...args] = [
    ...(as.before ?? []),
    ...(as.uid === undefined ? [] : drop),
    "/proc/self/fd/4",
    "serve",
    "3",
  ];
  const child = spawn(file!, args, { stdio: ["ignore", "inherit", "inherit", theirs, exec] });
  harden().closeFd(theirs);
  harden().closeFd(exec);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const launcher = openLauncher(ours);
  return {
    launcher,
    child,
    async stop() {
      launcher.close();
      await exited;
    },
  };
}

export interface Seen {
  readonly stdout: string;
  readonly stderr: string;
  readonly chunks: Buffer[];
  readonly progress: { text: string; percent: number | null }[];
  readonly denied: string[];
  readonly result: RunResult;
}

export type PlainGrant = Partial<Omit<Grant["spec"]["limits"], "seccomp">> & {
  readonly files?: readonly SpecFile[];
  readonly argv: readonly string[];
  readonly seccomp?: "default" | "strict" | "network";
  readonly outputBytes?: number;
  readonly secrets?: Grant["secrets"];
  readonly engine?: Engine | undefined;
};

export function plainGrant(of: PlainGrant): Grant {
  const {
    files = [],
    argv,
    seccomp = "default",
    outputBytes = 1 << 20,
    secrets = [],
    engine,
    ...limits
  } = of;
  const grant = makePlainGrant({
    run: "r-test",
    files: [{ tree: "op", path: "probe", mode: 0o555, bytes: asset("probe") }, ...files],
    argv,
    seccomp,
    outputBytes,
    limits: {
      wallMs: 20_000,
      graceMs: GRACE_MS,
      memoryBytes: 256 << 20,
      pids: 64,
      cpu: 1,
      tmpBytes: 16 << 20,
      ...limits,
    },
  });
  return { ...grant, secrets, spec: withEngine(grant.spec, engine) };
}

/** Starts a run; `seen` resolves at its end. */
export function begin(
  launcher: Launcher,
  of: PlainGrant,
  more: Partial<RunHandlers> = {},
): { run: Run; seen: Promise<Seen> } {
  const out: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] };
  const chunks: Buffer[] = [];
  const progress: Seen["progress"] = [];
  const denied: string[] = [];
  const run = launcher.run(plainGrant(of), {
    onStarted: (frame) => more.onStarted?.(frame),
    onOutput: (stream, bytes) => {
      out[stream].push(bytes);
      chunks.push(bytes);
      more.onOutput?.(stream, bytes);
    },
    ready: () => more.ready?.() ?? null,
    ...(more.onSecret === undefined ? {} : { onSecret: more.onSecret }),
    onProgress: (text, percent) => progress.push({ text, percent }),
    onDenied: (call, process) => {
      denied.push(call);
      more.onDenied?.(call, process);
    },
  });
  const seen = run.finished.then((result) => {
    const text = (parts: Buffer[]) => Buffer.concat(parts).toString("utf8");
    return { stdout: text(out.stdout), stderr: text(out.stderr), chunks, progress, denied, result };
  });
  return { run, seen };
}

/** Runs to the end. */
export function runOp(launcher: Launcher, of: PlainGrant, more?: Partial<RunHandlers>): Promise<Seen> {
  return begin(launcher, of, more).seen;
}

/** `sh -c`, with the rest as $1... */
export const sh = (script: string, ...args: string[]): readonly string[] => [
  "/bin/sh",
  "-c",
  script,
  "sh",
  ...args,
];

/** Processes of this host with the marker in their command line. */
export function findProcesses(marker: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(marker);
      } catch {
        return false;
      }
    });
}

/** Waits until `count` processes carry the marker, at most `ms`; returns how many there were at the end. */
export async function waitProcesses(
  marker: string,
  enough: (count: number) => boolean,
  ms: number,
): Promise<number> {
  const until = Date.now() + ms;
  for (;;) {
    const count = findProcesses(marker).length;
    if (enough(count) || Date.now() > until) return count;
    await sleep(20);
  }
}
