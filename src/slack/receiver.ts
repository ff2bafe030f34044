import type { Alarms } from "./alarms.ts";
import type { Contexts } from "./contexts.ts";
import type { Envelope } from "./frame.ts";
import type { Link } from "./link.ts";
import { parseEnvelope } from "./parse.ts";
import type { People } from "./people.ts";
import { renderText } from "./render.ts";
import type { Home, ReplyPath, Request, Standing } from "./types.ts";
import type { Whisper } from "./whisper.ts";

/** As the wire has it, so that nobody copies it once more on its way. */
export type RequestMessage = Request & {
  type: "slack.request";
  id: string;
  receivedAt: number;
  standing: Standing;
};

export type ReceiverOptions = {
  home: Home;
  people: People;
  contexts: Contexts;
  alarms: Alarms;
  whisper: Whisper;
  port: { request(request: RequestMessage): void; acked(id: string, accepted: boolean): void };
  prefix: string;
  ackMs: number;
};

const TRY_AGAIN = "Not accepted, try again: the appliance did not answer in time.";
const BUSY = "Not accepted, try again: too many requests are waiting.";
const REFUSED = "Not accepted, try again.";
const STOPPING = "Not accepted: the appliance is disconnecting from Slack.";

const MAX_PENDING = 1000;
/** Envelopes whose end is remembered: Slack delivers again within moments; what comes later the keeper knows. */
const MAX_SETTLED = 2000;
/** How old an answer of users.info may be; where a click may be an approval, Slack is asked anew. Milliseconds. */
const STANDING_AGE = 60_000;
/** How long users.info may take: an unknown standing is better than a late ack. */
const STANDING_WAIT = 1200;

type Pending = {
  id: string;
  /** Each connection that brought it: Slack delivers again what a lost one left open. */
  links: Set<Link>;
  envelopeId: string;
  reply: ReplyPath;
  /** performance.now() by which it is acked in any case. */
  due: number;
  /** The keeper has been told of it, so it is told how it ended. */
  sent: boolean;
};

/**
 * Takes envelopes to the keeper and its receipts back: each is acked within `ackMs`. An envelope has one end, however often
 * it is delivered: else one could run while its second delivery is too late and told "not accepted".
 */
