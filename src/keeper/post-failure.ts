import { isAuthError } from "../core/slack-errors.ts";
import type { Post } from "../store/outbox.ts";
import type { Document } from "../wire/document.ts";

/** What becomes of a post that Slack did not take, or perhaps did. Pure. */
export type Remedy =
  /** The same post, at that time. */
  | { kind: "retry"; at: number }
  /** The same document as a post of its own: under the old nonce the gateway would answer from memory. */
  | { kind: "again" | "anew"; at: number }
  /** In few words, since Slack refuses the document. */
  | { kind: "plain" }
  /** To the person who asked, since the channel is closed. */
  | { kind: "direct" }
  | { kind: "give up" };

/** sallyport, or its gateway, ended before Slack's answer came. */
export const INTERRUPTED = "interrupted";
/** After a day a message would tell of what nobody waits for any more, and all of them at once. */
export const KEEP_MS = 86_400_000;

const RETRY_MS = [2000, 10_000, 60_000, 300_000] as const;
const REPEATS = 5;

/** Slack surely did not take the message and may take it later. */
const TRANSIENT = /^(ratelimited|queue_full|unreachable|service_unavailable|not_connected)$/;
/** The answer was lost, so it may be there. */
const IN_DOUBT = /^(unknown|interrupted)$/;
/** The message that was to be changed is gone, or went out in a way that gave no handle on it (a response_url). */
const NOT_UPDATABLE = /^(not_updatable|message_not_found|cant_update_message|edit_window_closed)$/;
/** The app is not in the channel, or the channel takes nothing more. */
const NO_WAY_IN = /^(not_in_channel|channel_not_found|is_archived|no_permission|restricted_action\w*)$/;

/** Nonces of what must be told: how a run or a request ended, and what the run wrote. Each remedy adds its word. */
const TOLD =
  /^(?:[^:]+:(?:result|lost|output-\d+)|abandoned:.+?)(?<words>(?:-(?:again|anew|plain|direct))*)$/;

export function remedyFor(post: Post, error: string, now: number): Remedy {
  const words = TOLD.exec(post.nonce)?.groups?.words?.split("-");
  const had = (word: string) => words?.filter((each) => each === word).length ?? 0;
  const isUpdate = post.kind === "update";
  // An update can be repeated as it is: what is there twice is the same.
  if (TRANSIENT.test(error) || (isUpdate && IN_DOUBT.test(error))) {
    const at = now + (error === INTERRUPTED ? 0 : pause(post.attempts - 1));
    return at > post.created + KEEP_MS ? { kind: "give up" } : { kind: "retry", at };
  }
  // `slack connect` with other tokens makes it due.
  if (isAuthError(error)) return { kind: "retry", at: post.created + KEEP_MS };
  if (isUpdate && NOT_UPDATABLE.test(error)) return { kind: "anew", at: now };
  if (NO_WAY_IN.test(error)) return had("direct") === 0 ? { kind: "direct" } : { kind: "give up" };
  if (words === undefined) return { kind: "give up" };
  if (IN_DOUBT.test(error)) {
    if (had("again") === REPEATS) return { kind: "give up" };
    return { kind: "again", at: now + (error === INTERRUPTED ? 0 : pause(had("again"))) };
  }
  if (had("plain") === 0) return { kind: "plain" };
  return had("direct") === 0 ? { kind: "direct" } : { kind: "give up" };
}

function pause(tries: number): number {
  return RETRY_MS[Math.min(Math.max(tries, 0), RETRY_MS.length - 1)] ?? 0;
}

/** The document of a post that may be there already. */
export function withDoubt(document: Document): Document {
  if (document.blocks.some((block) => block.kind === "note" && block.text === DOUBT)) return document;
  return { ...document, blocks: [...document.blocks.slice(0, 39), { kind: "note", text: DOUBT }] };
}
const DOUBT = "It is not known whether this reached Slack before; it may be shown here twice.";

export function inFewWords(document: Document, run: string | null, error: string): Document {
  const where = run === null ? "" : ` All of it on the host: sallyport runs show ${run}`;
  return {
    summary: document.summary,
    blocks: [
      { kind: "text", text: document.summary },
      { kind: "note", text: `Slack refused the full message (${error.slice(0, 200)}).${where}` },
    ],
  };
}
