import { cleanText, truncateBytes } from "../core/text.ts";
import type { AlarmKind, Parsed, ReplyPath } from "./types.ts";

export const NO_REPLY: ReplyPath = { responseUrl: null, ackPayload: { kind: "none" } };

export function refused(
  name: string,
  alarm: AlarmKind | null,
  detail: string,
  say: string | null = null,
  reply: ReplyPath = NO_REPLY,
): Parsed {
  return { request: null, refusal: { name, alarm, detail: truncateBytes(detail, 400), say }, reply };
}

/** For a payload that does not have the shape that Slack documents. */
export function malformed(what: string, error: { issues: { path: PropertyKey[] }[] } | null): Parsed {
  const path = error?.issues[0]?.path.map(String).join(".") ?? "";
  return refused(
    "malformed",
    "malformed_frame",
    `${what}: ${path === "" ? "no object" : `bad ${shown(path)}`}.`,
  );
}

export function foreign(
  who: string,
  team: string | null | undefined,
  where: string,
  reply: ReplyPath,
): Parsed {
  return refused(
    "foreign",
    "foreign_identity",
    `${where} by ${who} of workspace ${team ?? "unknown"}.`,
    "Refused: only members of the Slack workspace that installed this app are served.",
    reply,
  );
}

/** A name from outside, for an alarm's text. */
export function shown(name: string): string {
  return truncateBytes(cleanText(name), 80);
}
