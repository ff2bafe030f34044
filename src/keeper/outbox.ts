import { listIdentities } from "../store/identities.ts";
import {
  backToOwed,
  due,
  interrupted,
  markFailed,
  markSending,
  markSent,
  owe,
  type Post,
  postByNonce,
} from "../store/outbox.ts";
import { getRun } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { Document } from "../wire/document.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Peers } from "./peers.ts";

const RETRY_MS = [2000, 10_000, 60_000, 300_000];
const TICK_MS = 2000;
const PAGE = 50;

/**
 * Messages owed to Slack. A row is written in the transaction that makes it owed and stays until Slack took it. A post whose
 * answer was lost is not repeated (Slack can't be asked whether it arrived); an update is, since repeating it changes nothing.
 * The outcome of a run must be told in any case: where a crash leaves it in doubt, it is told again, and says that.
 */
export class Outbox {
  readonly #store: Store;
  readonly #peers: Peers;
  readonly #failed: (error: unknown) => void;
  readonly #waiters = new Map<string, (posted: MessageOf<"slack.posted">) => void>();
  #connected = false;
  /** What is due later, or was left over, goes out by it. */
  #tick: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(o: { store: Store; peers: Peers; failed: (error: unknown) => void }) {
    this.#store = o.store;
    this.#peers = o.peers;
    this.#failed = o.failed;
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** The gateway reached Slack, or lost it. */
  setConnected(connected: boolean): void {
    this.#connected = connected;
    clearInterval(this.#tick);
    if (!connected) return;
    this.flush();
    this.#tick = setInterval(() => this.flush(), TICK_MS);
    this.#tick.unref();
  }

  /** What a crash left in doubt. */
  async recover(): Promise<void> {
    for (const post of await interrupted(this.#store.read)) {
      await this.#store.mutate(async (tx) => {
        tx.unlogged("outbox");
        const repeat = post.kind === "update";
        await markFailed(tx, post.id, {
          error: "sallyport ended before Slack's answer came",
          nextTry: repeat ? tx.now : null,
        });
        if (!repeat && OUTCOME.test(post.nonce)) await this.#anew(tx, post, IN_DOUBT);
      });
    }
  }

