import { Bucket, backoff } from "./backoff.ts";
import { leftNoTrace, type Sent } from "./sent.ts";
import type { Posted, Rendered } from "./types.ts";

export type OutboxLimits = {
  /** chat.postMessage a channel: Slack takes about one a second, short bursts above. */
  postsPerSecond: number;
  postBurst: number;
  /** chat.update: about 50 a minute. */
  updatesPerSecond: number;
  updateBurst: number;
  retryBaseMs: number;
  retryCapMs: number;
  /** How long a message is tried while Slack can't be reached. */
  giveUpMs: number;
  perChannel: number;
  total: number;
};

export const OUTBOX_LIMITS: OutboxLimits = {
  postsPerSecond: 1,
  postBurst: 5,
  updatesPerSecond: 50 / 60,
  updateBurst: 5,
  retryBaseMs: 500,
  retryCapMs: 15_000,
  giveUpMs: 300_000,
  perChannel: 200,
  total: 2000,
};

export type PostJob = {
  nonce: string;
  channel: string;
  /** A ts, or the nonce of an earlier post of this channel. */
  thread: string | null;
  request: string | null;
  message: Rendered;
};
export type UpdateJob = { nonce: string; channel: string; ts: string; message: Rendered };

/** What the outbox needs of Slack. */
export type Sender = {
  post(job: PostJob): Promise<Sent>;
  update(channel: string, ts: string, message: Rendered): Promise<Sent>;
};

type Entry = {
  kind: "post" | "update";
  post: PostJob | null;
  channel: string;
  /** Of an update: the message, or the post that makes it. */
  target: string | Entry;
  message: Rendered;
  /** Nonces to answer when this entry is settled. */
  nonces: string[];
  since: number;
  tries: number;
  running: boolean;
  result: Omit<Posted, "nonce"> | null;
};

type Channel = { queue: Entry[]; busy: boolean; posts: Bucket; updates: Bucket };

/** Slack's name of a message; whatever else stands in its place is a nonce of ours. */
const TS = /^\d{1,12}\.\d{1,8}$/;

const MAX_REMEMBERED = 5000;
const NOTHING: Rendered = { text: "", blocks: [] };

/** Posts and updates, in order within a channel, no channel waiting for another. */
export class Outbox {
  readonly #sender: Sender;
  readonly #limits: OutboxLimits;
  readonly #answer: (posted: Posted) => void;
  readonly #channels = new Map<string, Channel>();
  readonly #posts = new Map<string, Entry>();
  #queued = 0;
  #stopped = false;
  #wake = new Set<() => void>();

  constructor(sender: Sender, limits: OutboxLimits, answer: (posted: Posted) => void) {
    this.#sender = sender;
    this.#limits = limits;
    this.#answer = answer;
  }

  /** A nonce that was posted before is answered again, not posted again. */
  post(job: PostJob): void {
    const known = this.#posts.get(job.nonce);
    if (known !== undefined) {
      if (known.result !== null) this.#answer({ nonce: job.nonce, ...known.result });
      return;
    }
    const entry = this.#entry("post", job.channel, job.channel, job.message, job.nonce, job);
    if (this.#enqueue(entry)) this.#remember(job.nonce, entry);
  }

  /**
   * `ts` may be the nonce of a post: while that is queued, its text is replaced; afterwards its message is meant. A nonce
   * that is unknown here was posted by an earlier gateway process: the message is posted anew, under that nonce.
   */
  update(job: UpdateJob): void {
    const post = this.#posts.get(job.ts);
    if (post === undefined && !TS.test(job.ts)) {
      this.#postAnew(job);
      return;
    }
    if (post !== undefined && post.result === null && !post.running) {
      post.message = job.message;
      post.nonces.push(job.nonce);
      return;
    }
    const target = post ?? job.ts;
    const queued = this.#channels
      .get(job.channel)
      ?.queue.findLast((e) => e.kind === "update" && !e.running && tsOf(e.target) === tsOf(target));
    if (queued !== undefined) {
      queued.message = job.message;
      queued.nonces.push(job.nonce);
      return;
    }
    this.#enqueue(this.#entry("update", job.channel, target, job.message, job.nonce, null));
  }

  #postAnew({ nonce, channel, ts, message }: UpdateJob): void {
    const post = { nonce: ts, channel, thread: null, request: null, message };
    const entry = this.#entry("post", channel, channel, message, nonce, post);
    if (this.#enqueue(entry)) this.#remember(ts, entry);
  }

  #remember(nonce: string, entry: Entry): void {
    this.#posts.set(nonce, entry);
    const oldest = this.#posts.entries().next();
    if (this.#posts.size > MAX_REMEMBERED && !oldest.done && oldest.value[1].result !== null) {
      this.#posts.delete(oldest.value[0]);
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const wake of this.#wake) wake();
  }

  #entry(
    kind: Entry["kind"],
    channel: string,
    target: string | Entry,
    message: Rendered,
    nonce: string,
    post: PostJob | null,
  ): Entry {
    return {
      kind,
      post,
      channel,
      target,
      message,
      nonces: [nonce],
      since: Date.now(),
      tries: 0,
      running: false,
      result: null,
    };
  }

