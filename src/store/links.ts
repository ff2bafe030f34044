import { SallyportError } from "../core/errors.ts";
import type { SlackIdentity } from "../core/identity.ts";
import { PRUNE_ROWS } from "./prune.ts";
import type { Reader, Tx } from "./tx.ts";

/** Wrong guesses that a pending code survives. */
export const LINK_TRIES = 5;

/** A code shown in Slack to one person, waiting to be confirmed at the host. Only its hash is kept. */
export interface LinkRow {
  id: number;
  identity: SlackIdentity;
  /** What Slack calls this account: for a person to compare, never for a decision. */
  display: string;
  created: number;
  expires: number;
  tries: number;
  used: number | null;
}

interface Stored {
  id: number;
  enterprise: string;
  team: string;
  slack_user: string;
  display: string;
  created: number;
  expires: number;
  tries: number;
  used: number | null;
}

const COLUMNS = "id, enterprise, team, slack_user, display, created, expires, tries, used";
const OPEN = `used IS NULL AND tries < ${LINK_TRIES} AND expires > ?`;

function rowOf(stored: Stored): LinkRow {
  const { id, enterprise, team, slack_user: user, display, created, expires, tries, used } = stored;
  const identity = { enterprise: enterprise === "" ? null : enterprise, team, user };
  return { id, identity, display, created, expires, tries, used };
}

/** An account has one open code: asking again makes the earlier one worthless. */
export async function createLink(
  tx: Tx,
  made: { codeHash: Uint8Array; identity: SlackIdentity; display: string; expires: number },
): Promise<LinkRow> {
  const { enterprise, team, user } = made.identity;
  const key = [enterprise ?? "", team, user];
  const earlier =
    "DELETE FROM links WHERE enterprise = ? AND team = ? AND slack_user = ? AND used IS NULL AND tries < ?";
  await tx.run(earlier, [...key, LINK_TRIES]);
  const sql = `INSERT INTO links (code_hash, enterprise, team, slack_user, display, created, expires)
    VALUES (?, ?, ?, ?, ?, ?, ?)`;
  await tx.run(sql, [made.codeHash, ...key, made.display, tx.now, made.expires]);
  return (await openLink(tx, made.codeHash, tx.now)) as LinkRow;
}

/** The pending code with this hash: not used, not expired, not guessed at too often. */
export async function openLink(
  reader: Reader,
  codeHash: Uint8Array,
  now: number,
): Promise<LinkRow | undefined> {
  const sql = `SELECT ${COLUMNS} FROM links WHERE code_hash = ? AND ${OPEN}`;
  const stored = await reader.get<Stored>(sql, [codeHash, now]);
  return stored && rowOf(stored);
}

/** Uses a code up; `conflict` when it was used, expired or died in the meantime. */
export async function useLink(tx: Tx, id: number): Promise<LinkRow> {
  const changed = await tx.run(`UPDATE links SET used = ? WHERE id = ? AND ${OPEN}`, [tx.now, id, tx.now]);
  if (changed === 0) throw new SallyportError("conflict", "This code was used or is no longer valid.");
  return rowOf((await tx.get<Stored>(`SELECT ${COLUMNS} FROM links WHERE id = ?`, [id])) as Stored);
}

/** A wrong code could have been a guess at any open one, so it counts against each. Returns how many are open still. */
export async function countWrongLink(tx: Tx): Promise<number> {
  await tx.run(`UPDATE links SET tries = tries + 1 WHERE ${OPEN}`, [tx.now]);
  const row = await tx.get<{ n: number }>(`SELECT count(*) AS n FROM links WHERE ${OPEN}`, [tx.now]);
  return row?.n ?? 0;
}

/** Removes a page of what expired before a time. Returns how many: until it is none, there may be more. */
export function pruneLinks(tx: Tx, before: number): Promise<number> {
  const sql = `DELETE FROM links WHERE id IN (SELECT id FROM links WHERE expires < ? LIMIT ${PRUNE_ROWS})`;
  return tx.runUnlogged(sql, [before]);
}
