import { SallyportError } from "../core/errors.ts";
import type { SlackIdentity } from "../core/identity.ts";
import type { Reader, Tx } from "./tx.ts";
import type { UserRow } from "./users.ts";
import { USER_COLUMNS } from "./users.ts";

/** A Slack account that was linked to a user outside Slack. One identity is one user's. */
export interface IdentityRow extends SlackIdentity {
  userId: string;
  created: number;
}

interface Stored {
  enterprise: string;
  team: string;
  slack_user: string;
  user_id: string;
  created: number;
}

const KEY = "enterprise = ? AND team = ? AND slack_user = ?";

const keyOf = (identity: SlackIdentity) => [identity.enterprise ?? "", identity.team, identity.user];

/** `conflict` when it is linked already, to whomever. */
export async function addIdentity(tx: Tx, identity: SlackIdentity, userId: string): Promise<void> {
  const owner = await userByIdentity(tx, identity);
  if (owner) throw new SallyportError("conflict", `This Slack account is linked to ${owner.name}.`);
  const sql =
    "INSERT INTO identities (enterprise, team, slack_user, user_id, created) VALUES (?, ?, ?, ?, ?)";
  await tx.run(sql, [...keyOf(identity), userId, tx.now]);
}

/**
 * Whose it is. Within an Enterprise organisation a member has one id in all of its workspaces, so that a link made in one counts
 * in each; should two of them be linked to two users, only the workspace's own link counts.
 */
export async function userByIdentity(reader: Reader, identity: SlackIdentity): Promise<UserRow | undefined> {
  const sql = `SELECT ${USER_COLUMNS} FROM identities JOIN users ON users.id = user_id WHERE ${KEY}`;
  const exact = await reader.get<UserRow>(sql, keyOf(identity));
  if (exact !== undefined || identity.enterprise === null) return exact;
  const inOrg = `SELECT DISTINCT ${USER_COLUMNS} FROM identities JOIN users ON users.id = user_id
    WHERE enterprise = ? AND slack_user = ? LIMIT 2`;
  const [first, second] = await reader.all<UserRow>(inOrg, [identity.enterprise, identity.user]);
  return second === undefined ? first : undefined;
}

export async function listIdentities(reader: Reader, userId?: string): Promise<IdentityRow[]> {
  const where = userId === undefined ? "" : "WHERE user_id = ?";
  const sql = `SELECT enterprise, team, slack_user, user_id, created FROM identities ${where}
    ORDER BY enterprise, team, slack_user LIMIT 10000`;
  const rows = await reader.all<Stored>(sql, userId === undefined ? [] : [userId]);
  return rows.map((row) => ({
    enterprise: row.enterprise === "" ? null : row.enterprise,
    team: row.team,
    user: row.slack_user,
    userId: row.user_id,
    created: row.created,
  }));
}

export async function removeIdentity(tx: Tx, identity: SlackIdentity): Promise<boolean> {
  return (await tx.run(`DELETE FROM identities WHERE ${KEY}`, keyOf(identity))) > 0;
}
