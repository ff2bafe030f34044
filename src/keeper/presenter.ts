import type { SallyportError } from "../core/errors.ts";
import { markSending, owe } from "../store/outbox.ts";
import type { Tx } from "../store/tx.ts";
import type { MessageOf } from "../wire/messages.ts";
import { runDocument, type Shown, say } from "./documents.ts";
import type { Outbox } from "./outbox.ts";
import { outputMessages } from "./output-messages.ts";
import type { Peers } from "./peers.ts";
import { type Shown as Output, OutputHead } from "./run-output.ts";
import type { RunListener, RunView } from "./run-types.ts";

/** A run that ends sooner than this is answered with one message; a longer one first with its state. */
const FIRST_MESSAGE_MS = 150;
const REFRESH_MS = 1500;

/**
 * Shows one run in Slack: a message that carries its state, then output and result. The result is owed from the transaction
 * that records the outcome, so a crash between the two can't lose it.
 */
export class Presenter implements RunListener {
  readonly #outbox: Outbox;
  readonly #peers: Peers;
  readonly #request: MessageOf<"slack.request">;
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
  #owed: Shown[] = [];
  /** It may be over before its request has been answered. */
  #over = false;

  constructor(o: { outbox: Outbox; peers: Peers; request: MessageOf<"slack.request"> }) {
    this.#outbox = o.outbox;
    this.#peers = o.peers;
    this.#request = o.request;
  }

  /** The run was accepted: it is queued or running. */
  accepted(view: RunView): void {
    this.#view = view;
    if (this.#over || this.#isPrivate || this.#request.channel === null) return;
    this.#first ??= setTimeout(() => this.#showState(), FIRST_MESSAGE_MS);
  }

  started(view: RunView): void {
    this.accepted(view);
    this.#refreshSoon();
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
    this.#view = view;
    this.#owed = [runDocument(view, output), ...outputMessages(view, output)];
    const { channel } = this.#request;
    if (this.#isPrivate || channel === null) return;
    for (const [index, shown] of this.#owed.entries()) {
      const isResult = index === 0;
      const post = await owe(tx, {
        nonce: `${view.row.id}:${isResult ? "result" : `output-${index}`}`,
        kind: isResult && this.#shown !== undefined ? "update" : "post",
        channel: channel.id,
        run: view.row.id,
        target: isResult && this.#shown !== undefined ? (this.#ts ?? this.#shown) : this.#request.id,
        doc: JSON.stringify(shown.document),
        parts: shown.parts,
        ...this.#threadOf(isResult),
      });
      if (isResult && this.#outbox.connected) {
        await markSending(tx, post.id);
        this.#result = post;
      }
    }
  }

  #result: Parameters<Outbox["deliver"]>[0] | undefined;

  ended(view: RunView): void {
    if (this.#isPrivate || this.#request.channel === null) {
      for (const shown of this.#owed) {
        this.#peers.send(
          "gateway",
          { type: "slack.respond", request: this.#request.id, document: shown.document },
          shown.parts,
        );
      }
      return;
    }
    this.#view = view;
    if (this.#result !== undefined) this.#outbox.deliver(this.#result);
    this.#outbox.flush();
  }

  /** Nothing of this run can be made durable, so neither can a message be owed: it goes out now or not at all. */
  unrecorded(view: RunView, error: SallyportError): void {
    this.#stop();
    this.#view = view;
    const { channel, thread, id: request } = this.#request;
    const document = say(error.message);
    if (this.#isPrivate || channel === null) {
      this.#peers.send("gateway", { type: "slack.respond", request, document });
      return;
    }
    const message = { nonce: `${request}:unrecorded`, channel: channel.id, document };
    if (this.#shown !== undefined) this.#outbox.update({ ...message, ts: this.#ts ?? this.#shown }, []);
    else void this.#outbox.post({ ...message, thread, request }, []);
  }

  get #isPrivate(): boolean {
    return this.#view?.manifest.reply === "private";
  }

  /** Long output goes below the run's own message; the result itself into a thread where the Op or the request says so. */
  #threadOf(isResult: boolean): { thread?: string } {
    const id = this.#view?.row.id;
    if (!isResult) return { thread: this.#request.thread ?? this.#ts ?? this.#shown ?? `${id}:result` };
    return this.#request.thread === null ? {} : { thread: this.#request.thread };
  }

  #showState(): void {
    this.#first = undefined;
    const view = this.#view;
    const { channel } = this.#request;
    if (view === undefined || channel === null) return;
    this.#shown = `${view.row.id}:state`;
    const { document, parts } = runDocument(view, this.#output.shown, { progress: this.#progress });
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
    if (this.#shown === undefined) return;
    this.#refresh ??= setTimeout(() => {
      this.#refresh = undefined;
      const view = this.#view;
      const { channel } = this.#request;
      if (view === undefined || channel === null || this.#shown === undefined) return;
      const { document, parts } = runDocument(view, this.#output.shown, { progress: this.#progress });
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
    this.#over = true;
    clearTimeout(this.#first);
    clearTimeout(this.#refresh);
    this.#first = undefined;
    this.#refresh = undefined;
  }
}
