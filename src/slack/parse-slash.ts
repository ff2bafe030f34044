import type { Envelope } from "./frame.ts";
import { identityOf, isOurs, isSlackId } from "./identity.ts";
import { foreign, malformed, refused, shown } from "./refuse.ts";
import type { ChannelKind, Home, Parsed, ReplyPath } from "./types.ts";

const COMMAND = "/ops";
export const MAX_TEXT = 8000;

type Fields = Record<string, unknown>;

/** What a slash command's payload must have, beside others. By hand, as a person waits for its ack. */
const FIELDS: readonly (readonly [name: string, isValid: (value: unknown) => boolean])[] = [
  ["team_id", isSlackId],
  ["enterprise_id", orNothing(isSlackId)],
  ["user_id", isSlackId],
  ["channel_id", isSlackId],
  ["command", upTo(100)],
  ["text", orNothing((value) => typeof value === "string")],
  ["thread_ts", orNothing(upTo(40))],
  ["trigger_id", orNothing(upTo(150))],
  ["response_url", orNothing(upTo(500))],
];

function upTo(length: number): (value: unknown) => boolean {
  return (value) => typeof value === "string" && value.length <= length;
}

function orNothing(isValid: (value: unknown) => boolean): (value: unknown) => boolean {
  return (value) => value === undefined || value === null || isValid(value);
}

type Slash = {
  team_id: string;
  enterprise_id?: string | null;
  user_id: string;
  channel_id: string;
  channel_name?: unknown;
  command: string;
  text?: string | null;
  thread_ts?: string | null;
  trigger_id?: string | null;
  response_url?: string | null;
};

/** The payload, or the name of its first bad field ("" when it is no object). */
function readSlash(payload: unknown): Slash | string {
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) return "";
  for (const [name, isValid] of FIELDS) if (!isValid((payload as Fields)[name])) return name;
  return payload as Slash;
}

export function parseSlash(envelope: Envelope, home: Home): Parsed {
  const p = readSlash(envelope.payload);
  if (typeof p === "string") {
    return malformed("slash_commands", { issues: [{ path: p === "" ? [] : [p] }] });
  }
  const reply: ReplyPath = {
    responseUrl: p.response_url ?? null,
    ackPayload: envelope.acceptsPayload ? { kind: "ephemeral" } : { kind: "none" },
  };
  if (!isOurs(home, [p.team_id], [p.enterprise_id])) return foreign(p.user_id, p.team_id, "Command", reply);
  if (p.command !== COMMAND) {
    const what = `Command ${shown(p.command)} by ${p.user_id}.`;
    return refused("unknown_command", "unknown_envelope", what, `This app answers ${COMMAND} only.`, reply);
  }
  const text = p.text ?? "";
  if (text.length > MAX_TEXT) {
    const say = `Not accepted: a command may have ${MAX_TEXT} characters, this one has ${text.length}.`;
    return refused("too_long", null, `Command of ${text.length} characters by ${p.user_id}.`, say, reply);
  }
  return {
    request: {
      dedupe: `envelope:${envelope.id}`,
      trigger: triggerOf(p.trigger_id),
      surface: "slash",
      identity: identityOf(home, p.team_id, p.user_id),
      channel: { id: p.channel_id, kind: channelKind(p.channel_id, nameOf(p.channel_name)) },
      thread: p.thread_ts ?? null,
      text,
      action: null,
      retry: envelope.retry,
    },
    refusal: null,
    reply,
  };
}

function nameOf(name: unknown): string {
  return typeof name === "string" && name.length <= 200 ? name : "";
}

/** An empty one would make strangers' commands the same. */
export function triggerOf(id: string | null | undefined): string | null {
  return id == null || id === "" ? null : id;
}

/** Slack names private conversations by these fixed words; ids alone tell only direct messages for sure. */
export function channelKind(id: string, name: string): ChannelKind {
  if (id.startsWith("D") || name === "directmessage") return "im";
  if (name.startsWith("mpdm-")) return "mpim";
  if (id.startsWith("G") || name === "privategroup") return "private";
  return name === "" ? "unknown" : "public";
}
