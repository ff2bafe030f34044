import { SallyportError } from "../core/errors.ts";
import type { Reader, Tx } from "./tx.ts";

/** A policy text that a site added. `number` grows with each text of the name; removed ones stay for what they decided. */
export interface PolicyRow {
  name: string;
  number: number;
  text: string;
  /** A user's id. */
  author: string;
  /** ms since the epoch */
  created: number;
  removed: number | null;
}

const COLUMNS = "name, number, text, author, created, removed";

/** Those in force, in the order in which their names were first added. */
export function policiesInForce(reader: Reader): Promise<PolicyRow[]> {
  const sql = `SELECT ${COLUMNS} FROM policies p WHERE removed IS NULL
    ORDER BY (SELECT min(created) FROM policies q WHERE q.name = p.name), name LIMIT 10000`;
  return reader.all(sql);
}

/** Every text there ever was, for what was decided at a time. */
export function policiesAt(reader: Reader, time: number): Promise<PolicyRow[]> {
  const sql = `SELECT ${COLUMNS} FROM policies WHERE created <= ?1 AND (removed IS NULL OR removed > ?1)
    ORDER BY name LIMIT 10000`;
  return reader.all(sql, [time]);
}

export function policyInForce(reader: Reader, name: string): Promise<PolicyRow | undefined> {
  return reader.get(`SELECT ${COLUMNS} FROM policies WHERE name = ? AND removed IS NULL`, [name]);
}

/** `conflict` where one of that name is in force. */
export async function addPolicy(
  tx: Tx,
  made: Pick<PolicyRow, "name" | "text" | "author">,
): Promise<PolicyRow> {
  if ((await policyInForce(tx, made.name)) !== undefined)
    throw new SallyportError(
      "conflict",
      `There is a policy named ${made.name}; --replace puts this in its place.`,
    );
  await tx.run(
    `INSERT INTO policies (name, number, text, author, created)
     SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM policies WHERE name = ?1`,
    [made.name, made.text, made.author, tx.now],
  );
  return (await policyInForce(tx, made.name)) as PolicyRow;
}

/** `not_found` where none of that name is in force. */
export async function removePolicy(tx: Tx, name: string): Promise<PolicyRow> {
  const row = await policyInForce(tx, name);
  if (row === undefined) throw new SallyportError("not_found", `Policy ${name}. See: sallyport policy list`);
  await tx.run("UPDATE policies SET removed = ? WHERE name = ? AND number = ?", [tx.now, name, row.number]);
  return row;
}
