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

export const isFinal = (state: RunState): state is FinalRunState => MOVES[state].length === 0;
export const canMove = (from: RunState, to: RunState): boolean => MOVES[from].includes(to);

export function checkMove(from: RunState, to: RunState): void {
  if (canMove(from, to)) return;
  const why = isFinal(from) ? "it is over" : `it can become ${MOVES[from].join(", ")}`;
  throw new SallyportError("conflict", `A run that is ${from} can't become ${to}: ${why}.`);
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
