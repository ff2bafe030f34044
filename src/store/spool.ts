import type { AuditEvent } from "../audit/event.ts";
import type { Tx } from "./tx.ts";

/**
 * Takes events that were written down while sealed into the log, in their order. A source (one spool file) is counted,
 * so that a kill between this and the file's removal does not take a record twice. Returns how many were new.
 */
export async function importSpool(
  tx: Tx,
  spool: { source: string; records: readonly AuditEvent[] },
): Promise<number> {
  const known = await tx.get<{ taken: number }>("SELECT taken FROM spool WHERE source = ?", [spool.source]);
  const fresh = spool.records.slice(known?.taken ?? 0);
  if (fresh.length === 0) return 0;
  for (const event of fresh) tx.log(event);
  await tx.run(
    "INSERT INTO spool (source, taken) VALUES (?, ?) ON CONFLICT (source) DO UPDATE SET taken = excluded.taken",
    [spool.source, spool.records.length],
  );
  return fresh.length;
}
