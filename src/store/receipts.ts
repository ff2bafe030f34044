import type { Reader, Tx } from "./tx.ts";

/** Slack sends an envelope again for minutes, also after our restart; well beyond that its key is forgotten. */
export const RECEIPT_KEEP_MS = 60 * 60 * 1000;

/** That a command was accepted: durable before it is acknowledged, so that it is done once and is not lost. */
export interface Receipt {
  /** What makes the command the same when it comes again. */
  key: string;
  requestId: string;
  kind: string;
  state: "accepted" | "done" | "refused";
  outcome: string | null;
  created: number;
  finished: number | null;
}

const COLUMNS = "key, request_id AS requestId, kind, state, outcome, created, finished";

/** `fresh` is false when the key or the trigger is known: then nothing is to be done but to answer as before. */
export async function acceptReceipt(
  tx: Tx,
  made: { key: string; trigger: string | null; requestId: string; kind: string; body?: Uint8Array },
): Promise<{ fresh: boolean; receipt: Receipt }> {
  const sql = `INSERT OR IGNORE INTO receipts (key, trigger_id, request_id, kind, state, body, created)
    VALUES (?, ?, ?, ?, 'accepted', ?, ?)`;
  const params = [made.key, made.trigger, made.requestId, made.kind, made.body ?? null, tx.now];
  const fresh = (await tx.runUnlogged(sql, params)) === 1;
  return { fresh, receipt: (await findRepeated(tx, made)) as Receipt };
}

/** The receipt of the same command, which may have come in another envelope: then its trigger is the same. */
export function findRepeated(
  reader: Reader,
  { key, trigger }: { key: string; trigger: string | null },
): Promise<Receipt | undefined> {
  const sql = `SELECT ${COLUMNS} FROM receipts WHERE key = ? OR trigger_id = ? ORDER BY key = ? DESC LIMIT 1`;
  return reader.get(sql, [key, trigger, key]);
}

/** Closes an open receipt; its body is no longer needed. False when it was closed before. */
export async function finishReceipt(
  tx: Tx,
  key: string,
  end: { state: "done" | "refused"; outcome: string },
): Promise<boolean> {
  const sql = `UPDATE receipts SET state = ?, outcome = ?, finished = ?, body = NULL
    WHERE key = ? AND state = 'accepted'`;
  return (await tx.runUnlogged(sql, [end.state, end.outcome, tx.now, key])) === 1;
}

export function findReceipt(reader: Reader, key: string): Promise<Receipt | undefined> {
  return reader.get(`SELECT ${COLUMNS} FROM receipts WHERE key = ?`, [key]);
}

/** What was accepted and has no outcome: after a crash, what is to be finished or answered. Oldest first. */
export function openReceipts(reader: Reader): Promise<(Receipt & { body: Buffer | null })[]> {
  const sql = `SELECT ${COLUMNS}, body FROM receipts WHERE state = 'accepted' ORDER BY created LIMIT 10000`;
  return reader.all(sql);
}

/** Takes an acceptance back that never reached Slack: the redelivery is then a fresh command. False when it was closed. */
export async function withdrawReceipt(tx: Tx, key: string): Promise<boolean> {
  return (await tx.runUnlogged("DELETE FROM receipts WHERE key = ? AND state = 'accepted'", [key])) === 1;
}

/** Forgets finished receipts; an open one stays however old. */
export function pruneReceipts(tx: Tx, before: number): Promise<number> {
  return tx.runUnlogged("DELETE FROM receipts WHERE finished IS NOT NULL AND finished < ?", [before]);
}
