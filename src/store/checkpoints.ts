import { SallyportError } from "../core/errors.ts";
import type { Reader, Tx } from "./tx.ts";

/** A signed note over the log's size and root (C2SP tlog-checkpoint). */
export interface Checkpoint {
  size: number;
  root: Buffer;
  note: string;
  /** When it was stored, ms since the epoch. */
  time: number;
}

const COLUMNS = "size, root, note, time";

/** A size has one checkpoint; the same one again is fine, another root for it is a fork of the log. */
export async function addCheckpoint(tx: Tx, made: Omit<Checkpoint, "time">): Promise<void> {
  const known = await tx.get<Checkpoint>(`SELECT ${COLUMNS} FROM checkpoint WHERE size = ?`, [made.size]);
  if (known && !known.root.equals(made.root)) {
    throw new SallyportError("log_damaged", `Two different roots for size ${made.size}.`);
  }
  if (known) return;
  const sql = "INSERT INTO checkpoint (size, root, note, time) VALUES (?, ?, ?, ?)";
  await tx.runUnlogged(sql, [made.size, made.root, made.note, tx.now]);
}

export function latestCheckpoint(reader: Reader): Promise<Checkpoint | undefined> {
  return reader.get(`SELECT ${COLUMNS} FROM checkpoint ORDER BY size DESC LIMIT 1`);
}

/** In order of size, after one; at most `limit` (1000). */
export function listCheckpoints(
  reader: Reader,
  page: { after?: number; limit?: number } = {},
): Promise<Checkpoint[]> {
  const limit = Math.min(1000, Math.max(1, page.limit ?? 1000));
  const sql = `SELECT ${COLUMNS} FROM checkpoint WHERE size > ? ORDER BY size LIMIT ?`;
  return reader.all(sql, [page.after ?? -1, limit]);
}