  /** Owes the same document as a message of its own, with a note. */
  async #anew(tx: Tx, post: Post, note: string | null): Promise<void> {
    const document = JSON.parse(post.doc) as Document;
    if (note !== null && !post.nonce.endsWith("-again"))
      document.blocks = [...document.blocks.slice(0, 39), { kind: "note", text: note }];
    const run = post.run === null ? undefined : await getRun(tx, post.run);
    await owe(tx, {
      nonce: `${post.nonce}-again`,
      kind: "post",
      channel: post.channel,
      thread: run?.thread ?? null,
      run: post.run,
      target: run?.requestId ?? null,
      doc: JSON.stringify(document),
      parts: post.parts,
    });
  }

  /** The channel is closed to us, and the way back of the request is gone: the person who asked is told directly. */
  async #direct(tx: Tx, post: Post): Promise<void> {
    const run = post.run === null ? undefined : await getRun(tx, post.run);
    const person = run === undefined ? undefined : (await listIdentities(tx, run.requester))[0]?.user;
    if (person === undefined || post.channel === person) return;
    const { doc, parts } = post;
    await owe(tx, {
      nonce: `${post.nonce}-direct`,
      kind: "post",
      channel: person,
      run: post.run,
      doc,
      parts,
    });
  }

  /** Sends what is due now, oldest first; called after a commit that owed something. */
  flush(): void {
    this.#flushing = this.#flushing.then(() => this.#flush()).catch(this.#failed);
  }

  /** Sends a message that is not worth a row, such as a run's changing state; resolves with its ts, or null. */
  post(
    message: Omit<MessageOf<"slack.post">, "type">,
    parts: Buffer[],
  ): Promise<{ channel: string; ts: string } | null> {
    return new Promise((resolve) => {
      this.#waiters.set(message.nonce, (posted) =>
        resolve(
          posted.ok && posted.ts !== null
            ? { channel: posted.channel ?? message.channel, ts: posted.ts }
            : null,
        ),
      );
      if (!this.#peers.send("gateway", { type: "slack.post", ...message }, parts)) {
        this.#waiters.delete(message.nonce);
        resolve(null);
      }
    });
  }

  update(message: Omit<MessageOf<"slack.update">, "type">, parts: Buffer[]): void {
    this.#peers.send("gateway", { type: "slack.update", ...message }, parts);
  }

  /** The gateway is gone: nobody answers what was under way. */
  gatewayLost(): void {
    this.setConnected(false);
    for (const [nonce, waiter] of [...this.#waiters]) {
      waiter({ type: "slack.posted", nonce, ok: false, channel: null, ts: null, error: "gateway_lost" });
    }
    this.#waiters.clear();
    void this.recover().catch(this.#failed);
  }

  posted(message: MessageOf<"slack.posted">): void {
    const waiter = this.#waiters.get(message.nonce);
    if (waiter !== undefined) {
      this.#waiters.delete(message.nonce);
      waiter(message);
      return;
    }
    void this.#settle(message).catch(this.#failed);
  }

  async #flush(): Promise<void> {
    if (!this.#connected) return;
    for (const post of await due(this.#store.read, { now: Date.now(), limit: PAGE })) {
      await this.#store.mutate(async (tx) => {
        tx.unlogged("outbox");
        await markSending(tx, post.id);
      });
      this.deliver(post);
    }
  }

  /** Hands a post that is marked as being sent to the gateway. */
  deliver(post: Post): void {
    const document = Document.parse(JSON.parse(post.doc));
    const { nonce, channel, thread, target } = post;
    const sent =
      post.kind === "update" && target !== null
        ? this.#peers.send(
            "gateway",
            { type: "slack.update", nonce, channel, ts: target, document },
            post.parts,
          )
        : this.#peers.send(
            "gateway",
            { type: "slack.post", nonce, channel, thread, request: target, document },
            post.parts,
          );
    if (!sent) void this.#keep(post).catch(this.#failed);
  }

  /** The gateway left before it was handed the post. */
  async #keep(post: Post): Promise<void> {
    await this.#store.mutate(async (tx) => {
      tx.unlogged("outbox");
      if ((await postByNonce(tx, post.nonce))?.state === "sending") await backToOwed(tx, post.id);
    });
  }

  async #settle(message: MessageOf<"slack.posted">): Promise<void> {
    const post = await postByNonce(this.#store.read, message.nonce);
    if (post === undefined) return;
    const error = message.ok ? "" : (message.error ?? "");
    const anew = post.kind === "update" && NOT_UPDATABLE.test(error);
    const direct = post.run !== null && NO_WAY_IN.test(error);
    await this.#store.mutate(async (tx) => {
      tx.unlogged("outbox");
      if (message.ok) await markSent(tx, post.id, message.ts);
      else if (anew) {
        await markFailed(tx, post.id, { error: message.error ?? "", nextTry: null });
        await this.#anew(tx, post, null);
      } else if (direct) {
        await markFailed(tx, post.id, { error, nextTry: null });
        await this.#direct(tx, post);
      } else {
        const delay = TRANSIENT.test(message.error ?? "")
          ? RETRY_MS[Math.min(post.attempts, RETRY_MS.length - 1)]
          : undefined;
        await markFailed(tx, post.id, {
          error: message.error ?? "unknown",
          nextTry: delay === undefined ? null : tx.now + delay,
        });
      }
    });
    if (anew || direct) this.flush();
  }

  stop(): void {
    clearInterval(this.#tick);
  }
}

/** Errors after which Slack surely did not take the message and may take it later. */
const TRANSIENT = /^(ratelimited|queue_full|unreachable|service_unavailable|not_connected)$/;

/** The message that was to be changed is gone, or went out in a way that gave no handle on it (a response_url). */
const NOT_UPDATABLE = /^(not_updatable|message_not_found|cant_update_message|edit_window_closed)$/;

/** The app is not in the channel, or the channel takes nothing more. */
const NO_WAY_IN = /^(not_in_channel|channel_not_found|is_archived|restricted_action)$/;

/** Nonces of messages that tell how a run or a request ended; each crash in the middle of sending adds a word to it. */
const OUTCOME = /(:(result|lost)|^abandoned:.{1,80}?)(-again){0,5}$/;
const IN_DOUBT = "sallyport was interrupted while it sent this; it may be shown here twice.";
