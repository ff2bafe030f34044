import { checkBlocks } from "./blocks.ts";
import type { ResponseUrls, Triggers } from "./once.ts";
import type { State } from "./state.ts";
import type { Block, Channel } from "./types.ts";

/** An answer `{ok: false, error}` with what Slack adds to it. */
export class SlackFailure extends Error {
  readonly answer: Record<string, unknown>;
  readonly error: string;
  constructor(error: string, more: Record<string, unknown> = {}) {
    super(error);
    this.error = error;
    this.answer = { ok: false, error, ...more };
  }
}

export type Args = Record<string, unknown>;
export type Answer = Record<string, unknown>;

export interface MethodContext {
  state: State;
  triggers: Triggers;
  responseUrls: ResponseUrls;
  /** http://127.0.0.1:PORT, known once the server listens. */
  origin: () => string;
  /** Issues the single-use address of a Socket Mode connection. */
  ticket: () => string;
  /** Whether one more post into the channel exceeds the configured rate. */
  overRate: (channel: string) => boolean;
}

export interface Method {
  token: "bot" | "app" | "any";
  scope?: string;
  effect?: boolean;
  run: (args: Args, context: MethodContext) => Answer;
}

export function optionalString(args: Args, name: string): string | undefined {
  const value = args[name];
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof value === "string" || typeof value === "number") return String(value);
  throw new SlackFailure("invalid_arguments", {
    response_metadata: { messages: [`[ERROR] must be a string [json-pointer:/${name}]`] },
  });
}

export function requiredString(args: Args, name: string, error = "invalid_arguments"): string {
  const value = optionalString(args, name);
  if (value !== undefined) return value;
  throw new SlackFailure(error, {
    response_metadata: { messages: [`[ERROR] missing required field: ${name}`] },
  });
}

/** A field that is JSON text in a form and already an object in a JSON body. */
export function jsonField(args: Args, name: string, error: string): unknown {
  const value = args[name];
  if (typeof value !== "string") return value ?? undefined;
  if (value === "") return undefined;
  try {
    return JSON.parse(value);
  } catch {
    throw new SlackFailure(error);
  }
}

export function flag(args: Args, name: string): boolean | undefined {
  const value = args[name];
  if (value === undefined || value === null) return undefined;
  return value === true || value === "true" || value === "1" || value === 1;
}

/** Text and blocks of a post, checked as Slack checks them. */
export function content(
  args: Args,
  limitTotal: boolean,
): { text: string | undefined; blocks: Block[] | undefined } {
  const text = optionalString(args, "text");
  if (text !== undefined && text.length > 40_000) throw new SlackFailure("msg_too_long");
  const blocks = jsonField(args, "blocks", "invalid_blocks_format");
  if (blocks === undefined) return { text, blocks: undefined };
  const problem = checkBlocks(blocks, 50, limitTotal);
  if (problem !== null) {
    throw new SlackFailure(problem.error, { response_metadata: { messages: problem.messages } });
  }
  return { text, blocks: blocks as Block[] };
}

/** Where a post goes: a channel the bot is in, or a person's direct message. */
export function target(args: Args, state: State, name = "channel"): Channel {
  const id = requiredString(args, name, "channel_not_found");
  const person = state.people.find((p) => p.id === id);
  const channel = person === undefined ? state.findChannel(id) : state.im(person);
  if (channel === undefined) throw new SlackFailure("channel_not_found");
  if (!channel.botIsMember) {
    throw new SlackFailure(channel.kind === "private" ? "channel_not_found" : "not_in_channel");
  }
  if (channel.archived) throw new SlackFailure("is_archived");
  return channel;
}
