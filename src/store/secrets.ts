import { SallyportError } from "../core/errors.ts";
import type { Reader, Tx } from "./tx.ts";

/** A secret of a namespace, of which no row holds the value in the clear. Times in ms since the epoch. */
export interface SecretRow {
  namespace: string;
  name: string;
  /** The version that runs get; null: removed. */
  version: number | null;
  description: string;
  expires: number | null;
  /** When it was last told that it expires. */
  warned: number | null;
  created: number;
}

export interface SecretVersion {
  namespace: string;
  name: string;
  /** 1, 2, 3 ... within the secret, never used again. */
  number: number;
  /** A user's id. */
  author: string;
  created: number;
  retired: number | null;
  erased: number | null;
  /** JSON of core/vault-source: where its value is; null: sealed here. */
  source: string | null;
}

export interface SealedVersion {
  namespace: string;
  name: string;
  number: number;
  keyId: string;
  sealed: Buffer;
}

export type SecretName = { namespace: string; name: string };

/** More would have a namespace's rotation of keys take too long. */
export const SECRETS_A_NAMESPACE = 1000;

const SECRET = "namespace, name, version, description, expires, warned, created";
const VERSION = "namespace, name, number, author, created, retired, erased, source";
const SEALED = "namespace, name, number, key_id AS keyId, sealed";
const LIVE = "('requested', 'waiting', 'queued', 'running')";

/** Also one that was removed. */
export function getSecret(reader: Reader, { namespace, name }: SecretName): Promise<SecretRow | undefined> {
  return reader.get(`SELECT ${SECRET} FROM secrets WHERE namespace = ? AND name = ?`, [namespace, name]);
}

/** Those that are there, of one namespace or of all. */
export function listSecrets(reader: Reader, namespace?: string): Promise<SecretRow[]> {
  const where = namespace === undefined ? "" : "AND namespace = ?";
  const sql = `SELECT ${SECRET} FROM secrets WHERE version IS NOT NULL ${where} ORDER BY namespace, name`;
  return reader.all(sql, namespace === undefined ? [] : [namespace]);
}

/** Those that are there and expire before a time, the first to expire first. */
export function expiringSecrets(reader: Reader, before: number): Promise<SecretRow[]> {
  const sql = `SELECT ${SECRET} FROM secrets WHERE version IS NOT NULL AND expires < ? ORDER BY expires, namespace, name`;
  return reader.all(sql, [before]);
}

export async function setWarned(tx: Tx, { namespace, name }: SecretName): Promise<void> {
  await tx.run("UPDATE secrets SET warned = ? WHERE namespace = ? AND name = ?", [tx.now, namespace, name]);
}

/** Newest first. */
export function listSecretVersions(
  reader: Reader,
  { namespace, name }: SecretName,
): Promise<SecretVersion[]> {
  const sql = `SELECT ${VERSION} FROM secret_versions WHERE namespace = ? AND name = ? ORDER BY number DESC LIMIT 1000`;
  return reader.all(sql, [namespace, name]);
}

/** The number that the next value of this name gets; it is sealed under that number, and then added. */
export async function nextVersion(reader: Reader, { namespace, name }: SecretName): Promise<number> {
  const sql =
    "SELECT coalesce(max(number), 0) + 1 AS next FROM secret_versions WHERE namespace = ? AND name = ?";
  return (await reader.get<{ next: number }>(sql, [namespace, name]))!.next;
}

