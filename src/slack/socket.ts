import { setTimeout as sleep } from "node:timers/promises";
import { backoff } from "./backoff.ts";
import type { Failure } from "./failure.ts";
import { Link, type LinkEnd, LinkFailure, type LinkOptions } from "./link.ts";

/** Milliseconds. */
export type PoolLimits = {
  baseMs: number;
  capMs: number;
  /** Where only a person can help (Socket Mode off, token revoked): slower, and never giving up. */
  slowBaseMs: number;
  slowCapMs: number;
  /** How long a replaced connection is kept for what Slack still sends on it. */
  drainMs: number;
  /** A link that ends sooner counts as a failure, so that a server that hangs up at once is not stormed. */
  shortMs: number;
  /** How long to wait before counting connections again; our own closed ones stay counted for a while. */
  recountMs: number;
};

export const POOL_LIMITS: PoolLimits = {
  baseMs: 250,
  capMs: 30_000,
  slowBaseMs: 30_000,
  slowCapMs: 300_000,
  drainMs: 10_000,
  shortMs: 2000,
  recountMs: 10_000,
};

export type PoolOptions = Omit<LinkOptions, "limits"> & {
  linkLimits: LinkOptions["limits"];
  limits: PoolLimits;
  /** Slack allows 10; two survive the loss of either without a gap. */
  size: number;
  onChange: () => void;
};

/** Keeps `size` connections open: a new one is opened before an old one is let go. */
export class Pool {
  readonly #options: PoolOptions;
  readonly #links = new Set<Link>();
  readonly #errors = new Map<number, string>();
  readonly #stop = new AbortController();
  #recount: NodeJS.Timeout | undefined;
  #highest = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  start(): void {
    for (let slot = 0; slot < this.#options.size; slot++) void this.#keep(slot);
  }

  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#recount);
    for (const link of this.#links) link.close();
  }

  /** Connections on which Slack may send. */
  get connections(): number {
    let count = 0;
    for (const link of this.#links) if (link.isOpen && !link.isDraining) count++;
    return count;
  }

  /** Why a connection is missing, or null. */
  get error(): string | null {
    return [...this.#errors.values()][0] ?? null;
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #keep(slot: number): Promise<void> {
    const { limits } = this.#options;
    let failures = 0;
    let shortLived = 0;
    let previous: Link | undefined;
    while (!this.#stopped) {
      let link: Link;
      try {
        // The library's constructor throws for a token that it does not like.
        link = this.#newLink();
        const { connections } = await link.open();
        this.#opened(slot, connections);
      } catch (error) {
        failures++;
        await this.#pause(this.#failed(slot, error, failures));
        continue;
      }
      failures = 0;
      if (previous !== undefined) this.#drain(previous);
      const since = Date.now();
      const end = await link.toReplace;
      previous = link;
      this.#options.onChange();
      if (this.#stopped) break;
      shortLived = Date.now() - since < limits.shortMs ? shortLived + 1 : 0;
      const slow = this.#slowReason(slot, end);
      // Two quick successors are normal (a refresh of both connections); more are a storm.
      const ms = slow
        ? backoff(shortLived + 1, limits.slowBaseMs, limits.slowCapMs)
        : backoff(shortLived - 2, limits.baseMs, limits.capMs);
      if (slow) this.#drain(link);
      await this.#pause(ms);
    }
  }

  #newLink(): Link {
    const { linkLimits, onEnvelope, onAlarm, appToken, endpoint, transport } = this.#options;
    const link = new Link({ appToken, endpoint, transport, limits: linkLimits, onEnvelope, onAlarm });
    this.#links.add(link);
    void link.ended.then(() => {
      this.#links.delete(link);
      this.#options.onChange();
    });
    return link;
  }

  #opened(slot: number, connections: number): void {
    this.#errors.delete(slot);
    this.#options.onChange();
    this.#count(connections, false);
  }

  /** Reports why a connection could not be opened; returns how long to wait. */
  #failed(slot: number, error: unknown, failures: number): number {
    const { limits, onAlarm, onChange } = this.#options;
    const failure: Failure =
      error instanceof LinkFailure ? error.failure : { kind: "unsent", text: "could not connect" };
    this.#errors.set(slot, failure.text);
    if (failure.kind === "auth" || (failure.kind === "platform" && failures > 0)) {
      if (failures === 1) onAlarm("auth_failed", `Slack refuses the app token (${failure.text}).`);
      onChange();
      return backoff(failures, limits.slowBaseMs, limits.slowCapMs);
    }
    onChange();
    const ms = backoff(failures, limits.baseMs, limits.capMs);
    return failure.kind === "rate" ? Math.max(ms, failure.afterMs) : ms;
  }

  #slowReason(slot: number, end: LinkEnd): boolean {
    const { onAlarm } = this.#options;
    if (end.reason === "link_disabled") {
      const text = "Socket Mode is turned off for the app (link_disabled)";
      this.#errors.set(slot, text);
      onAlarm("auth_failed", `${text}: turn it on in the app's settings.`);
    } else if (end.reason === "too_many_websockets") {
      const text = "Slack counts too many connections of this app (too_many_websockets)";
      this.#errors.set(slot, text);
      onAlarm(
        "too_many_connections",
        `${text}: ${end.connections ?? "more than 10"}. Someone else holds the app token?`,
      );
    } else return false;
    this.#options.onChange();
    return true;
  }

  /** Lets go of a connection that was replaced, once what came on it is acked and Slack had time to stop using it. */
  #drain(link: Link): void {
    const until = Date.now() + this.#options.limits.drainMs;
    const look = () => {
      if (link.isEnded) return;
      if (Date.now() >= until && link.unacked === 0) link.close();
      else if (Date.now() >= until + 3000) link.close();
      else setTimeout(look, 100).unref();
    };
    look();
  }

  /**
   * Compares Slack's count with ours. A surplus may be a connection of ours that Slack has not noticed as closed, so it
   * is counted again, by one more connection, before anyone is alarmed.
   */
  #count(connections: number, again: boolean): void {
    const { onAlarm, limits } = this.#options;
    const own = this.#links.size;
    if (connections <= own) {
      this.#highest = 0;
      return;
    }
    if (again) {
      if (connections <= this.#highest) return;
      this.#highest = connections;
      onAlarm(
        "too_many_connections",
        `Slack counts ${connections} connections of this app, ${own} are ours. Someone else holds the app token?`,
      );
    } else if (this.#recount === undefined && !this.#stopped) {
      this.#recount = setTimeout(() => void this.#probe(), limits.recountMs).unref();
    }
  }

  async #probe(): Promise<void> {
    this.#recount = undefined;
    if (this.#stopped) return;
    try {
      const link = this.#newLink();
      const { connections } = await link.open();
      this.#count(connections, true);
      this.#drain(link);
    } catch {
      // No count, no alarm: the next hello brings another.
    }
  }

  /** Sleeps; ends at once when the pool is stopped. */
  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#stopped) return;
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => {});
  }
}
