import { SallyportError } from "../core/errors.ts";
import { checkName } from "../core/identity.ts";
import { newId } from "./ids.ts";
import type { Reader, Tx } from "./tx.ts";
import type { UserRow } from "./users.ts";
import { USER_COLUMNS } from "./users.ts";

export interface GroupRow {
  id: string;
  name: string;
  created: number;
}

const COLUMNS = "groups.id, groups.name, groups.created";

export async function addGroup(tx: Tx, made: { name: string }): Promise<GroupRow> {
  const name = checkName("group", made.name);
  if (await groupByName(tx, name)) throw new SallyportError("conflict", `There is a group named ${name}.`);
  const row: GroupRow = { id: newId("g"), name, created: tx.now };
  await tx.run("INSERT INTO groups (id, name, created) VALUES (?, ?, ?)", [row.id, row.name, row.created]);
  return row;
}

export function groupByName(reader: Reader, name: string): Promise<GroupRow | undefined> {
  return reader.get(`SELECT ${COLUMNS} FROM groups WHERE name = ?`, [name]);
}

export function listGroups(reader: Reader): Promise<GroupRow[]> {
  return reader.all(`SELECT ${COLUMNS} FROM groups ORDER BY name LIMIT 10000`);
}

export async function addMember(tx: Tx, groupId: string, userId: string): Promise<void> {
  const known = "SELECT 1 FROM group_members WHERE group_id = ? AND user_id = ?";
  if (await tx.get(known, [groupId, userId]))
    throw new SallyportError("conflict", "Is in this group already.");
  const sql = "INSERT INTO group_members (group_id, user_id, created) VALUES (?, ?, ?)";
  await tx.run(sql, [groupId, userId, tx.now]);
}

export async function removeMember(tx: Tx, groupId: string, userId: string): Promise<boolean> {
  const sql = "DELETE FROM group_members WHERE group_id = ? AND user_id = ?";
  return (await tx.run(sql, [groupId, userId])) > 0;
}

export function listMembers(reader: Reader, groupId: string): Promise<UserRow[]> {
  const sql = `SELECT ${USER_COLUMNS} FROM group_members JOIN users ON users.id = user_id
    WHERE group_id = ? ORDER BY users.name LIMIT 10000`;
  return reader.all(sql, [groupId]);
}
