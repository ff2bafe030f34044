import { SallyportError } from "../core/errors.ts";
import { checkName } from "../core/identity.ts";
import { newId, pageLimit } from "./ids.ts";
import type { Reader, Tx } from "./tx.ts";

export interface UserRow {
  id: string;
  name: string;
  status: "active" | "disabled";
  created: number;
}

/** Who on this host is which user: the kernel tells the uid of whoever connects to the admin socket. */
export interface HostAccount {
  uid: number;
  login: string;
  userId: string;
  created: number;
}

export const USER_COLUMNS = "users.id, users.name, users.status, users.created";

/** `conflict` when the name is taken, also by a disabled user: the log would no longer tell them apart. */
export async function addUser(tx: Tx, made: { name: string }): Promise<UserRow> {
  const name = checkName("user", made.name);
  if (await userByName(tx, name)) {
    throw new SallyportError("conflict", `There is a user named ${name}.`);
  }
  const row: UserRow = { id: newId("u"), name, status: "active", created: tx.now };
  const sql = "INSERT INTO users (id, name, status, created) VALUES (?, ?, ?, ?)";
  await tx.run(sql, [row.id, row.name, row.status, row.created]);
  return row;
}

export function getUser(reader: Reader, id: string): Promise<UserRow | undefined> {
  return reader.get(`SELECT ${USER_COLUMNS} FROM users WHERE id = ?`, [id]);
}

export function userByName(reader: Reader, name: string): Promise<UserRow | undefined> {
  return reader.get(`SELECT ${USER_COLUMNS} FROM users WHERE name = ?`, [name]);
}

/** By name, after one. */
export function listUsers(reader: Reader, page: { after?: string; limit?: number } = {}): Promise<UserRow[]> {
  const sql = `SELECT ${USER_COLUMNS} FROM users WHERE name > ? ORDER BY name LIMIT ?`;
  return reader.all(sql, [page.after ?? "", pageLimit(page.limit, 1000)]);
}

export async function setUserStatus(tx: Tx, id: string, status: UserRow["status"]): Promise<void> {
  const changed = await tx.run("UPDATE users SET status = ? WHERE id = ?", [status, id]);
  if (changed === 0) throw new SallyportError("not_found", "There is no such user.");
}

/** One uid is one user; a user may have several accounts. */
export async function addHostAccount(tx: Tx, made: Omit<HostAccount, "created">): Promise<void> {
  const owner = await userByUid(tx, made.uid);
  if (owner) throw new SallyportError("conflict", `The host account ${made.uid} is ${owner.name}'s.`);
  const sql = "INSERT INTO host_accounts (uid, login, user_id, created) VALUES (?, ?, ?, ?)";
  await tx.run(sql, [made.uid, made.login, made.userId, tx.now]);
}

export async function removeHostAccount(tx: Tx, uid: number): Promise<void> {
  await tx.run("DELETE FROM host_accounts WHERE uid = ?", [uid]);
}

export function userByUid(reader: Reader, uid: number): Promise<UserRow | undefined> {
  const sql = `SELECT ${USER_COLUMNS} FROM host_accounts JOIN users ON users.id = user_id WHERE uid = ?`;
  return reader.get(sql, [uid]);
}

export function listHostAccounts(reader: Reader, userId?: string): Promise<HostAccount[]> {
  const columns = "uid, login, user_id AS userId, created";
  if (userId === undefined)
    return reader.all(`SELECT ${columns} FROM host_accounts ORDER BY uid LIMIT 10000`);
  return reader.all(`SELECT ${columns} FROM host_accounts WHERE user_id = ? ORDER BY uid`, [userId]);
}
