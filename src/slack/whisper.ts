import { setTimeout as sleep } from "node:timers/promises";
import { backoff } from "./backoff.ts";
import type { Context, Contexts } from "./contexts.ts";
import { LITERAL } from "./render.ts";
import { done, type Sent, sentOf } from "./sent.ts";
import type { Rendered } from "./types.ts";
import type { Web } from "./web.ts";

/** Tries of which each may have reached the person; copies are harmless, a pile of them is a nuisance. */
const UNKNOWN_TRIES = 3;

export type WhisperOptions = {
  web: Web;
  contexts: Contexts;
  onAuth: (text: string) => void;
  limits: { retryBaseMs: number; retryCapMs: number; giveUpMs: number };
  signal: AbortSignal;
};

/**
 * Answers a request's person, and nobody else. Who reads an answer twice has lost nothing, who never reads it has: where
 * one way may have failed, the next is taken.
 */
export class Whisper {
  readonly #o: WhisperOptions;
  /** Answers to one request keep their order. */
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(o: WhisperOptions) {
    this.#o = o;
  }

  /** For what is not owed in the keeper's database: a refusal, a code, an answer of the moment. */
  respond(request: string, message: Rendered): void {
    const context = this.#o.contexts.get(request);
    if (context !== undefined) void this.#inOrder(request, () => this.#persist(context, message));
  }

  /** One try, for what the keeper keeps until it was told. */
  tell(request: string, message: Rendered): Promise<Sent> {
    const context = this.#o.contexts.get(request);
    if (context === undefined) return Promise.resolve({ kind: "failed", error: "channel_not_found" });
    return this.#inOrder(request, () => this.#send(context, message));
  }

  #inOrder(request: string, send: () => Promise<Sent>): Promise<Sent> {
    const before = this.#last.get(request) ?? Promise.resolve();
    const mine = before.then(send).catch((): Sent => ({ kind: "unknown" }));
    this.#last.set(request, mine);
    void mine.then(() => {
      if (this.#last.get(request) === mine) this.#last.delete(request);
    });
    return mine;
  }

  async #persist(context: Context, message: Rendered): Promise<Sent> {
    const { limits, signal } = this.#o;
    const until = Date.now() + limits.giveUpMs;
    let sent = await this.#send(context, message);
    for (let tries = 1, unknown = 0; ; tries++) {
      if (sent.kind === "unknown") unknown++;
      if (sent.kind === "done" || sent.kind === "failed" || unknown === UNKNOWN_TRIES) return sent;
      const ms =
        sent.kind === "retry" && sent.why === "rate"
          ? sent.afterMs
          : backoff(tries, limits.retryBaseMs, limits.retryCapMs);
      if (Date.now() + ms > until) return sent;
      await sleep(ms, undefined, { signal });
      sent = await this.#direct(context, message);
    }
  }

  async #send(context: Context, message: Rendered): Promise<Sent> {
    const { channel, user, thread } = context;
    const asked = await this.#o.contexts.post(context, message, "ephemeral", thread);
    if (asked === "ok") return { kind: "done", channel: user, ts: null };
    if (channel !== null && channel.kind !== "im") {
      const ephemeral = { channel: channel.id, user, ...inThread(thread), ...message, ...LITERAL };
      const sent = await this.#o.web.call("chat.postEphemeral", ephemeral);
      if (sent.ok) return { kind: "done", channel: user, ts: null };
    }
    return this.#direct(context, message);
  }

  /** A direct message from the app: only that person reads it. */
  async #direct({ channel, user, thread }: Context, message: Rendered): Promise<Sent> {
    const to = channel?.kind === "im" ? { channel: channel.id, ...inThread(thread) } : { channel: user };
    const sent = await this.#o.web.call("chat.postMessage", { ...to, ...message, ...LITERAL });
    return sent.ok ? done(sent.data, user) : sentOf(sent.failure, this.#o.onAuth);
  }
}

const inThread = (thread: string | null) => (thread === null ? {} : { thread_ts: thread });