export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #pending = new Map<string, Pending>();
  readonly #byEnvelope = new Map<string, Pending>();
  /** What the ack carried, by envelope. */
  readonly #settled = new Map<string, object | null>();
  #next = 0;
  /** One for all: they are due in the order in which they came. */
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReceiverOptions) {
    this.#options = options;
  }

  envelope(link: Link, envelope: Envelope): void {
    if (this.#isRepeated(link, envelope.id)) return;
    const { home, alarms, contexts, prefix, ackMs } = this.#options;
    const parsed = contexts.placed(parseEnvelope(envelope, home));
    if (parsed.refusal !== null) {
      const { alarm, detail, say } = parsed.refusal;
      if (alarm !== null) alarms.raise(alarm, detail);
      this.#ackRefused(link, envelope.id, parsed.reply, say);
      return;
    }
    const id = `${prefix}-${(this.#next++).toString(36)}`;
    if (this.#pending.size >= MAX_PENDING) {
      this.#ackRefused(link, envelope.id, parsed.reply, BUSY);
      return;
    }
    const due = performance.now() + ackMs;
    const { reply, request } = parsed;
    const links = new Set([link]);
    const pending: Pending = { id, links, envelopeId: envelope.id, reply, due, sent: false };
    this.#pending.set(id, pending);
    this.#byEnvelope.set(envelope.id, pending);
    try {
      this.#vouch(id, request, Date.now());
    } finally {
      // While the keeper is at work: its receipt can't come before this turn ends.
      contexts.add(id, parsed);
      this.#timer ??= setTimeout(() => this.#overdue(), ackMs).unref();
    }
  }

  #isRepeated(link: Link, envelopeId: string): boolean {
    const pending = this.#byEnvelope.get(envelopeId);
    const payload = this.#settled.get(envelopeId);
    if (pending !== undefined) pending.links.add(link);
    else if (payload !== undefined) link.ack(envelopeId, payload ?? undefined);
    return pending !== undefined || payload !== undefined;
  }

  /** A timer for each request would be set and cleared for every ack; this one wakes at most once in `ackMs`. */
  #overdue(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const { id, due } of this.#pending.values()) {
      if (due > now) {
        this.#timer = setTimeout(() => this.#overdue(), due - now).unref();
        return;
      }
      this.#settle(id, false, TRY_AGAIN);
    }
  }

  /** The keeper's word on a request. Too late, for an unknown id, twice: without effect. */
  receipt(receipt: { id: string; accepted: boolean; duplicate: boolean; text: string | null }): void {
    const { id, accepted, duplicate, text } = receipt;
    this.#settle(id, accepted, text ?? (accepted || duplicate ? null : REFUSED));
  }

  stop(): void {
    for (const id of [...this.#pending.keys()]) this.#settle(id, false, STOPPING);
    clearTimeout(this.#timer);
  }

  #vouch(id: string, request: Request, receivedAt: number): void {
    const { people } = this.#options;
    const known = mayDecide(request) ? null : people.recent(request.identity, STANDING_AGE);
    if (known !== null) {
      this.#send(id, request, receivedAt, known);
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Standing>((resolve) => {
      timer = setTimeout(resolve, STANDING_WAIT, "unknown");
    });
    void Promise.race([people.look(request.identity), late])
      .then((standing) => this.#send(id, request, receivedAt, standing))
      .catch(() => this.#settle(id, false, REFUSED))
      .finally(() => clearTimeout(timer));
  }

  #send(id: string, request: Request, receivedAt: number, standing: Standing): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    pending.sent = true;
    this.#options.port.request({
      type: "slack.request",
      id,
      dedupe: request.dedupe,
      trigger: request.trigger,
      surface: request.surface,
      identity: request.identity,
      channel: request.channel,
      thread: request.thread,
      text: request.text,
      action: request.action,
      retry: request.retry,
      receivedAt,
      standing,
    });
  }

  /** The keeper dispatches on `acked`, so it is told first: what Slack was told "not accepted" can then never run. */
  #settle(id: string, accepted: boolean, say: string | null): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    const { envelopeId, links, reply, sent } = pending;
    this.#pending.delete(id);
    this.#byEnvelope.delete(envelopeId);
    if (sent) this.#options.port.acked(id, accepted);
    const payload = ackPayload(reply, say);
    for (const link of links) link.ack(envelopeId, payload ?? undefined);
    this.#settled.set(envelopeId, payload);
    const oldest = this.#settled.keys().next();
    if (this.#settled.size > MAX_SETTLED && !oldest.done) this.#settled.delete(oldest.value);
    if (say !== null && payload === null) this.#options.whisper.respond(id, renderText(say));
  }

  #ackRefused(link: Link, envelopeId: string, reply: ReplyPath, say: string | null): void {
    const payload = ackPayload(reply, say);
    link.ack(envelopeId, payload ?? undefined);
    if (say === null || payload !== null) return;
    const { contexts } = this.#options;
    void contexts.post(contexts.forUrl(reply.responseUrl), renderText(say), "ephemeral", null);
  }
}

/** Whether it may approve, deny or confirm something: as a click, a form, or a command's first word. */
function mayDecide({ surface, text }: Request): boolean {
  return surface === "button" || surface === "modal" || /^\s*(approve|deny|confirm)(\s|$)/i.test(text);
}

/** A private text inside the ack, where this kind of envelope takes one. */
function ackPayload(reply: ReplyPath, say: string | null): object | null {
  if (say === null) return null;
  switch (reply.ackPayload.kind) {
    case "none":
      return null;
    case "ephemeral":
      return { response_type: "ephemeral", mrkdwn: false, ...renderText(say) };
    case "errors":
      return { response_action: "errors", errors: { [reply.ackPayload.block]: say } };
  }
}
