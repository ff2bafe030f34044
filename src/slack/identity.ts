import { z } from "zod";
import type { Home, Identity, Standing } from "./types.ts";

const SLACK_ID = /^[A-Z][A-Z0-9]{1,31}$/;
export const slackId = z.string().regex(SLACK_ID);
export function isSlackId(value: unknown): value is string {
  return typeof value === "string" && SLACK_ID.test(value);
}

/**
 * Whether nothing that a payload names for the person belongs to another installation. Installed in one workspace: it is that of
 * auth.test, and the others of its organisation are as foreign as any. Installed for an organisation: the organisation must be
 * ours, while whether a workspace is one of its own no payload tells, so that users.info decides (`standingOf`).
 */
export function isOurs(
  home: Home,
  teams: readonly (string | null | undefined)[],
  enterprises: readonly (string | null | undefined)[],
): boolean {
  for (const e of enterprises) if (e != null && e !== home.enterprise) return false;
  for (const t of teams) if (t != null && t !== home.team && !mayBeOurs(home, t)) return false;
  return true;
}

function mayBeOurs(home: Home, team: string): boolean {
  return home.org && (team.startsWith("T") || team === home.enterprise);
}

/**
 * The enterprise is the installation's own for everyone of ours. Where no payload names a workspace it is the one of auth.test, or
 * the organisation itself: within one, a person has the same id in every workspace (docs.slack.dev, Enterprise user ID).
 */
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

/**
 * What users.info says of a person; "unknown" for an answer about someone else or without a workspace. `asked.team`: the workspace
 * that the payload named for them, which must be one that Slack lists for that id.
 */
export function standingOf(home: Home, asked: Pick<Identity, "team" | "user">, answer: unknown): Standing {
  const parsed = User.safeParse(answer);
  if (!parsed.success || parsed.data.id !== asked.user) return "unknown";
  const user = parsed.data;
  const grid = user.enterprise_user;
  const teams = grid != null && grid.enterprise_id === home.enterprise ? grid.teams : null;
  if (user.team_id == null && teams === null) return "unknown";
  if (user.is_stranger || !(home.org ? isOfOrg : isOfTeam)(home, asked.team, user.team_id, teams))
    return "foreign";
  if (user.deleted) return "deleted";
  if (user.is_bot || user.is_workflow_bot || user.id === "USLACKBOT") return "bot";
  if (user.is_restricted || user.is_ultra_restricted) return "guest";
  return "member";
}

/** `teams`: the workspaces of our organisation that the person is in; null: not said to be of it. */
type Belongs = (
  home: Home,
  asked: string,
  own: string | null | undefined,
  teams: readonly string[] | null,
) => boolean;
const isOfTeam: Belongs = (home, _asked, own, teams) =>
  own === home.team || teams?.includes(home.team) === true;
const isOfOrg: Belongs = (home, asked, own, teams) =>
  (teams !== null || own === home.team || own === home.enterprise) &&
  (asked === home.enterprise || asked === own || teams?.includes(asked) === true);