  #enqueue(entry: Entry): boolean {
    const now = Date.now();
    let channel = this.#channels.get(entry.channel);
    if (this.#queued >= this.#limits.total || (channel?.queue.length ?? 0) >= this.#limits.perChannel) {
      this.#settle(entry, { ok: false, channel: entry.channel, ts: null, error: "queue_full" });
      return false;
    }
    if (channel === undefined) {
      this.#forgetIdle(now);
      const { postBurst, postsPerSecond, updateBurst, updatesPerSecond } = this.#limits;
      channel = {
        queue: [],
        busy: false,
        posts: new Bucket(postBurst, postsPerSecond, now),
        updates: new Bucket(updateBurst, updatesPerSecond, now),
      };
      this.#channels.set(entry.channel, channel);
    }
    channel.queue.push(entry);
    this.#queued++;
    if (!channel.busy) void this.#work(channel);
    return true;
  }

  async #work(channel: Channel): Promise<void> {
    channel.busy = true;
    try {
      for (let entry = channel.queue[0]; entry !== undefined && !this.#stopped; entry = channel.queue[0]) {
        const wait = (entry.kind === "post" ? channel.posts : channel.updates).take(Date.now());
        if (wait > 0) {
          await this.#pause(wait);
          continue;
        }
        const pauseMs = await this.#attempt(entry);
        if (entry.result !== null) {
          channel.queue.shift();
          this.#queued--;
        } else await this.#pause(pauseMs);
      }
    } finally {
      channel.busy = false;
      if (this.#stopped) this.#handBack(channel);
    }
  }

  /** These tokens' session is over: whoever owes what still waits learns that it did not leave. */
  #handBack({ queue }: Channel): void {
    for (const entry of queue.splice(0)) {
      this.#queued--;
      this.#settle(entry, { ok: false, channel: entry.channel, ts: null, error: "not_connected" });
    }
  }

  /** One try. Settles the entry, or returns how long to wait before the next. */
  async #attempt(entry: Entry): Promise<number> {
    entry.running = true;
    entry.tries++;
    const sent = await this.#send(entry);
    entry.running = false;
    switch (sent.kind) {
      case "done":
        this.#settle(entry, { ok: true, channel: sent.channel, ts: sent.ts, error: null });
        return 0;
      case "failed":
        this.#settle(entry, { ok: false, channel: entry.channel, ts: null, error: sent.error });
        return 0;
      case "unknown":
        this.#settle(entry, { ok: false, channel: entry.channel, ts: null, error: "unknown" });
        return 0;
      case "retry": {
        if (Date.now() - entry.since > this.#limits.giveUpMs) {
          const error = sent.why === "rate" ? "ratelimited" : "unreachable";
          this.#settle(entry, { ok: false, channel: entry.channel, ts: null, error });
          return 0;
        }
        if (sent.why === "rate") return sent.afterMs;
        return backoff(entry.tries, this.#limits.retryBaseMs, this.#limits.retryCapMs);
      }
    }
  }

  async #send(entry: Entry): Promise<Sent> {
    try {
      if (entry.post !== null) {
        const thread = this.#threadOf(entry.post.thread);
        return await this.#sender.post({ ...entry.post, thread, message: entry.message });
      }
      const ts = tsOf(entry.target);
      if (typeof ts === "string") return await this.#sender.update(entry.channel, ts, entry.message);
      // The post failed, or went through a response_url, which gives no handle on the message.
      return { kind: "failed", error: ts.result?.ok === true ? "not_updatable" : "message_not_found" };
    } catch {
      return { kind: "unknown" };
    }
  }

  /** A thread may be named by the nonce of the post that begins it; without that post's ts there is no thread. */
  #threadOf(thread: string | null): string | null {
    if (thread === null || TS.test(thread)) return thread;
    return this.#posts.get(thread)?.result?.ts ?? null;
  }

  #settle(entry: Entry, result: Omit<Posted, "nonce">): void {
    entry.result = result;
    // Remembered for its result alone.
    entry.message = NOTHING;
    entry.post = null;
    for (const nonce of entry.nonces) {
      // What surely left no trace in Slack may be asked for again under the same nonce.
      if (!result.ok && leftNoTrace(result.error ?? "") && this.#posts.get(nonce) === entry)
        this.#posts.delete(nonce);
      this.#answer({ nonce, ...result });
    }
  }

  #forgetIdle(now: number): void {
    if (this.#channels.size < 1000) return;
    for (const [id, channel] of this.#channels) {
      if (channel.queue.length === 0 && channel.posts.isFull(now)) this.#channels.delete(id);
    }
  }

  #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wake.delete(done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#wake.add(done);
    });
  }
}

/** A post's own message, where it has one. */
function tsOf(target: string | Entry): string | Entry {
  return typeof target === "string" ? target : (target.result?.ts ?? target);
}
