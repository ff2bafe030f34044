import type { SallyportError } from "../core/errors.ts";
import { markSending, owe, type Post, postByNonce } from "../store/outbox.ts";
import type { Tx } from "../store/tx.ts";
import type { MessageOf } from "../wire/messages.ts";
import { headDocument, runDocument, type Shown, say } from "./documents.ts";
import type { Outbox } from "./outbox.ts";
import { outputMessages } from "./output-messages.ts";
import { type Shown as Output, OutputHead } from "./run-output.ts";
import type { RunListener, RunView } from "./run-types.ts";
import { waitDocument } from "./wait-documents.ts";

/** A run that ends sooner than this is answered with one message; a longer one first with its state. */
const FIRST_MESSAGE_MS = 150;
const REFRESH_MS = 1500;

/** Who asked, and where: what of a request the answers go by. */
export type AskedAt = Pick<MessageOf<"slack.request">, "id" | "identity" | "channel" | "thread">;

/** Where one of the messages of an ended run goes. */
type Place = Pick<Post, "kind" | "target" | "thread">;

/**
 * Shows one run in Slack: a message that carries its state, then output and result. The result is owed from the transaction
 * that records the outcome, so a crash between the two can't lose it. A private one is owed to the person's id.
 */
export class Presenter implements RunListener {
  readonly #outbox: Outbox;
  readonly #request: AskedAt;
  /** What came so far, of which the state message shows the beginning. */
  readonly #output = new OutputHead();
  #view: RunView | undefined;
  #progress: string | undefined;
  #first: NodeJS.Timeout | undefined;
  #refresh: NodeJS.Timeout | undefined;
  /** The nonce of the state message once it was handed to the gateway. */
  #shown: string | undefined;
  /** The state message's own name, once Slack told it: known also to a gateway that was started anew. */
  #ts: string | undefined;
  /** The end can be recorded before the caller of the run hears that it was accepted. */
  #ended = false;
  /** The first of the messages that tell of the end, where it leaves without waiting for its turn. */
  #atOnce: Post | undefined;

  constructor(o: { outbox: Outbox; request: AskedAt }) {
    this.#outbox = o.outbox;
    this.#request = o.request;
  }

  /** The message for those who approve, made and kept as things are; in the channel, whatever the Op says of its reply. */
  async waiting(tx: Tx, view: RunView): Promise<void> {
    if (view.wait === undefined || view.wait.needs.length === 0) return;
    const { id: target, channel, thread, identity } = this.#request;
    const nonce = `${view.row.id}:wait`;
    const place = { channel: channel?.id ?? identity.user, run: view.row.id };
    const doc = JSON.stringify(waitDocument(view, view.wait));
    const shown = await postByNonce(tx, nonce);
    if (shown === undefined) await owe(tx, { ...place, nonce, kind: "post", target, thread, doc });
    else {
      const step = `${view.row.state}-${view.wait.approved.length}`;
      await owe(tx, { ...place, nonce: `${nonce}-${step}`, kind: "update", target: shown.ts ?? nonce, doc });
    }
  }

  waited(): void {
    void this.#outbox.flush();
  }

  queued(view: RunView): void {
    this.accepted(view);
  }

