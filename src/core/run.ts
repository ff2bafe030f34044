import { randomBytes } from "node:crypto";
import { SallyportError } from "./errors.ts";

export const RUN_STATES = [
  "requested",
  "denied",
  "waiting",
  "expired",
  "queued",
  "running",
  "succeeded",
  "failed",
  "timed_out",
  "canceled",
  "lost",
] as const;
export type RunState = (typeof RUN_STATES)[number];

/**
 * DESIGN section 4. A right can be lost while a run waits or queues (it is checked again at launch), so both may
 * still become `denied`. `failed` from `queued` is a launch that the sandbox refused; `lost` is what a crash left.
 */
const MOVES: Readonly<Record<RunState, readonly RunState[]>> = {
  requested: ["denied", "waiting", "queued", "canceled"],
  waiting: ["denied", "expired", "queued", "canceled"],
  queued: ["denied", "running", "failed", "canceled", "lost"],
  running: ["succeeded", "failed", "timed_out", "canceled", "lost"],
  denied: [],
  expired: [],
  succeeded: [],
  failed: [],
  timed_out: [],
  canceled: [],
  lost: [],
};

export type FinalRunState = "denied" | "expired" | "succeeded" | "failed" | "timed_out" | "canceled" | "lost";

export const isRunState = (value: unknown): value is RunState => RUN_STATES.includes(value as RunState);
export const isFinal = (state: RunState): state is FinalRunState => MOVES[state].length === 0;
/** A run that may have processes: what a restart of the keeper has to make sure is dead. */
export const isLive = (state: RunState): boolean => state === "queued" || state === "running";
export const canMove = (from: RunState, to: RunState): boolean => MOVES[from].includes(to);

export function checkMove(from: RunState, to: RunState): void {
  if (canMove(from, to)) return;
  const why = isFinal(from) ? "it is over" : `it can become ${MOVES[from].join(", ")}`;
  throw new SallyportError("conflict", `A run that is ${from} can't become ${to}: ${why}.`);
}

/** How a run ended. `reason` is a sentence for people; `exit` and `signal` are the Op's own, at most one is set. */
export interface Outcome {
  readonly state: FinalRunState;
  readonly exit: number | null;
  readonly signal: string | null;
  readonly durationMs: number | null;
  readonly reason: string | null;
}

/** The rules that hold between an outcome's fields; a runner that breaks them is wrong or lies. */
export function checkOutcome(outcome: Outcome): Outcome {
  const { state, exit, signal, durationMs, reason } = outcome;
  const wrong = (what: string): never => {
    throw new SallyportError("internal", `The outcome of a run is contradictory: ${what}.`);
  };
  if (!isRunState(state) || !isFinal(state)) wrong(`${String(state)} is no final state`);
  if (exit !== null && !(Number.isInteger(exit) && exit >= 0 && exit <= 255)) wrong("exit is not 0 to 255");
  if (signal !== null && !/^SIG[A-Z0-9+]{1,12}$/.test(signal)) wrong("signal has no signal's name");
  if (exit !== null && signal !== null) wrong("both exit and signal are set");
  if (durationMs !== null && !(Number.isFinite(durationMs) && durationMs >= 0))
    wrong("the duration is negative");
  if (reason !== null && (reason === "" || reason.length > 500)) wrong("the reason is empty or too long");
  if (state === "succeeded" && exit !== 0) wrong("success needs exit 0");
  if (state === "failed" && exit === 0) wrong("exit 0 is no failure");
  if ((state === "denied" || state === "expired") && (exit !== null || signal !== null))
    wrong("it never ran");
  return outcome;
}

const CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz";

/** "r-" + 10 digits of the time in ms + 6 random ones (30 bits): sorts by time, says nothing else. */
export function newRunId(nowMs: number = Date.now(), random: Uint8Array = randomBytes(6)): string {
  if (!(Number.isInteger(nowMs) && nowMs >= 0 && nowMs < 2 ** 48) || random.length < 6) {
    throw new SallyportError("internal", "A run id needs a time in ms and 6 random bytes.");
  }
  let time = "";
  for (let rest = nowMs, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) time = CROCKFORD[rest % 32] + time;
  let tail = "";
  for (const byte of random.subarray(0, 6)) tail += CROCKFORD[byte & 31];
  return `r-${time}${tail}`;
}

export const isRunId = (value: unknown): value is string =>
  typeof value === "string" && /^r-[0-9a-hjkmnp-tv-z]{16}$/.test(value);
