import type { Contexts } from "./contexts.ts";
import type { PostJob, Sender } from "./outbox.ts";
import { LITERAL } from "./render.ts";
import { done, type Sent, sentOf } from "./sent.ts";
import type { Rendered } from "./types.ts";
import type { Web } from "./web.ts";
import type { Whisper } from "./whisper.ts";

const EVENT_TYPE = "sallyport_post";

/** The bot is not in the conversation; the request's response_url still reaches it. */
const OUTSIDE = ["not_in_channel", "channel_not_found", "no_permission"];

/** One try at a post or an update. */
export class SlackSender implements Sender {
  readonly #web: Web;
  readonly #contexts: Contexts;
  readonly #whisper: Whisper;
  readonly #onAuth: (text: string) => void;

  constructor(o: { web: Web; contexts: Contexts; whisper: Whisper; onAuth: (text: string) => void }) {
    this.#web = o.web;
    this.#contexts = o.contexts;
    this.#whisper = o.whisper;
    this.#onAuth = o.onAuth;
  }

  async post(job: PostJob): Promise<Sent> {
    const { request, thread } = job;
    const context = request === null ? undefined : this.#contexts.get(request);
    // To a person's id: for that person alone, who is answered where they asked as long as the request leads there.
    if (request !== null && context?.user === job.channel) return this.#whisper.tell(request, job.message);
    const result = await this.#web.call("chat.postMessage", {
      channel: job.channel,
      ...(thread === null ? {} : { thread_ts: thread }),
      ...job.message,
      ...LITERAL,
      // Two copies of one post can be told apart from two posts, by whoever may read the channel.
      metadata: { event_type: EVENT_TYPE, event_payload: { nonce: job.nonce } },
    });
    if (result.ok) return done(result.data, job.channel);
    const { failure } = result;
    if (failure.kind === "platform" && OUTSIDE.includes(failure.error))
      return this.#viaResponseUrl(job, failure.error);
    return sentOf(failure, this.#onAuth);
  }

  async update(channel: string, ts: string, message: Rendered): Promise<Sent> {
    const result = await this.#web.call("chat.update", { channel, ts, ...message, ...LITERAL });
    if (result.ok) return { kind: "done", channel, ts };
    // The same text twice is the same message: an update can always be repeated.
    if (result.failure.kind === "ambiguous") return { kind: "retry", afterMs: 0, why: "ambiguous" };
    return sentOf(result.failure, this.#onAuth);
  }

  async #viaResponseUrl(job: PostJob, error: string): Promise<Sent> {
    const context = job.request === null ? undefined : this.#contexts.get(job.request);
    // A request may be answered in its own conversation alone.
    if (context === undefined || context.channel?.id !== job.channel) return { kind: "failed", error };
    const outcome = await this.#contexts.post(context, job.message, "in_channel", job.thread);
    if (outcome === "ok") return { kind: "done", channel: job.channel, ts: null };
    return outcome === "unknown" ? { kind: "unknown" } : { kind: "failed", error };
  }
}
