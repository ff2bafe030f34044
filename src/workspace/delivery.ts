import { randomUUID } from "node:crypto";
import { performance } from "node:perf_hooks";
import type { FaultPlan } from "./faults.ts";
import type { Hub } from "./socket.ts";
import type { State } from "./state.ts";
import type { Ack, Delivery, EnvelopeType, Message } from "./types.ts";

/** What the first ack of an envelope does: post its text, change a modal. */
export type AckEffect = (payload: Record<string, unknown>, delivery: Delivery) => void;

export interface NewDelivery {
  type: EnvelopeType;
  payload: Record<string, unknown>;
  acceptsResponse: boolean;
  triggerId?: string | null;
  responseUrl?: string | null;
  /** Where the response_url's messages are collected. */
  responses?: Message[];
  onAck?: AckEffect;
  /** Whether an ack without a payload has an effect as well. */
  ackEmpty?: boolean;
  /** Slack tells the person that nothing answered. */
  onFailure?: (reason: "operation_timeout" | "dispatch_failed") => void;
}

/** One envelope on its way: sent, sent again, acked or given up. */
export class Outbound implements Delivery {
  readonly envelopeId = randomUUID();
  readonly type: EnvelopeType;
  readonly envelope: Record<string, unknown>;
  readonly triggerId: string | null;
  readonly responseUrl: string | null;
  readonly attempts: { connection: number; at: number; retry: number }[] = [];
  readonly ack: Promise<Ack>;
  readonly responses: Message[];
  readonly spec: NewDelivery;
  readonly #state: State;
  acks = 0;
  settled = false;
  retry = 0;
  timer: NodeJS.Timeout | undefined;
  #settle: (ack: Ack) => void = () => {};

  constructor(state: State, spec: NewDelivery) {
    this.#state = state;
    this.spec = spec;
    this.type = spec.type;
    this.responses = spec.responses ?? [];
    this.triggerId = spec.triggerId ?? null;
    this.responseUrl = spec.responseUrl ?? null;
    this.envelope = {
      envelope_id: this.envelopeId,
      payload: spec.payload,
      type: spec.type,
      accepts_response_payload: spec.acceptsResponse,
      ...(spec.type === "events_api" ? { retry_attempt: 0, retry_reason: "" } : {}),
    };
    this.ack = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  frame(): string {
    if (this.retry === 0 || this.type !== "events_api") return JSON.stringify(this.envelope);
    return JSON.stringify({ ...this.envelope, retry_attempt: this.retry, retry_reason: "timeout" });
  }

  settle(ack: Ack): void {
    this.settled = true;
    this.#settle(ack);
  }

  response(ms = 5000): Promise<Message> {
    return this.#state.waitFor(() => this.responses[0], ms);
  }
}

export interface CourierOptions {
  state: State;
  faults: FaultPlan;
  ackTimeoutMs: number;
  retryDelaysMs: number[];
}

/** Brings envelopes to connections and sees to their acks, as Slack does. */
export class Courier {
  readonly deliveries: Outbound[] = [];
  readonly #o: CourierOptions;
  readonly #byId = new Map<string, Outbound>();
  /** No connection was there to take them. */
  readonly #waiting = new Set<Outbound>();
  #hub: Hub | undefined;

  constructor(options: CourierOptions) {
    this.#o = options;
  }

  attach(hub: Hub): void {
    this.#hub = hub;
  }

  deliver(spec: NewDelivery): Delivery {
    const out = new Outbound(this.#o.state, spec);
    this.deliveries.push(out);
    this.#byId.set(out.envelopeId, out);
    if (!this.#attempt(out) && out.type !== "events_api") {
      this.#waiting.delete(out);
      clearTimeout(out.timer);
      out.settle({ status: "dispatch_failed" });
      spec.onFailure?.("dispatch_failed");
    }
    if (this.#o.faults.take("duplicate")) this.#attempt(out, out.attempts.at(-1)?.connection);
    this.#o.state.changed();
    return out;
  }

  redeliver(envelopeId: string): void {
    const out = this.#byId.get(envelopeId);
    if (out !== undefined) this.#attempt(out, out.attempts.at(-1)?.connection);
  }

  #attempt(out: Outbound, avoid?: number): boolean {
    this.#arm(out);
    // Taken before the write, so that no latency hides behind it.
    const at = performance.now();
    const connection = this.#hub?.send(out, avoid) ?? null;
    if (connection === null) {
      this.#waiting.add(out);
      return false;
    }
    this.#waiting.delete(out);
    out.attempts.push({ connection, at, retry: out.retry });
    return true;
  }

  #arm(out: Outbound): void {
    if (out.settled || out.timer !== undefined) return;
    out.timer = setTimeout(() => this.#timedOut(out), this.#o.ackTimeoutMs);
    out.timer.unref();
  }

  #timedOut(out: Outbound): void {
    out.timer = undefined;
    if (out.settled) return;
    this.#waiting.delete(out);
    const delay = out.type === "events_api" ? this.#o.retryDelaysMs[out.retry] : undefined;
    if (delay !== undefined) {
      out.retry += 1;
      setTimeout(() => {
        if (!out.settled) this.#attempt(out, out.attempts.at(-1)?.connection);
      }, delay).unref();
      return;
    }
    out.settle({ status: "timeout" });
    if (out.type !== "events_api") {
      out.spec.onFailure?.("operation_timeout");
      // The person was told that it failed, yet the same envelope can come once more.
      this.#attempt(out, out.attempts.at(-1)?.connection);
    }
    this.#o.state.changed();
  }

  orphaned(orphans: Outbound[]): void {
    for (const out of orphans) if (!out.settled) this.#attempt(out);
  }

  ready(): void {
    for (const out of [...this.#waiting]) if (!out.settled) this.#attempt(out);
  }

  acked(envelopeId: string, payload: unknown, connection: number, bytes: number): void {
    const out = this.#byId.get(envelopeId);
    if (out === undefined || this.#o.faults.take("loseAck")) return;
    out.acks += 1;
    if (!out.settled) {
      clearTimeout(out.timer);
      const sent = out.attempts.findLast((a) => a.connection === connection) ?? out.attempts.at(-1);
      const answer =
        typeof payload === "object" && payload !== null ? (payload as Record<string, unknown>) : {};
      const ms = sent === undefined ? 0 : performance.now() - sent.at;
      out.settle({ status: "acked", payload: answer, ms, connection, bytes });
      if (Object.keys(answer).length > 0 || out.spec.ackEmpty === true) out.spec.onAck?.(answer, out);
    }
    this.#o.state.changed();
  }

  close(): void {
    for (const out of this.deliveries) clearTimeout(out.timer);
  }
}
