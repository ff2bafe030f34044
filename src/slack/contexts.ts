import { type Endpoint, isResponseUrl } from "./endpoint.ts";
import { codeOf } from "./failure.ts";
import type { Parsed, Rendered, Request } from "./types.ts";

/** Slack takes 5 posts within 30 minutes at a response_url [docs.slack.dev/interactivity/handling-user-interaction]. */
const USES = 5;
const LIFE_MS = 30 * 60_000;
const MAX_CONTEXTS = 5000;
const TIMEOUT_MS = 5000;

export type Context = {
  responseUrl: string | null;
  uses: number;
  until: number;
  user: string;
  channel: Request["channel"];
  thread: string | null;
  /** Opens one form, within 3 s of what the person did; null once it was used. */
  trigger: string | null;
};

/** How each recent request's person can be answered: the latest 5,000. */
export class Contexts {
  readonly #endpoint: Endpoint;
  readonly #fetch: typeof fetch;
  readonly #contexts = new Map<string, Context>();

  constructor(endpoint: Endpoint, fetcher: typeof fetch) {
    this.#endpoint = endpoint;
    this.#fetch = fetcher;
  }

  add(id: string, parsed: Extract<Parsed, { refusal: null }>): void {
    const { request, reply } = parsed;
    this.#contexts.set(id, {
      ...this.forUrl(reply.responseUrl),
      user: request.identity.user,
      channel: request.channel,
      thread: request.thread,
      trigger: request.trigger,
    });
    const oldest = this.#contexts.keys().next();
    if (this.#contexts.size > MAX_CONTEXTS && !oldest.done) this.#contexts.delete(oldest.value);
  }

  /** A submitted form comes without a place: it is answered where its person asked for it, and counts as said there. */
  placed(parsed: Parsed): Parsed {
    if (parsed.refusal !== null || parsed.openedFor === undefined) return parsed;
    const { request, reply, openedFor } = parsed;
    const asked = this.#contexts.get(openedFor);
    if (asked === undefined || asked.user !== request.identity.user) return parsed;
    const { channel, thread, responseUrl } = asked;
    return { ...parsed, request: { ...request, channel, thread }, reply: { ...reply, responseUrl } };
  }

  get(id: string): Context | undefined {
    return this.#contexts.get(id);
  }

  forUrl(url: string | null): Pick<Context, "responseUrl" | "uses" | "until"> {
    return { responseUrl: url, uses: 0, until: Date.now() + LIFE_MS };
  }

  /**
   * Posts to a response_url. "unusable": there is none, or it is spent or expired. "unknown": the answer was lost.
   * The URL itself is a right to post: it goes nowhere else, into no error and no log.
   */
  async post(
    context: Pick<Context, "responseUrl" | "uses" | "until">,
    message: Rendered,
    visibility: "ephemeral" | "in_channel",
    thread: string | null,
  ): Promise<"ok" | "unusable" | "unknown"> {
    if (context.responseUrl === null || context.uses >= USES || Date.now() > context.until) return "unusable";
    if (!isResponseUrl(context.responseUrl, this.#endpoint)) return "unusable";
    context.uses++;
    const body = JSON.stringify({
      response_type: visibility,
      replace_original: false,
      text: message.text,
      blocks: message.blocks,
      mrkdwn: false,
      parse: "none",
      link_names: false,
      unfurl_links: false,
      unfurl_media: false,
      ...(thread === null ? {} : { thread_ts: thread }),
    });
    try {
      const response = await this.#fetch(context.responseUrl, {
        method: "POST",
        redirect: "error",
        headers: { "content-type": "application/json" },
        body,
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.body?.cancel();
      if (response.ok) return "ok";
      return response.status < 500 || response.status === 503 ? "unusable" : "unknown";
    } catch (error) {
      return codeOf(error) === "ECONNREFUSED" ? "unusable" : "unknown";
    }
  }
}
