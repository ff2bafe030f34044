import type { Contexts } from "./contexts.ts";
import type { Failure } from "./failure.ts";
import type { PostJob, Sender, Sent } from "./outbox.ts";
import { LITERAL } from "./render.ts";
import type { Rendered } from "./types.ts";
import type { Web } from "./web.ts";

const EVENT_TYPE = "sallyport_post";
/** A message may be a little older than our clock says. Milliseconds. */
const SKEW = 120_000;

/** The bot is not in the conversation; the request's response_url still reaches it. */
const OUTSIDE = ["not_in_channel", "channel_not_found", "no_permission"];

/** Sends posts and updates, and finds out what became of a post whose answer was lost. */
export class SlackSender implements Sender {
  readonly #web: Web;
  readonly #contexts: Contexts;
  readonly #onAuth: (text: string) => void;
  /** Without a history scope nobody can look: known after the first try. */
  #blind = false;

  constructor(web: Web, contexts: Contexts, onAuth: (text: string) => void) {
    this.#web = web;
    this.#contexts = contexts;
    this.#onAuth = onAuth;
  }

  async post(job: PostJob): Promise<Sent> {
    const since = Date.now();
    const { thread } = job;
    const result = await this.#web.call("chat.postMessage", {
      channel: job.channel,
      ...(thread === null ? {} : { thread_ts: thread }),
      ...job.message,
      ...LITERAL,
      metadata: { event_type: EVENT_TYPE, event_payload: { nonce: job.nonce } },
    });
    if (result.ok) return posted(result.data, job.channel);
    const { failure } = result;
    if (failure.kind === "platform" && OUTSIDE.includes(failure.error))
      return this.#viaResponseUrl(job, failure.error);
    if (failure.kind !== "ambiguous") return this.#sent(failure);
    return this.#look(job, since);
  }

  async update(channel: string, ts: string, message: Rendered): Promise<Sent> {
    const result = await this.#web.call("chat.update", { channel, ts, ...message, ...LITERAL });
    if (result.ok) return { kind: "done", channel, ts };
    // The same text twice is the same message: an update can always be repeated.
    if (result.failure.kind === "ambiguous") return { kind: "retry", afterMs: 0, why: "ambiguous" };
    return this.#sent(result.failure);
  }

  #sent(failure: Exclude<Failure, { kind: "ambiguous" }>): Sent {
    switch (failure.kind) {
      case "platform":
        return { kind: "failed", error: failure.error };
      case "auth":
        this.#onAuth(failure.text);
        return { kind: "failed", error: failure.error };
      case "rate":
        return { kind: "retry", afterMs: failure.afterMs, why: "rate" };
      case "unsent":
        return { kind: "retry", afterMs: 0, why: "unsent" };
    }
  }

  async #viaResponseUrl(job: PostJob, error: string): Promise<Sent> {
    const context = job.request === null ? undefined : this.#contexts.get(job.request);
    // A request may be answered in its own conversation alone.
    if (context === undefined || context.channel !== job.channel) return { kind: "failed", error };
    const outcome = await this.#contexts.post(context, job.message, "in_channel", job.thread);
    if (outcome === "ok") return { kind: "done", channel: job.channel, ts: null };
    return outcome === "unknown" ? { kind: "unknown" } : { kind: "failed", error };
  }

  /**
   * The answer was lost. A second post could be a second message, so the first is looked for by its nonce. That takes a
   * history scope, which the manifest does not ask for: without one the outcome is "unknown" and nothing is repeated.
   */
  async #look(job: PostJob, since: number): Promise<Sent> {
    if (this.#blind) return { kind: "unknown" };
    const result = await this.#web.call(
      job.thread === null ? "conversations.history" : "conversations.replies",
      {
        channel: job.channel,
        ...(job.thread === null ? {} : { ts: job.thread }),
        oldest: ((since - SKEW) / 1000).toFixed(6),
        include_all_metadata: true,
        limit: 200,
      },
    );
    if (!result.ok) {
      if (result.failure.kind === "platform") this.#blind = true;
      return { kind: "unknown" };
    }
    const messages = result.data.messages;
    if (!Array.isArray(messages)) return { kind: "unknown" };
    for (const message of messages as unknown[]) {
      const m = message as { ts?: unknown; metadata?: { event_payload?: { nonce?: unknown } } } | null;
      if (m?.metadata?.event_payload?.nonce === job.nonce) return posted({ ts: m.ts }, job.channel);
    }
    return result.data.has_more === true ? { kind: "unknown" } : { kind: "retry", afterMs: 0, why: "unsent" };
  }
}

function posted(data: Record<string, unknown>, asked: string): Sent {
  const { ts, channel } = data;
  return {
    kind: "done",
    channel: typeof channel === "string" && /^[A-Z][A-Z0-9]{1,31}$/.test(channel) ? channel : asked,
    ts: typeof ts === "string" && /^\d{1,12}\.\d{1,8}$/.test(ts) ? ts : null,
  };
}
