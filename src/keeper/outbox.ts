import { listIdentities } from "../store/identities.ts";
import {
  backToOwed,
  due,
  hurry,
  interrupted,
  markFailed,
  markSending,
  markSent,
  overdue,
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
import { INTERRUPTED, inFewWords, KEEP_MS, remedyFor, withDoubt } from "./post-failure.ts";

const TICK_MS = 2000;
const PAGE = 50;

/**
 * Messages owed to Slack. A row is written in the transaction that makes it owed and stays until Slack took it, at most a
 * day. A post whose answer was lost is not repeated (Slack can't be asked whether it arrived); an update is, since repeating
 * it changes nothing. How a run ended must be told in any case: where that is in doubt, it is told again, and says so.
 */
export class Outbox {
  readonly #store: Store;
  readonly #peers: Peers;
  readonly #now: () => number;
  readonly #failed: (error: unknown) => void;
  readonly #waiters = new Map<string, (posted: MessageOf<"slack.posted">) => void>();
  #connected = false;
  /** What is due later, or was left over, goes out by it. */
  #tick: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(o: { store: Store; peers: Peers; now?: () => number; failed: (error: unknown) => void }) {
    this.#store = o.store;
    this.#peers = o.peers;
    this.#now = o.now ?? Date.now;
    this.#failed = o.failed;
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** The gateway reached Slack, or lost it. */
  setConnected(connected: boolean): void {
    const isBack = connected && !this.#connected;
    this.#connected = connected;
    clearInterval(this.#tick);
    if (!connected) return;
    if (isBack) this.#flushing = this.#flushing.then(() => this.#hurry()).catch(this.#failed);
    void this.flush();
    this.#tick = setInterval(() => void this.flush(), TICK_MS);
    this.#tick.unref();
  }

  /** After an outage, or with other tokens: what is owed is due, but for what is too old to be of use. */
  async #hurry(): Promise<void> {
    await this.#store.mutate(async (tx) => {
      tx.unlogged("outbox");
      await giveUpOld(tx, tx.now - KEEP_MS);
      await hurry(tx);
    });
  }

  /** What a crash left in doubt. */
  async recover(): Promise<void> {
    for (const post of await interrupted(this.#store.read)) await this.#failedWith(post.nonce, INTERRUPTED);
  }

  /** Sends what is due now, oldest first; called after a commit that owed something. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#flush()).catch(this.#failed);
    return this.#flushing;
  }

  /** Sends a message that is not worth a row, such as a run's changing state; resolves with its ts, or null. */
  post(
    message: Omit<MessageOf<"slack.post">, "type">,
    parts: Buffer[],
  ): Promise<{ channel: string; ts: string } | null> {
    return new Promise((resolve) => {
      const earlier = this.#waiters.get(message.nonce);
      this.#waiters.set(message.nonce, (posted) => {
        // One answer serves all who posted the nonce.
        earlier?.(posted);
        const channel = posted.channel ?? message.channel;
        resolve(posted.ok && posted.ts !== null ? { channel, ts: posted.ts } : null);
      });
      if (this.#peers.send("gateway", { type: "slack.post", ...message }, parts)) return;
      const { nonce } = message;
      const error = "not_connected";
      void this.posted({ type: "slack.posted", nonce, ok: false, channel: null, ts: null, error });
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

  async posted(message: MessageOf<"slack.posted">): Promise<void> {
    const waiter = this.#waiters.get(message.nonce);
    if (waiter === undefined) return this.#settle(message).catch(this.#failed);
    this.#waiters.delete(message.nonce);
    waiter(message);
  }

  async #flush(): Promise<void> {
    if (!this.#connected) return;
    for (const post of await due(this.#store.read, { now: this.#now(), limit: PAGE })) {
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

  async #settle({ nonce, ok, ts, error }: MessageOf<"slack.posted">): Promise<void> {
    if (!ok) return this.#failedWith(nonce, error ?? "unknown");
    await this.#store.mutate(async (tx) => {
      tx.unlogged("outbox");
      const post = await postByNonce(tx, nonce);
      if (post?.state === "sending") await markSent(tx, post.id, ts);
    });
  }

  async #failedWith(nonce: string, error: string): Promise<void> {
    await this.#store.mutate(async (tx) => {
      tx.unlogged("outbox");
      const post = await postByNonce(tx, nonce);
      // Answered in the meantime: the gateway's answer and its end can come together.
      if (post?.state === "sending") await remedy(tx, post, error);
    });
    await this.flush();
  }

  stop(): void {
    clearInterval(this.#tick);
  }
}

async function remedy(tx: Tx, post: Post, error: string): Promise<void> {
  const todo = remedyFor(post, error, tx.now);
  if (todo.kind === "retry") return markFailed(tx, post.id, { error, nextTry: todo.at });
  const run = post.run === null ? undefined : await getRun(tx, post.run);
  const person = run === undefined ? undefined : (await listIdentities(tx, run.requester))[0]?.user;
  const isTold = person === undefined || person === post.channel;
  if (todo.kind === "give up" || (todo.kind === "direct" && isTold)) return giveUp(tx, post, error);
  await markFailed(tx, post.id, { error, nextTry: null });
  const document = JSON.parse(post.doc) as Document;
  const next = { run: post.run, doc: post.doc, parts: post.parts, nonce: `${post.nonce}-${todo.kind}` };
  if (todo.kind === "direct") {
    await owe(tx, { ...next, kind: "post", channel: person as string });
  } else if (todo.kind === "plain") {
    const { kind, channel, thread, target } = post;
    const doc = JSON.stringify(inFewWords(document, post.run, error));
    await owe(tx, { ...next, kind, channel, thread, target, doc, parts: [] });
  } else {
    const { channel } = post;
    const isPost = post.kind === "post";
    const thread = (isPost ? post.thread : null) ?? run?.thread ?? null;
    const target = isPost ? post.target : (run?.requestId ?? null);
    const doc = JSON.stringify(todo.kind === "again" ? withDoubt(document) : document);
    await owe(tx, { ...next, kind: "post", channel, thread, target, doc, from: todo.at });
  }
}

async function giveUp(tx: Tx, post: Post, error: string): Promise<void> {
  await markFailed(tx, post.id, { error, nextTry: null });
  tx.log({
    type: "slack.post_failed",
    outcome: "failure",
    actor: { kind: "system" },
    ...(post.run === null ? {} : { run: post.run }),
    data: { channel: post.channel, kind: post.kind, error },
  });
}

/** A page of what nobody waits for any more. Returns how many: until it is none, there may be more. */
export async function giveUpOld(tx: Tx, before: number): Promise<number> {
  const posts = await overdue(tx, before);
  for (const post of posts) await giveUp(tx, post, post.error ?? "not_connected");
  return posts.length;
}
