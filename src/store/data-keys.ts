import type { Reader, Tx } from "./tx.ts";

/** A namespace's key, wrapped (keys/data-key). */
export interface DataKeyRow {
  /** 32 hex digits */
  id: string;
  namespace: string;
  wrapped: Buffer;
  created: number;
  /** ms since the epoch; null: what is sealed now is sealed under it. */
  retired: number | null;
}

const COLUMNS = "id, namespace, wrapped, created, retired";

export function presentKey(reader: Reader, namespace: string): Promise<DataKeyRow | undefined> {
  return reader.get(`SELECT ${COLUMNS} FROM data_keys WHERE namespace = ? AND retired IS NULL`, [namespace]);
}

export function getKey(reader: Reader, id: string): Promise<DataKeyRow | undefined> {
  return reader.get(`SELECT ${COLUMNS} FROM data_keys WHERE id = ?`, [id]);
}

/** Of one namespace or of all, oldest first. */
export function retiredKeys(reader: Reader, namespace?: string): Promise<DataKeyRow[]> {
  const where = namespace === undefined ? "" : "AND namespace = ?";
  const sql = `SELECT ${COLUMNS} FROM data_keys WHERE retired IS NOT NULL ${where} ORDER BY retired, id LIMIT 1000`;
  return reader.all(sql, namespace === undefined ? [] : [namespace]);
}

/** The namespace's present key from here on; the one before is retired. */
export async function addKey(tx: Tx, made: Pick<DataKeyRow, "id" | "namespace" | "wrapped">): Promise<void> {
  const { id, namespace, wrapped } = made;
  const retire = "UPDATE data_keys SET retired = ? WHERE namespace = ? AND retired IS NULL";
  await tx.run(retire, [tx.now, namespace]);
  const sql = "INSERT INTO data_keys (id, namespace, wrapped, created) VALUES (?, ?, ?, ?)";
  await tx.run(sql, [id, namespace, wrapped, tx.now]);
}

/** Fails where something is still sealed under it: the rows refer to it. False: it is gone already. */
export async function dropKey(tx: Tx, id: string): Promise<boolean> {
  return (await tx.run("DELETE FROM data_keys WHERE id = ? AND retired IS NOT NULL", [id])) > 0;
}
