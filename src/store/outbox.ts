import { SallyportError } from "../core/errors.ts";
import { pageLimit } from "./ids.ts";
import { deletePage, PRUNE_ROWS } from "./prune.ts";
import type { Reader, Tx } from "./tx.ts";

/** Something owed to Slack. It is written with the change that it tells of, so that a crash can't lose it. */
export interface Post {
  /** Grows in the order in which posts were owed. */
  id: number;
  /** The same nonce is the same post: this row and the gateway's memory see to it that it is sent once. */
  nonce: string;
  kind: string;
  channel: string;
  thread: string | null;
  run: string | null;
  /** Of an update: the message's ts, or the nonce of the post that makes it. Of a post: the request that it answers. */
  target: string | null;
  /** JSON of a wire Document. */
  doc: string;
  parts: Buffer[];
  state: "owed" | "sending" | "sent" | "failed";
  /** Slack's name for the message, once sent. */
  ts: string | null;
  attempts: number;
  nextTry: number;
  created: number;
  error: string | null;
}

const COLUMNS = `id, nonce, kind, channel, thread, run, target, doc, state, ts, attempts,
  next_try AS nextTry, created, error`;

async function withParts(reader: Reader, posts: Omit<Post, "parts">[]): Promise<Post[]> {
  const complete: Post[] = [];
  for (const post of posts) {
    const sql = "SELECT bytes FROM outbox_parts WHERE post = ? ORDER BY n";
    const parts = await reader.all<{ bytes: Buffer }>(sql, [post.id]);
    complete.push({ ...post, parts: parts.map((part) => part.bytes) });
  }
  return complete;
}

/** The same nonce again is the same post, so that a command done twice after a crash says so once. */
export async function owe(
  tx: Tx,
  made: Pick<Post, "nonce" | "kind" | "channel" | "doc"> & {
    thread?: string | null;
    run?: string | null;
    target?: string | null;
    parts?: readonly Uint8Array[];
    /** ms since the epoch: not before. */
    from?: number;
  },
): Promise<Post> {
  const known = await postByNonce(tx, made.nonce);
  if (known) return known;
  await tx.runUnlogged(
    `INSERT INTO outbox (nonce, kind, channel, thread, run, target, doc, state, next_try, created, changed)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'owed', ?9, ?8, ?8)`,
    [
      made.nonce,
      made.kind,
      made.channel,
      made.thread ?? null,
      made.run ?? null,
      made.target ?? null,
      made.doc,
      tx.now,
      made.from ?? tx.now,
    ],
  );
  for (const [n, bytes] of (made.parts ?? []).entries()) {
    const sql =
      "INSERT INTO outbox_parts (post, n, bytes) VALUES ((SELECT id FROM outbox WHERE nonce = ?), ?, ?)";
    await tx.runUnlogged(sql, [made.nonce, n, bytes]);
  }
  return (await postByNonce(tx, made.nonce)) as Post;
}

/** What may be sent now, oldest first; by default 100. */
export async function due(reader: Reader, ask: { now: number; limit?: number }): Promise<Post[]> {
  const sql = `SELECT ${COLUMNS} FROM outbox WHERE state = 'owed' AND next_try <= ? ORDER BY id LIMIT ?`;
  return withParts(reader, await reader.all(sql, [ask.now, pageLimit(ask.limit)]));
}

/** Durable before the call to Slack: what is found in this state after a crash may have arrived. */
export function markSending(tx: Tx, id: number): Promise<void> {
  return move(tx, id, ["owed"], "state = 'sending', attempts = attempts + 1, error = NULL", []);
}

export async function markSent(tx: Tx, id: number, ts: string | null): Promise<void> {
  await move(tx, id, ["owed", "sending"], "state = 'sent', ts = ?", [ts]);
  await tx.runUnlogged("DELETE FROM outbox_parts WHERE post = ?", [id]);
}

/** Tried again at `nextTry` (ms); null gives it up. */
export async function markFailed(
  tx: Tx,
  id: number,
  failure: { error: string; nextTry: number | null },
): Promise<void> {
  const { error, nextTry } = failure;
  const text = error.slice(0, 1000);
  if (nextTry === null) await move(tx, id, ["owed", "sending"], "state = 'failed', error = ?", [text]);
  else await move(tx, id, ["owed", "sending"], "state = 'owed', error = ?, next_try = ?", [text, nextTry]);
}

/** For a post that nobody took on its way to Slack. */
export function backToOwed(tx: Tx, id: number): Promise<void> {
  return move(tx, id, ["sending"], "state = 'owed'", []);
}

export async function postByNonce(reader: Reader, nonce: string): Promise<Post | undefined> {
  const found = await reader.all<Omit<Post, "parts">>(`SELECT ${COLUMNS} FROM outbox WHERE nonce = ?`, [
    nonce,
  ]);
  return (await withParts(reader, found))[0];
}

export async function interrupted(reader: Reader): Promise<Post[]> {
  const sql = `SELECT ${COLUMNS} FROM outbox WHERE state = 'sending' ORDER BY id LIMIT 1000`;
  return withParts(reader, await reader.all(sql));
}

/** Slack can be reached anew: nothing that is owed waits longer. */
export function hurry(tx: Tx): Promise<number> {
  return tx.runUnlogged("UPDATE outbox SET next_try = ?1 WHERE state = 'owed' AND next_try > ?1", [tx.now]);
}

/** What has been owed since before a time, oldest first. */
export async function overdue(reader: Reader, before: number): Promise<Post[]> {
  const sql = `SELECT ${COLUMNS} FROM outbox WHERE state = 'owed' AND created < ? ORDER BY id LIMIT ${PRUNE_ROWS}`;
  return withParts(reader, await reader.all(sql, [before]));
}

/** Forgets a page of what ended before a time, oldest first. Returns how many: until it is none, there may be more. */
export async function pruneOutbox(tx: Tx, before: number): Promise<number> {
  const sql = `SELECT id, length(doc) +
      coalesce((SELECT sum(length(bytes)) FROM outbox_parts WHERE post = outbox.id), 0) AS size
    FROM outbox WHERE state IN ('sent', 'failed') AND changed < ? ORDER BY changed LIMIT ${PRUNE_ROWS}`;
  return deletePage(tx, "outbox", await tx.all(sql, [before]));
}

async function move(
  tx: Tx,
  id: number,
  from: Post["state"][],
  set: string,
  params: (string | number | null)[],
): Promise<void> {
  const states = from.map((state) => `'${state}'`).join(", ");
  const sql = `UPDATE outbox SET ${set}, changed = ? WHERE id = ? AND state IN (${states})`;
  if ((await tx.runUnlogged(sql, [...params, tx.now, id])) === 1) return;
  throw new SallyportError("conflict", `Post ${id} is not ${from.join(" or ")}.`);
}
