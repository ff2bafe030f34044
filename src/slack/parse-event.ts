import { z } from "zod";
import type { Envelope } from "./frame.ts";
import { identityOf, isOurs, slackId } from "./identity.ts";
import { channelKind, MAX_TEXT } from "./parse-slash.ts";
import { foreign, malformed, NO_REPLY, refused, shown } from "./refuse.ts";
import type { Home, Parsed } from "./types.ts";

const Outer = z.object({
  type: z.string().max(100),
  team_id: slackId.nullish(),
  event_id: z
    .string()
    .regex(/^[\x21-\x7e]{1,120}$/)
    .nullish(),
  event: z.object({ type: z.string().max(100) }).nullish(),
});

const marks = {
  bot_id: z.unknown().optional(),
  bot_profile: z.unknown().optional(),
  app_id: z.unknown().optional(),
  subtype: z.unknown().optional(),
  edited: z.unknown().optional(),
};

const Mention = z.object({
  event: z.object({
    ...marks,
    user: slackId.nullish(),
    text: z.string().max(40_000),
    channel: slackId,
    channel_type: z.string().max(40).nullish(),
    thread_ts: z.string().max(40).nullish(),
    team: slackId.nullish(),
    user_team: slackId.nullish(),
    source_team: slackId.nullish(),
    user_profile: z.object({ team: slackId.nullish() }).nullish(),
  }),
  enterprise_id: slackId.nullish(),
});

const HomeOpened = z.object({
  event: z.object({
    user: slackId,
    tab: z.string().max(40),
    team: slackId.nullish(),
    user_team: slackId.nullish(),
  }),
});

/** Events that nobody asked for by a word to us. They arrive only where a site subscribed to them. */
const IGNORED = ["message", "reaction_added", "reaction_removed", "member_joined_channel"];
const REVOKED = ["tokens_revoked", "app_uninstalled"];

export function parseEvent(envelope: Envelope, home: Home): Parsed {
  const outer = Outer.safeParse(envelope.payload);
  if (!outer.success) return malformed("events_api", outer.error);
  const { type, event, event_id, team_id } = outer.data;
  if (type === "app_rate_limited") {
    return refused(
      "app_rate_limited",
      "rate_limited",
      "Slack drops events for a while: too many in the last hour.",
    );
  }
  if (type !== "event_callback" || event == null) {
    return refused(
      "unknown_event",
      "unknown_envelope",
      `Event of outer type ${shown(type)}, without an event.`,
    );
  }
  const dedupe = event_id == null ? `envelope:${envelope.id}` : `event:${event_id}`;
  if (event.type === "app_mention") return mention(envelope, home, dedupe, team_id);
  if (event.type === "app_home_opened") return homeOpened(envelope, home, dedupe, team_id);
  if (IGNORED.includes(event.type)) return refused(`ignored_${event.type}`, null, `Event ${event.type}.`);
  if (REVOKED.includes(event.type)) {
    return refused(
      "revoked",
      "auth_failed",
      `Slack says ${event.type}: run sallyport slack connect with new tokens.`,
    );
  }
  return refused("unknown_event", "unknown_envelope", `Event ${shown(event.type)}.`);
}

function mention(
  envelope: Envelope,
  home: Home,
  dedupe: string,
  outerTeam: string | null | undefined,
): Parsed {
  const parsed = Mention.safeParse(envelope.payload);
  if (!parsed.success) return malformed("app_mention", parsed.error);
  const { event: e, enterprise_id } = parsed.data;
  const teams = [e.user_team, e.source_team, e.team, e.user_profile?.team];
  if (e.bot_id != null || e.bot_profile != null || e.app_id != null || e.user == null) {
    const who = typeof e.bot_id === "string" ? shown(e.bot_id) : (e.user ?? "an app");
    return refused("bot", "bot_identity", `Mention by bot ${who} in ${e.channel}.`);
  }
  if (!isOurs(home, [...teams, outerTeam], [enterprise_id])) {
    return foreign(e.user, teams.find((t) => t != null && t !== home.team) ?? outerTeam, "Mention", NO_REPLY);
  }
  if (e.subtype != null) return refused("subtype", null, `Mention with subtype by ${e.user}.`);
  if (e.edited != null) return refused("edited", null, `Edited mention by ${e.user}.`);
  const text = afterMention(e.text, home.botUser);
  if (text === null) return refused("not_addressed", null, `Mention inside a sentence by ${e.user}.`);
  if (text.length > MAX_TEXT)
    return refused("too_long", null, `Mention of ${text.length} characters by ${e.user}.`);
  return {
    request: {
      dedupe,
      trigger: null,
      surface: "mention",
      identity: identityOf(home, teams.find((t) => t != null) ?? outerTeam, e.user),
      channel: { id: e.channel, kind: e.channel_type === "im" ? "im" : channelKind(e.channel, "") },
      thread: e.thread_ts ?? null,
      text,
      action: null,
      retry: envelope.retry,
    },
    refusal: null,
    reply: NO_REPLY,
  };
}

/** A command begins with the mention; "thanks, @bot" is none. */
function afterMention(text: string, botUser: string): string | null {
  const match = /^\s*<@([A-Z0-9]+)(?:\|[^>]*)?>/.exec(text);
  return match?.[1] === botUser ? text.slice(match[0].length).trim() : null;
}

function homeOpened(
  envelope: Envelope,
  home: Home,
  dedupe: string,
  outerTeam: string | null | undefined,
): Parsed {
  const parsed = HomeOpened.safeParse(envelope.payload);
  if (!parsed.success) return malformed("app_home_opened", parsed.error);
  const e = parsed.data.event;
  if (!isOurs(home, [e.user_team, e.team, outerTeam], []))
    return foreign(e.user, e.user_team ?? e.team, "Home", NO_REPLY);
  if (e.tab !== "home") return refused("other_tab", null, `Tab ${shown(e.tab)} opened by ${e.user}.`);
  return {
    request: {
      dedupe,
      trigger: null,
      surface: "home",
      identity: identityOf(home, e.user_team ?? e.team ?? outerTeam, e.user),
      channel: null,
      thread: null,
      text: "",
      action: null,
      retry: envelope.retry,
    },
    refusal: null,
    reply: NO_REPLY,
  };
}
