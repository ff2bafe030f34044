import { SallyportError } from "../core/errors.ts";
import { newRunId } from "../core/run.ts";
import { pageLimit } from "./ids.ts";
import { deletePage, PRUNE_ROWS } from "./prune.ts";
import type { Reader, Tx } from "./tx.ts";

export interface OutputChunk {
  stream: "out" | "err";
  bytes: Uint8Array;
}

export interface StoredChunk {
  seq: number;
  stream: "out" | "err";
  /** ms since the epoch. */
  time: number;
  bytes: Buffer;
}

/** A stored chunk's bound; a longer one is cut into several. */
const CHUNK = 256 * 1024;

/**
 * Keeps a run's (already redacted) output up to `max` bytes in all; the rest is dropped and the run marked as
 * truncated. Not an entry of the log: what the run printed is data, that it ran is logged.
 */
export async function addOutput(
  tx: Tx,
  run: string,
  chunks: readonly OutputChunk[],
  max: number,
): Promise<{ stored: number; dropped: number }> {
  const known = await tx.get<{ bytes: number; seq: number }>(
    "SELECT output_bytes AS bytes, output_seq AS seq FROM runs WHERE id = ?",
    [run],
  );
  if (!known) throw new SallyportError("not_found", `There is no run ${run}.`);
  let room = Math.max(0, max - known.bytes);
  let { seq } = known;
  let stored = 0;
  let dropped = 0;
  for (const { stream, bytes } of chunks) {
    const kept = bytes.subarray(0, room);
    for (let at = 0; at < kept.length; at += CHUNK) {
      const sql = "INSERT INTO run_output (run, seq, stream, time, bytes) VALUES (?, ?, ?, ?, ?)";
      await tx.runUnlogged(sql, [run, seq, stream, tx.now, kept.subarray(at, at + CHUNK)]);
      seq += 1;
    }
    room -= kept.length;
    stored += kept.length;
    dropped += bytes.length - kept.length;
  }
  const sql =
    "UPDATE runs SET output_bytes = output_bytes + ?, output_seq = ?, truncated = max(truncated, ?) WHERE id = ?";
  await tx.runUnlogged(sql, [stored, seq, dropped > 0, run]);
  return { stored, dropped };
}

/** In order, from one chunk on; ends with the chunk that reaches the limit (by default 1 MiB). */
export async function readOutput(
  reader: Reader,
  run: string,
  page: { from?: number; limitBytes?: number } = {},
): Promise<StoredChunk[]> {
  const limit = pageLimit(page.limitBytes, 1024 * 1024, 64 * 1024 * 1024);
  const sql =
    "SELECT seq, stream, time, bytes FROM run_output WHERE run = ? AND seq >= ? ORDER BY seq LIMIT 64";
  const found: StoredChunk[] = [];
  let size = 0;
  for (let from = page.from ?? 0; size < limit; ) {
    const rows = await reader.all<StoredChunk>(sql, [run, from]);
    for (const row of rows) {
      found.push(row);
      size += row.bytes.length;
      if (size >= limit) break;
    }
    if (rows.length < 64) break;
    from = (rows.at(-1) as StoredChunk).seq + 1;
  }
  return found;
}

/**
 * Forgets a page of the output of runs that ended before a time, oldest first; their rows and log entries stay. Returns how
 * many chunks: until it is none, there may be more.
 */
export async function pruneOutput(tx: Tx, before: number): Promise<number> {
  // A run's id begins with the time of its request, so that newer output need not be looked at to know that it stays.
  const sql = `SELECT o.rowid AS id, length(o.bytes) AS size FROM run_output o CROSS JOIN runs ON runs.id = o.run
    WHERE o.run < ? AND runs.ended < ? ORDER BY o.run, o.seq LIMIT ${PRUNE_ROWS}`;
  const bound = newRunId(Math.max(0, before), new Uint8Array(6));
  return deletePage(tx, "run_output", await tx.all(sql, [bound, before]));
}
