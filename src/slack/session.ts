import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Alarms } from "./alarms.ts";
import { backoff } from "./backoff.ts";
import { Contexts } from "./contexts.ts";
import type { Document, View } from "./document.ts";
import type { Endpoint } from "./endpoint.ts";
import { Forms } from "./forms.ts";
import { LINK_LIMITS, type LinkLimits, type Transport } from "./link.ts";
import { OUTBOX_LIMITS, Outbox, type OutboxLimits } from "./outbox.ts";
import { People } from "./people.ts";
import { Receiver, type RequestMessage } from "./receiver.ts";
import { renderDocument } from "./render.ts";
import { SlackSender } from "./sender.ts";
import { POOL_LIMITS, Pool, type PoolLimits } from "./socket.ts";
import type { AlarmKind, Home, Posted, SlackState } from "./types.ts";
import { homeOf, Web } from "./web.ts";
import { Whisper } from "./whisper.ts";

/** What a session tells the keeper. */
export type Port = {
  state(state: SlackState): void;
  alarm(kind: AlarmKind, detail: string): void;
  request(request: RequestMessage): void;
  acked(id: string, accepted: boolean): void;
  posted(posted: Posted): void;
};

export type SessionLimits = {
  link: LinkLimits;
  pool: PoolLimits;
  outbox: OutboxLimits;
  /** From an envelope's arrival to its ack, at the latest. */
  ackMs: number;
  webTimeoutMs: number;
  connections: number;
};

export const SESSION_LIMITS: SessionLimits = {
  link: LINK_LIMITS,
  pool: POOL_LIMITS,
  outbox: OUTBOX_LIMITS,
  ackMs: 2000,
  webTimeoutMs: 10_000,
  connections: 2,
};

export type SessionOptions = {
  appToken: string;
  botToken: string;
  endpoint: Endpoint;
  transport: Transport;
  limits: SessionLimits;
  port: Port;
};

/** One connection to Slack with one pair of tokens, from auth.test to stop(). */
export class Session {
  readonly #options: SessionOptions;
  readonly #alarms: Alarms;
  readonly #web: Web;
  readonly #contexts: Contexts;
  readonly #outbox: Outbox;
  readonly #whisper: Whisper;
  readonly #forms: Forms;
  readonly #stop = new AbortController();
  /** Distinguishes this session's request ids from an earlier one's. */
  readonly #prefix = randomBytes(6).toString("hex");
  #home: Home | null = null;
  #pool: Pool | null = null;
  #receiver: Receiver | null = null;
  #error: string | null = null;
  #reported = "";

  constructor(options: SessionOptions) {
    this.#options = options;
    const { botToken, endpoint, transport, limits, port } = options;
    this.#alarms = new Alarms((kind, detail) => port.alarm(kind, detail));
    this.#web = new Web(botToken, endpoint, transport, limits.webTimeoutMs);
    this.#contexts = new Contexts(endpoint, transport.fetch ?? fetch);
    const onAuth = (text: string) => this.#authFailed(text);
    const asked = { web: this.#web, contexts: this.#contexts, onAuth };
    this.#whisper = new Whisper({ ...asked, limits: limits.outbox, signal: this.#stop.signal });
    const sender = new SlackSender({ ...asked, whisper: this.#whisper });
    this.#forms = new Forms({ ...asked, whisper: this.#whisper });
    this.#outbox = new Outbox(sender, limits.outbox, (posted) => port.posted(posted));
  }

  start(): void {
    void this.#begin();
  }

  stop(): void {
    this.#stop.abort();
    this.#receiver?.stop();
    this.#pool?.stop();
    this.#outbox.stop();
  }

  receipt(receipt: { id: string; accepted: boolean; duplicate: boolean; text: string | null }): void {
    this.#receiver?.receipt(receipt);
  }

  respond(request: string, document: Document, parts: readonly Uint8Array[]): void {
    this.#whisper.respond(request, renderDocument(document, parts));
  }

  view(request: string, view: View): void {
    void this.#forms.open(request, view);
  }

  post(
    post: {
      nonce: string;
      channel: string;
      thread: string | null;
      request: string | null;
      document: Document;
    },
    parts: readonly Uint8Array[],
  ): void {
    const { nonce, channel, thread, request } = post;
    this.#outbox.post({ nonce, channel, thread, request, message: renderDocument(post.document, parts) });
  }

  update(
    update: { nonce: string; channel: string; ts: string; document: Document },
    parts: readonly Uint8Array[],
  ): void {
    const { nonce, channel, ts } = update;
    this.#outbox.update({ nonce, channel, ts, message: renderDocument(update.document, parts) });
  }

  /** auth.test first: without knowing which workspace is ours nobody can be told from a stranger. */
  async #begin(): Promise<void> {
    const { pool } = this.#options.limits;
    for (let failures = 1; !this.#stop.signal.aborted; failures++) {
      const result = await this.#web.call("auth.test", {});
      const home = result.ok ? homeOf(result.data) : null;
      if (this.#stop.signal.aborted) return;
      if (home !== null) {
        this.#connect(home);
        return;
      }
      const failure = result.ok
        ? ({
            kind: "platform",
            error: "",
            text: "auth.test names neither a workspace nor an organisation; install the app in one",
          } as const)
        : result.failure;
      const forPerson = failure.kind === "auth" || failure.kind === "platform";
      if (forPerson && failures === 1)
        this.#alarms.raise("auth_failed", `Slack refuses the bot token (${failure.text}).`);
      this.#error = failure.text;
      this.#report();
      const ms = forPerson
        ? backoff(failures, pool.slowBaseMs, pool.slowCapMs)
        : Math.max(backoff(failures, pool.baseMs, pool.capMs), failure.kind === "rate" ? failure.afterMs : 0);
      await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  #connect(home: Home): void {
    const { appToken, endpoint, transport, limits, port } = this.#options;
    this.#home = home;
    this.#error = null;
    const receiver = new Receiver({
      home,
      people: new People(this.#web, home),
      contexts: this.#contexts,
      alarms: this.#alarms,
      whisper: this.#whisper,
      port,
      prefix: this.#prefix,
      ackMs: limits.ackMs,
    });
    this.#receiver = receiver;
    this.#pool = new Pool({
      appToken,
      endpoint,
      transport,
      linkLimits: limits.link,
      limits: limits.pool,
      size: limits.connections,
      onEnvelope: (link, envelope) => receiver.envelope(link, envelope),
      onAlarm: (kind, detail) => this.#alarms.raise(kind, detail),
      onChange: () => this.#report(),
    });
    this.#report();
    this.#pool.start();
  }

  #authFailed(text: string): void {
    this.#error = text;
    this.#alarms.raise("auth_failed", `Slack refuses the bot token (${text}).`);
    this.#report();
  }

  /** Only what changed is worth a message. */
  #report(): void {
    if (this.#stop.signal.aborted) return;
    const state: SlackState = {
      connections: Math.min(this.#pool?.connections ?? 0, 10),
      team: this.#home?.team ?? null,
      enterprise: this.#home?.enterprise ?? null,
      botUser: this.#home?.botUser ?? null,
      teamName: this.#home?.teamName ?? null,
      org: this.#home?.org ?? false,
      error: this.#error ?? this.#pool?.error ?? null,
    };
    const text = JSON.stringify(state);
    if (text === this.#reported) return;
    this.#reported = text;
    this.#options.port.state(state);
  }
}
