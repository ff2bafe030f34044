import type { Context, Contexts } from "./contexts.ts";
import { LITERAL } from "./render.ts";
import type { Rendered } from "./types.ts";
import type { Web } from "./web.ts";

/** Answers a request's person, and nobody else. */
export class Whisper {
  readonly #web: Web;
  readonly #contexts: Contexts;
  /** Answers to one request keep their order. */
  readonly #last = new Map<string, Promise<void>>();

  constructor(web: Web, contexts: Contexts) {
    this.#web = web;
    this.#contexts = contexts;
  }

  /** Best effort: the person has no other way to be told, and the keeper's log holds the outcome. */
  respond(request: string, message: Rendered): void {
    const context = this.#contexts.get(request);
    if (context === undefined) return;
    const before = this.#last.get(request) ?? Promise.resolve();
    const mine = before.then(() => this.#send(context, message)).catch(() => {});
    this.#last.set(request, mine);
    void mine.then(() => {
      if (this.#last.get(request) === mine) this.#last.delete(request);
    });
  }

  async #send(context: Context, message: Rendered): Promise<void> {
    const outcome = await this.#contexts.post(context, message, "ephemeral", context.thread);
    if (outcome !== "unusable") return;
    const { channel, user, thread, isDirect } = context;
    const inThread = thread === null ? {} : { thread_ts: thread };
    if (channel !== null && !isDirect) {
      const sent = await this.#web.call("chat.postEphemeral", {
        channel,
        user,
        ...inThread,
        ...message,
        ...LITERAL,
      });
      if (sent.ok || sent.failure.kind === "ambiguous") return;
    }
    // A direct message from the app: only that person reads it.
    const to = isDirect && channel !== null ? { channel, ...inThread } : { channel: user };
    await this.#web.call("chat.postMessage", { ...to, ...message, ...LITERAL });
  }
}
