import { isAuthError } from "../core/slack-errors.ts";
import type { Failure } from "./failure.ts";

/**
 * What became of one try. `retry`: surely without effect. `unknown`: perhaps with effect, and Slack can't be asked: that
 * would take a scope by which the app could read whole channels.
 */
export type Sent =
  | { kind: "done"; channel: string; ts: string | null }
  | { kind: "failed"; error: string }
  | { kind: "retry"; afterMs: number; why: Failure["kind"] }
  | { kind: "unknown" };

export function sentOf(failure: Failure, onAuth: (text: string) => void): Sent {
  switch (failure.kind) {
    case "platform":
      return { kind: "failed", error: failure.error };
    case "auth":
      onAuth(failure.text);
      return { kind: "failed", error: failure.error };
    case "rate":
      return { kind: "retry", afterMs: failure.afterMs, why: "rate" };
    case "unsent":
      return { kind: "retry", afterMs: 0, why: "unsent" };
    case "ambiguous":
      return { kind: "unknown" };
  }
}

/** A post that Slack took. `asked`: where it was to go, which for a person's id is not the channel's own name. */
export function done(data: Record<string, unknown>, asked: string): Sent {
  const { ts, channel } = data;
  return {
    kind: "done",
    channel: typeof channel === "string" && /^[A-Z][A-Z0-9]{1,31}$/.test(channel) ? channel : asked,
    ts: typeof ts === "string" && /^\d{1,12}\.\d{1,8}$/.test(ts) ? ts : null,
  };
}

/** Errors after which the same nonce may be posted again: what surely left no trace in Slack, and may be taken later. */
export function leftNoTrace(error: string): boolean {
  return /^(unreachable|ratelimited|queue_full|not_connected)$/.test(error) || isAuthError(error);
}
