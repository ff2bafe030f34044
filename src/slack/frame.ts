import { z } from "zod";

/** Slack's own frames are some KiB; a message with 50 blocks in a click stays well below. In UTF-16 units. */
export const MAX_FRAME = 1024 * 1024;

export type Envelope = {
  id: string;
  type: string;
  payload: unknown;
  retry: number;
  acceptsPayload: boolean;
};

export type Frame =
  | { kind: "hello"; connections: number }
  | { kind: "disconnect"; reason: string; connections: number | null }
  | { kind: "envelope"; envelope: Envelope }
  | { kind: "malformed"; why: string }
  | { kind: "oversized"; size: number };

const Hello = z.object({ num_connections: z.int().min(0).max(10_000).catch(0) });

const Disconnect = z.object({
  reason: z
    .string()
    .regex(/^[a-z_]{1,40}$/)
    .catch("unnamed"),
  num_connections: z.int().min(0).max(10_000).nullable().catch(null),
});

const ENVELOPE_ID = /^[\x21-\x7e]{1,120}$/;
const MAX_RETRY = 1000;

/** Reads one Socket Mode frame. Never throws: whatever Slack (or who speaks for it) sends becomes a named result. */
export function readFrame(data: unknown): Frame {
  if (typeof data !== "string") return { kind: "malformed", why: "a binary frame" };
  if (data.length > MAX_FRAME) return { kind: "oversized", size: data.length };
  let frame: unknown;
  try {
    frame = JSON.parse(data);
  } catch {
    return { kind: "malformed", why: "not JSON" };
  }
  if (typeof frame !== "object" || frame === null || Array.isArray(frame)) {
    return { kind: "malformed", why: "not a JSON object" };
  }
  const type = (frame as { type?: unknown }).type;
  if (type === "hello") return { kind: "hello", connections: Hello.parse(frame).num_connections };
  if (type === "disconnect") {
    const { reason, num_connections } = Disconnect.parse(frame);
    return { kind: "disconnect", reason, connections: num_connections };
  }
  return readEnvelope(frame as Record<string, unknown>);
}

/** By hand, as every envelope passes here on its way to the ack. */
function readEnvelope(frame: Record<string, unknown>): Frame {
  const { envelope_id: id, type, payload, retry_attempt, accepts_response_payload } = frame;
  if (typeof id !== "string" || !ENVELOPE_ID.test(id)) {
    return { kind: "malformed", why: "no valid envelope_id" };
  }
  if (typeof type !== "string" || type.length < 1 || type.length > 100) {
    return { kind: "malformed", why: "no valid type" };
  }
  const retry =
    Number.isInteger(retry_attempt) && Number(retry_attempt) >= 0 && Number(retry_attempt) <= MAX_RETRY
      ? Number(retry_attempt)
      : 0;
  const acceptsPayload = accepts_response_payload === true;
  return { kind: "envelope", envelope: { id, type, payload, retry, acceptsPayload } };
}
