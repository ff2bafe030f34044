import type { Tx } from "./tx.ts";

/**
 * What one mutation may delete. Everybody else waits for it, a receipt for at most 2 s (DESIGN section 4), and what is
 * deleted is overwritten (secure_delete), so that bytes count as well as rows.
 */
export const PRUNE_ROWS = 500;
const PRUNE_BYTES = 4 * 1024 * 1024;

/** Deletes the first of these rows, as many as one mutation may. Returns how many: until it is none, call again. */
export async function deletePage(
  tx: Tx,
  table: "outbox" | "run_output",
  rows: readonly { id: number; size: number }[],
): Promise<number> {
  let size = 0;
  const ids: number[] = [];
  for (const row of rows) {
    size += row.size;
    if (ids.length > 0 && size > PRUNE_BYTES) break;
    ids.push(row.id);
  }
  if (ids.length === 0) return 0;
  const sql = `DELETE FROM ${table} WHERE rowid IN (SELECT value FROM json_each(?))`;
  return tx.runUnlogged(sql, [JSON.stringify(ids)]);
}
