import { constants } from "node:os";
import { NODE_PATH } from "../core/manifest-command.ts";
import type { Exited, Failed } from "./frames.ts";
import type { Printed } from "./printed.ts";

/** What kept a run within its memory and processes: a control group, or rlimits and a watcher (`limits: best-effort`). */
export type LimitedBy = "cgroup v2" | "cgroup v1" | "best-effort";

/** How a run ended. Times in ms, sizes in bytes. `exit` and `signal` are those of the Op's first process. */
export interface RunResult {
  readonly outcome: "exited" | "signaled" | "timed_out" | "canceled" | "launch_failed";
  readonly exit: number | null;
  readonly signal: string | null;
  /** The launcher's step and errno, what the runner refused, or a note on how the run ended. */
  readonly detail: string | null;
  readonly durationMs: number;
  readonly cpuMs: number;
  readonly userMs: number;
  readonly systemMs: number;
  readonly peakMemoryBytes: number;
  /** Processes and threads at once, at most. */
  readonly processes: number;
  /** Null: nothing ran. */
  readonly limitedBy: LimitedBy | null;
  /** All bytes that the Op wrote to stdout and stderr, those beyond the bound too. */
  readonly outputBytes: number;
  readonly truncated: boolean;
  readonly denied: readonly { readonly call: string; readonly count: number }[];
  /** Secrets that were taken out of what the Op wrote. */
  readonly printed?: Printed[];
  /** The resource of the host for which the launch failed. */
  readonly resource?: string;
}

const SIGNALS = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));
const ERRNOS = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

export function signalName(number: number): string {
  return SIGNALS.get(number) ?? `SIG${number}`;
}

export function errnoName(number: number): string {
  return ERRNOS.get(number) ?? `errno ${number}`;
}

/** What is known of a run's limits, output and refused calls when the launcher says that it ended. */
export interface Observed {
  readonly limitedBy: LimitedBy;
  readonly outputBytes: number;
  readonly truncated: boolean;
  readonly denied: readonly { readonly call: string; readonly count: number }[];
  readonly printed?: Printed[];
}

/** Nothing ran. `why` is one line. */
export function launchFailed(why: string): RunResult {
  return {
    outcome: "launch_failed",
    exit: null,
    signal: null,
    detail: why.slice(0, 500),
    durationMs: 0,
    cpuMs: 0,
    userMs: 0,
    systemMs: 0,
    peakMemoryBytes: 0,
    processes: 0,
    limitedBy: null,
    outputBytes: 0,
    truncated: false,
    denied: [],
  };
}

/** What to do where an Op's runtime is not there. */
const MISSING: Readonly<Record<string, string>> = {
  python3:
    "there is no python3 where the Op runs: install it on the host, or import a root file system that has one (sallyport runtime import) and name it in op.yaml (root: NAME)",
  [NODE_PATH]:
    "Node needs glibc 2.36 or newer, which the root file system of the Op lacks: take one that has it, or none",
};
export function canceledEarly(): RunResult {
  return { ...launchFailed("Canceled before it began."), outcome: "canceled" };
}

/** The launcher's FAILED as a sentence: an Op that can't be executed is the Op's fault, everything else the host's. */
export function failedResult({ errno, step }: Failed, program: string, engineSaid = ""): RunResult {
  const name = errnoName(errno);
  if (step === "engine")
    return launchFailed(
      `The engine ended before it had started the Op. ${engineSaid === "" ? "It said nothing" : `It said: ${engineSaid}`}.`,
    );
  if (step === "engine.program")
    return launchFailed(
      name === "EPERM"
        ? "The engine's program, or a folder that it is in, can be written by others than root."
        : "The engine that the Op asks for is not installed on this host.",
    );
  if (step === "exec") {
    const hint =
      name === "ENOENT"
        ? (MISSING[program] ?? "no such file in the sandbox, or the interpreter of its first line is missing")
        : name === "EACCES"
          ? "it is not executable; set its mode to 0755 before publishing"
          : name === "ENOEXEC"
            ? "it is no program; a script's first line must name its interpreter, as in #!/bin/sh"
            : "the kernel refused it";
    return launchFailed(`${program} could not be executed (${name}): ${hint}.`);
  }
  if (step === "runtime.root")
    return launchFailed(
      `The Op's root file system can't be opened (${name}): import it again, and see that its directory can be entered by the account that runs Ops.`,
    );
  if (step === "runtime.node")
    return launchFailed(
      `sallyport's own executable can't be opened as the Op's Node (${name}): it was moved or removed; start sallyport anew.`,
    );
  if (step === "memory")
    return launchFailed(
      "The run's memory limit does not hold the Op's own files, which count as its memory: raise limits.memory in op.yaml, or take files out of the bundle.",
    );
  if (step.startsWith("bind ")) {
    const resource = step.slice(5);
    const why =
      name === "ESTALE" || name === "ELOOP"
        ? "another thing was put in its place just now"
        : "the sandbox could not be given it";
    return { ...launchFailed(`The resource ${resource} is not given: ${why} (${name}).`), resource };
  }
  return launchFailed(`The sandbox could not be set up at step "${step}" (${name}).`);
}

/** `canceled`: the end was asked for before the launcher told of it, so an Op that answers TERM with exit 0 is canceled too. */
export function exitedResult(frame: Exited, canceled: boolean, observed: Observed): RunResult {
  const signaled = frame.signal !== 0;
  const outcome = frame.timedOut ? "timed_out" : canceled ? "canceled" : signaled ? "signaled" : "exited";
  return {
    outcome,
    exit: signaled ? null : frame.code & 0xff,
    signal: signaled ? signalName(frame.signal) : null,
    detail: frame.outOfMemory
      ? "The run reached its memory limit."
      : frame.tooManyProcesses
        ? "The run had more processes than its limit, and was ended."
        : frame.pidsHits > 0
          ? "The run reached its limit of processes, so that some could not be started."
          : null,
    durationMs: frame.wallUs / 1000,
    cpuMs: (frame.userUs + frame.systemUs) / 1000,
    userMs: frame.userUs / 1000,
    systemMs: frame.systemUs / 1000,
    peakMemoryBytes: frame.memoryPeakBytes > 0 ? frame.memoryPeakBytes : frame.maxRssBytes,
    processes: frame.pidsPeak,
    ...observed,
  };
}