  /** The run was accepted: it is queued or running. */
  accepted(view: RunView): void {
    if (this.#ended || view.row.state === "waiting") return;
    this.#view = view;
    if (this.#isPrivate) return;
    if (this.#shown === undefined) this.#first ??= setTimeout(() => this.#showState(), FIRST_MESSAGE_MS);
    else this.#refreshSoon();
  }

  started(view: RunView): void {
    this.accepted(view);
  }

  output(stream: "stdout" | "stderr", bytes: Buffer): void {
    this.#output.take(stream === "stdout" ? "out" : "err", bytes);
    this.#refreshSoon();
  }

  progress(text: string, percent: number | null): void {
    this.#progress = percent === null ? text : `${text} (${Math.round(percent)} %)`;
    this.#refreshSoon();
  }

  async recording(tx: Tx, view: RunView, output: Output): Promise<void> {
    this.#stop();
    this.#ended = true;
    this.#view = view;
    this.#atOnce = undefined;
    if (view.row.started === null) await this.waiting(tx, view);
    const channel = this.#isPrivate ? this.#request.identity.user : (this.#request.channel?.id ?? "");
    for (const [index, [name, shown]] of this.#messages(view, output).entries()) {
      const post = await owe(tx, {
        nonce: `${view.row.id}:${name}`,
        channel,
        run: view.row.id,
        doc: JSON.stringify(shown.document),
        parts: shown.parts,
        ...(index === 0 ? this.#ownPlace : this.#placeBelow(view)),
      });
      if (index === 0 && this.#outbox.connected) {
        await markSending(tx, post.id);
        this.#atOnce = post;
      }
    }
  }

  ended(): void {
    if (this.#atOnce !== undefined) this.#outbox.deliver(this.#atOnce);
    void this.#outbox.flush();
  }

  /** Nothing of this run can be made durable, so neither can a message be owed: it goes out now or not at all. */
  unrecorded(view: RunView, error: SallyportError): void {
    this.#stop();
    this.#ended = true;
    this.#view = view;
    const { channel, thread, identity, id: request } = this.#request;
    const said = { nonce: `${request}:unrecorded`, document: say(error.message) };
    if (channel === null || this.#isPrivate)
      void this.#outbox.post({ ...said, channel: identity.user, thread: null, request }, []);
    else if (this.#shown === undefined)
      void this.#outbox.post({ ...said, channel: channel.id, thread, request }, []);
    else this.#outbox.update({ ...said, channel: channel.id, ts: this.#ts ?? this.#shown }, []);
  }

  /** What tells of the end, in order; the first is the run's own message, the rest follow it. */
  #messages(view: RunView, output: Output): [string, Shown][] {
    const below = this.#isPrivate || this.#hasThread ? { longOutput: "below" } : {};
    const outputs = outputMessages(view, output).map((shown, i): [string, Shown] => [
      `output-${i + 1}`,
      shown,
    ]);
    const result: [string, Shown] = ["result", runDocument(view, output, below)];
    return this.#hasThread ? [["head", headDocument(view)], result, ...outputs] : [result, ...outputs];
  }

  get #ownPlace(): Place {
    const { id, thread } = this.#request;
    if (this.#isPrivate) return { kind: "post", target: id, thread: null };
    if (this.#shown === undefined) return { kind: "post", target: id, thread };
    return { kind: "update", target: this.#ts ?? this.#shown, thread };
  }

  #placeBelow(view: RunView): Place {
    const { id, thread } = this.#request;
    if (this.#isPrivate) return { kind: "post", target: id, thread: null };
    const own = `${view.row.id}:${this.#hasThread ? "head" : "result"}`;
    return { kind: "post", target: id, thread: thread ?? this.#ts ?? this.#shown ?? own };
  }

  /** Where nobody else is spoken to, or nothing else can be: a request without a channel. */
  get #isPrivate(): boolean {
    return this.#view?.manifest.reply === "private" || this.#request.channel === null;
  }

  /** Output and result have a thread of their own. What was asked in a thread stays in that one. */
  get #hasThread(): boolean {
    return this.#view?.manifest.reply === "thread" && this.#request.thread === null;
  }

  #stateDocument(view: RunView): Shown {
    const o = { progress: this.#progress };
    return this.#hasThread ? headDocument(view, o) : runDocument(view, this.#output.shown, o);
  }

  #showState(): void {
    this.#first = undefined;
    const view = this.#view;
    const { channel } = this.#request;
    if (view === undefined || channel === null) return;
    this.#shown = `${view.row.id}:state`;
    const { document, parts } = this.#stateDocument(view);
    void this.#outbox
      .post(
        {
          nonce: this.#shown,
          channel: channel.id,
          thread: this.#request.thread,
          request: this.#request.id,
          document,
        },
        parts,
      )
      .then((posted) => {
        this.#ts = posted?.ts;
      });
  }

  #refreshSoon(): void {
    if (this.#shown === undefined || this.#ended) return;
    this.#refresh ??= setTimeout(() => {
      this.#refresh = undefined;
      const view = this.#view;
      const { channel } = this.#request;
      if (view === undefined || channel === null || this.#shown === undefined) return;
      const { document, parts } = this.#stateDocument(view);
      this.#outbox.update(
        {
          nonce: `${view.row.id}:state-${Date.now()}`,
          channel: channel.id,
          ts: this.#ts ?? this.#shown,
          document,
        },
        parts,
      );
    }, REFRESH_MS);
  }

  #stop(): void {
    clearTimeout(this.#first);
    clearTimeout(this.#refresh);
    this.#first = undefined;
    this.#refresh = undefined;
  }
}
