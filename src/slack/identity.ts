import { z } from "zod";
import type { Home, Identity, Standing } from "./types.ts";

const SLACK_ID = /^[A-Z][A-Z0-9]{1,31}$/;
export const slackId = z.string().regex(SLACK_ID);
export function isSlackId(value: unknown): value is string {
  return typeof value === "string" && SLACK_ID.test(value);
}

/**
 * Whether every workspace and organisation that a payload names for the person is ours. One workspace is served, the one
 * of auth.test: where an Enterprise organisation installed the app for all of them, the others are as foreign as any.
 */
export function isOurs(
  home: Home,
  teams: readonly (string | null | undefined)[],
  enterprises: readonly (string | null | undefined)[],
): boolean {
  for (const e of enterprises) if (e != null && e !== home.enterprise) return false;
  for (const t of teams) if (t != null && t !== home.team) return false;
  return true;
}

/** The enterprise is the installation's own for everyone of ours, so that a person is one identity on every surface. */
export function identityOf(home: Home, team: string | null | undefined, user: string): Identity {
  return { enterprise: home.enterprise, team: team ?? home.team, user };
}

const flag = z.boolean().catch(false);

const User = z.object({
  id: slackId,
  team_id: slackId.nullish(),
  deleted: flag,
  is_bot: flag,
  is_workflow_bot: flag,
  is_restricted: flag,
  is_ultra_restricted: flag,
  is_stranger: flag,
  enterprise_user: z
    .object({ enterprise_id: slackId, teams: z.array(slackId).max(10_000).catch([]) })
    .nullish()
    .catch(null),
});

/** What users.info says of a person; "unknown" for an answer about someone else or without a workspace. */
export function standingOf(home: Home, asked: string, answer: unknown): Standing {
  const parsed = User.safeParse(answer);
  if (!parsed.success || parsed.data.id !== asked) return "unknown";
  const user = parsed.data;
  const grid = user.enterprise_user;
  const isByGrid = grid != null && grid.enterprise_id === home.enterprise && grid.teams.includes(home.team);
  if (user.team_id == null && !isByGrid) return "unknown";
  if (user.is_stranger || (user.team_id !== home.team && !isByGrid)) return "foreign";
  if (user.deleted) return "deleted";
  if (user.is_bot || user.is_workflow_bot || user.id === "USLACKBOT") return "bot";
  if (user.is_restricted || user.is_ultra_restricted) return "guest";
  return "member";
}
