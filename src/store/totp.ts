import type { Reader, Tx } from "./tx.ts";
import type { UserRow } from "./users.ts";

/** A user's authenticator. Times in ms since the epoch. */
export interface Totp {
  userId: string;
  secret: Buffer;
  enrolled: number;
  /** Time step of the last code that was taken. */
  lastStep: number;
  /** Wrong codes since the last right one. */
  failures: number;
  /** No code is looked at before. */
  retryAt: number;
}

const COLUMNS = `user_id AS userId, secret, enrolled, last_step AS lastStep, failures, retry_at AS retryAt`;

export function getTotp(reader: Reader, userId: string): Promise<Totp | undefined> {
  return reader.get(`SELECT ${COLUMNS} FROM totp WHERE user_id = ?`, [userId]);
}

/** Who has an authenticator, and since when; never its secret. */
export async function enrolledSince(reader: Reader, userId: string): Promise<number | null> {
  const sql = "SELECT enrolled FROM totp WHERE user_id = ?";
  return (await reader.get<{ enrolled: number }>(sql, [userId]))?.enrolled ?? null;
}

/** In place of an earlier one. `step`: of the code that proved it. Returns whether there was one. */
export async function setTotp(
  tx: Tx,
  made: { user: Pick<UserRow, "id">; secret: Uint8Array; step: number },
): Promise<boolean> {
  const had = await removeTotp(tx, made.user.id);
  const sql = "INSERT INTO totp (user_id, secret, enrolled, last_step) VALUES (?, ?, ?, ?)";
  await tx.run(sql, [made.user.id, made.secret, tx.now, made.step]);
  return had;
}

export async function removeTotp(tx: Tx, userId: string): Promise<boolean> {
  return (await tx.run("DELETE FROM totp WHERE user_id = ?", [userId])) > 0;
}

export async function codeTaken(tx: Tx, userId: string, step: number): Promise<void> {
  const sql = "UPDATE totp SET last_step = ?, failures = 0, retry_at = 0 WHERE user_id = ?";
  await tx.run(sql, [step, userId]);
}

export async function codeFailed(
  tx: Tx,
  userId: string,
  now: Pick<Totp, "failures" | "retryAt">,
): Promise<void> {
  await tx.run("UPDATE totp SET failures = ?, retry_at = ? WHERE user_id = ?", [
    now.failures,
    now.retryAt,
    userId,
  ]);
}