/** Makes the secret where there is none of that name, and this version the one that runs get. */
export async function addVersion(
  tx: Tx,
  made: SecretName & { number: number; author: string } & (
      | Pick<SealedVersion, "keyId" | "sealed">
      | { source: string }
    ),
): Promise<void> {
  const { namespace, name, number, author } = made;
  const { keyId, sealed } = "sealed" in made ? made : { keyId: null, sealed: null };
  const source = "source" in made ? made.source : null;
  const sql = "SELECT count(*) AS n FROM secrets WHERE namespace = ? AND version IS NOT NULL";
  if ((await tx.get<{ n: number }>(sql, [namespace]))!.n >= SECRETS_A_NAMESPACE)
    throw new SallyportError(
      "conflict",
      `${namespace} has ${SECRETS_A_NAMESPACE} secrets; remove one first.`,
    );
  await tx.run("INSERT OR IGNORE INTO secrets (namespace, name, created) VALUES (?, ?, ?)", [
    namespace,
    name,
    tx.now,
  ]);
  await retire(tx, made);
  await tx.run(
    `INSERT INTO secret_versions (namespace, name, number, key_id, sealed, source, author, created)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    [namespace, name, number, keyId, sealed, source, author, tx.now],
  );
  await tx.run("UPDATE secrets SET version = ?, warned = NULL WHERE namespace = ? AND name = ?", [
    number,
    namespace,
    name,
  ]);
}

export function secretVersion(
  reader: Reader,
  { namespace, name }: SecretName,
  number: number,
): Promise<SecretVersion | undefined> {
  const sql = `SELECT ${VERSION} FROM secret_versions WHERE namespace = ? AND name = ? AND number = ?`;
  return reader.get(sql, [namespace, name, number]);
}

/** What is absent stays; null takes the date away. */
export async function describeSecret(
  tx: Tx,
  { namespace, name }: SecretName,
  about: { description?: string | undefined; expires?: number | null | undefined },
): Promise<void> {
  if (about.description !== undefined)
    await tx.run("UPDATE secrets SET description = ? WHERE namespace = ? AND name = ?", [
      about.description,
      namespace,
      name,
    ]);
  if (about.expires !== undefined)
    await tx.run("UPDATE secrets SET expires = ?, warned = NULL WHERE namespace = ? AND name = ?", [
      about.expires,
      namespace,
      name,
    ]);
}

/** No run gets it from here on. */
export async function removeSecret(tx: Tx, { namespace, name }: SecretName): Promise<void> {
  await retire(tx, { namespace, name });
  await tx.run(
    "UPDATE secrets SET version = NULL, description = '', expires = NULL WHERE namespace = ? AND name = ?",
    [namespace, name],
  );
}

async function retire(tx: Tx, { namespace, name }: SecretName): Promise<void> {
  const sql = "UPDATE secret_versions SET retired = ? WHERE namespace = ? AND name = ? AND retired IS NULL";
  await tx.run(sql, [tx.now, namespace, name]);
}

/** Erases the values of retired versions that no run holds. Returns how many. */
export function eraseRetired(tx: Tx): Promise<number> {
  // A row of its own says that it was retired; this is what that led to.
  return tx.runUnlogged(
    `UPDATE secret_versions SET sealed = NULL, key_id = NULL, erased = ?
     WHERE retired IS NOT NULL AND erased IS NULL AND NOT EXISTS (
       SELECT 1 FROM run_secrets u JOIN runs r ON r.id = u.run
       WHERE u.namespace = secret_versions.namespace AND u.name = secret_versions.name
         AND u.number = secret_versions.number AND r.state IN ${LIVE})`,
    [tx.now],
  );
}

/** A row for each secret that the run is started with. */
export async function addRunSecret(
  tx: Tx,
  made: { run: string; namespace: string; name: string; number: number },
): Promise<void> {
  await tx.run("INSERT INTO run_secrets (run, namespace, name, number) VALUES (?, ?, ?, ?)", [
    made.run,
    made.namespace,
    made.name,
    made.number,
  ]);
}

/** What was sealed of what the run was started with, by name. */
export async function runSecrets(reader: Reader, run: string): Promise<Map<string, SealedVersion>> {
  const sql = `SELECT v.namespace, v.name, v.number, v.key_id AS keyId, v.sealed
    FROM run_secrets u JOIN secret_versions v
      ON v.namespace = u.namespace AND v.name = u.name AND v.number = u.number
    WHERE u.run = ? AND v.sealed IS NOT NULL`;
  const rows = await reader.all<SealedVersion>(sql, [run]);
  return new Map(rows.map((row) => [row.name, row]));
}

/** Live runs that were started with a version, in the order of their ids. */
export function runsHolding(
  reader: Reader,
  { namespace, name }: SecretName,
): Promise<{ run: string; number: number }[]> {
  const sql = `SELECT u.run, u.number FROM run_secrets u JOIN runs r ON r.id = u.run
    WHERE u.namespace = ? AND u.name = ? AND r.state IN ${LIVE} ORDER BY u.run LIMIT 1000`;
  return reader.all(sql, [namespace, name]);
}

/** Those sealed under a key, at most so many. */
export function sealedUnder(reader: Reader, keyId: string, limit: number): Promise<SealedVersion[]> {
  const sql = `SELECT ${SEALED} FROM secret_versions WHERE key_id = ? ORDER BY name, number LIMIT ?`;
  return reader.all(sql, [keyId, limit]);
}

export async function reseal(tx: Tx, made: SealedVersion): Promise<void> {
  const { namespace, name, number, keyId, sealed } = made;
  const sql =
    "UPDATE secret_versions SET key_id = ?, sealed = ? WHERE namespace = ? AND name = ? AND number = ?";
  await tx.run(sql, [keyId, sealed, namespace, name, number]);
}
