import { checkName } from "../core/identity.ts";
import type { Reader, Tx } from "./tx.ts";

/** A name for an imported root file system, which itself is a directory named by the digest. */
export interface RuntimeRow {
  name: string;
  /** "sha256:" and 64 hex digits, of the image's manifest. */
  digest: string;
  created: number;
}

const COLUMNS = "name, digest, created";

export function getRuntime(reader: Reader, name: string): Promise<RuntimeRow | undefined> {
  return reader.get(`SELECT ${COLUMNS} FROM runtimes WHERE name = ?`, [name]);
}

export function listRuntimes(reader: Reader): Promise<RuntimeRow[]> {
  return reader.all(`SELECT ${COLUMNS} FROM runtimes ORDER BY name LIMIT 10000`);
}

/** Gives the name to this digest, and takes it from the one that had it. */
export async function setRuntime(tx: Tx, made: { name: string; digest: string }): Promise<void> {
  const sql = `INSERT INTO runtimes (name, digest, created) VALUES (?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, created = excluded.created`;
  await tx.run(sql, [checkName("runtime", made.name), made.digest, tx.now]);
}

export async function removeRuntimeName(tx: Tx, name: string): Promise<boolean> {
  return (await tx.run("DELETE FROM runtimes WHERE name = ?", [name])) > 0;
}
