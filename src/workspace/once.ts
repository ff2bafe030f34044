import { randomBytes } from "node:crypto";
import type { State } from "./state.ts";
import type { Message } from "./types.ts";

const TRIGGER_MS = 3000;
const RESPONSE_MS = 30 * 60 * 1000;
const RESPONSE_USES = 5;
const TICKET_MS = 30_000;

/** trigger_ids: good for three seconds and one use. */
export class Triggers {
  readonly #state: State;
  readonly #open = new Map<string, { user: string; until: number; used: boolean }>();

  constructor(state: State) {
    this.#state = state;
  }

  issue(user: string): string {
    const id = `${Math.floor(this.#state.now())}.9876543210.${randomBytes(16).toString("hex")}`;
    this.#open.set(id, { user, until: this.#state.now() + TRIGGER_MS, used: false });
    return id;
  }

  /** The user who caused it, or the error that Slack answers with. */
  use(id: string): { user: string } | { error: string } {
    const trigger = this.#open.get(id);
    if (trigger === undefined) return { error: "invalid_trigger_id" };
    if (trigger.used) return { error: "exchanged_trigger_id" };
    if (this.#state.now() > trigger.until) return { error: "expired_trigger_id" };
    trigger.used = true;
    return { user: trigger.user };
  }
}

export interface ResponseTarget {
  channel: string;
  user: string;
  threadTs: string | null;
  /** The message that was clicked; for a slash command the last one that came through this URL. */
  original: Message | null;
  onMessage: (message: Message) => void;
}

/** response_urls: thirty minutes and five uses. */
export class ResponseUrls {
  readonly #state: State;
  readonly #open = new Map<string, { target: ResponseTarget; until: number; uses: number }>();

  constructor(state: State) {
    this.#state = state;
  }

  /** Gives the path; the host is the workspace's own. */
  issue(kind: "commands" | "actions", target: ResponseTarget): string {
    const path = `/${kind}/${this.#state.team.id}/${Math.floor(this.#state.now())}/${randomBytes(18).toString("base64url")}`;
    this.#open.set(path, { target, until: this.#state.now() + RESPONSE_MS, uses: 0 });
    return path;
  }

  look(path: string): { target: ResponseTarget; use: () => void } | { error: string } {
    const entry = this.#open.get(path);
    if (entry === undefined) return { error: "no_such_url" };
    if (this.#state.now() > entry.until) return { error: "expired_url" };
    if (entry.uses >= RESPONSE_USES) return { error: "used_url" };
    return {
      target: entry.target,
      use: () => {
        entry.uses += 1;
      },
    };
  }
}

/** Tickets of Socket Mode addresses: one upgrade each, thirty seconds. */
export class Tickets {
  readonly #open = new Map<string, number>();

  issue(): string {
    const ticket = randomBytes(16).toString("hex");
    this.#open.set(ticket, Date.now() + TICKET_MS);
    return ticket;
  }

  take(ticket: string): boolean {
    const until = this.#open.get(ticket);
    this.#open.delete(ticket);
    return until !== undefined && Date.now() <= until;
  }
}
