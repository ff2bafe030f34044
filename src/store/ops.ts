import { SallyportError } from "../core/errors.ts";
import type { Reader, Tx } from "./tx.ts";

export interface OpRow {
  namespace: string;
  name: string;
  /** The number of the version that runs; null until one is activated. */
  active: number | null;
  disabled: boolean;
  created: number;
}

/** What was published once; never changed. */
export interface OpVersion {
  namespace: string;
  name: string;
  /** 1, 2, 3 ... within its Op. */
  number: number;
  /** "sha256:" and 64 hex digits, of the encoded bundle. */
  digest: string;
  /** Canonical JSON, as core/manifest writes it. */
  manifest: string;
  /** A user's id, and the account of this host that it came from; null: not known. */
  publisher: string;
  uid: number | null;
  loginUid: number | null;
  created: number;
  /** Size of the encoded bundle. */
  bytes: number;
}

interface StoredOp extends Omit<OpRow, "disabled"> {
  disabled: number;
}

const OP = "namespace, name, active, disabled, created";
const VERSION = `v.namespace, v.name, v.number, v.digest, v.manifest, v.publisher, v.uid, v.login_uid AS loginUid, v.created,
  (SELECT length(b.bytes) FROM bundles b WHERE b.digest = v.digest) AS bytes`;

const opOf = (stored: StoredOp): OpRow => ({ ...stored, disabled: stored.disabled === 1 });

/**
 * Keeps a bundle as the Op's next version, and makes the Op if it is new; does not activate it. A digest that the Op
 * has already gives back the version that has it, so that publishing twice is publishing once.
 */
export async function publishVersion(
  tx: Tx,
  made: Omit<OpVersion, "number" | "created" | "bytes"> & { bundle: Uint8Array },
): Promise<OpVersion> {
  const { namespace, name, digest } = made;
  const sameDigest = `SELECT ${VERSION} FROM op_versions v WHERE v.namespace = ? AND v.name = ? AND v.digest = ?`;
  const known = await tx.get<OpVersion>(sameDigest, [namespace, name, digest]);
  if (known) return known;
  const makeOp = "INSERT OR IGNORE INTO ops (namespace, name, created) VALUES (?, ?, ?)";
  await tx.run(makeOp, [namespace, name, tx.now]);
  await tx.run("INSERT OR IGNORE INTO bundles (digest, bytes) VALUES (?, ?)", [digest, made.bundle]);
  await tx.run(
    `INSERT INTO op_versions (namespace, name, number, digest, manifest, publisher, uid, login_uid, created)
     SELECT ?1, ?2, coalesce(max(number), 0) + 1, ?3, ?4, ?5, ?6, ?7, ?8
       FROM op_versions WHERE namespace = ?1 AND name = ?2`,
    [namespace, name, digest, made.manifest, made.publisher, made.uid, made.loginUid, tx.now],
  );
  return (await tx.get<OpVersion>(sameDigest, [namespace, name, digest])) as OpVersion;
}

/** Who made a version the one that runs, from which account of this host. */
export interface Activation {
  namespace: string;
  name: string;
  number: number;
  userId: string;
  uid: number | null;
  loginUid: number | null;
  created: number;
}

export async function activateVersion(tx: Tx, made: Omit<Activation, "created">): Promise<void> {
  const { namespace, name, number } = made;
  if (!(await getVersion(tx, namespace, name, number))) {
    throw new SallyportError("not_found", `${namespace}/${name} has no version ${number}.`);
  }
  const sql = "UPDATE ops SET active = ? WHERE namespace = ? AND name = ?";
  await tx.run(sql, [number, namespace, name]);
  await tx.run(
    `INSERT INTO op_activations (namespace, name, number, user_id, uid, login_uid, created)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
    [namespace, name, number, made.userId, made.uid, made.loginUid, tx.now],
  );
}

const ACTIVATION = "namespace, name, number, user_id AS userId, uid, login_uid AS loginUid, created";

/** Newest first. */
export function listActivations(reader: Reader, namespace: string, name: string): Promise<Activation[]> {
  const sql = `SELECT ${ACTIVATION} FROM op_activations WHERE namespace = ? AND name = ? ORDER BY id DESC LIMIT 1000`;
  return reader.all(sql, [namespace, name]);
}

/** The last one of a version; undefined: it never was active, or was before activations were kept. */
export function lastActivation(
  reader: Reader,
  { namespace, name, number }: Pick<OpVersion, "namespace" | "name" | "number">,
): Promise<Activation | undefined> {
  const sql = `SELECT ${ACTIVATION} FROM op_activations
    WHERE namespace = ? AND name = ? AND number = ? ORDER BY id DESC LIMIT 1`;
  return reader.get(sql, [namespace, name, number]);
}

export function versionByDigest(
  reader: Reader,
  namespace: string,
  name: string,
  digest: string,
): Promise<OpVersion | undefined> {
  const sql = `SELECT ${VERSION} FROM op_versions v WHERE v.namespace = ? AND v.name = ? AND v.digest = ?`;
  return reader.get(sql, [namespace, name, digest]);
}

export async function setOpDisabled(
  tx: Tx,
  namespace: string,
  name: string,
  disabled: boolean,
): Promise<void> {
  const sql = "UPDATE ops SET disabled = ? WHERE namespace = ? AND name = ?";
  const changed = await tx.run(sql, [disabled, namespace, name]);
  if (changed === 0) throw new SallyportError("not_found", `There is no Op ${namespace}/${name}.`);
}

export async function getOp(reader: Reader, namespace: string, name: string): Promise<OpRow | undefined> {
  const sql = `SELECT ${OP} FROM ops WHERE namespace = ? AND name = ?`;
  const stored = await reader.get<StoredOp>(sql, [namespace, name]);
  return stored && opOf(stored);
}

export async function listOps(reader: Reader, filter: { namespace?: string } = {}): Promise<OpRow[]> {
  const where = filter.namespace === undefined ? "" : "WHERE namespace = ?";
  const params = filter.namespace === undefined ? [] : [filter.namespace];
  const sql = `SELECT ${OP} FROM ops ${where} ORDER BY namespace, name LIMIT 10000`;
  return (await reader.all<StoredOp>(sql, params)).map(opOf);
}

/** The active version of every Op that may run. */
export function activeOps(reader: Reader): Promise<OpVersion[]> {
  const sql = `SELECT ${VERSION} FROM ops o JOIN op_versions v
      ON v.namespace = o.namespace AND v.name = o.name AND v.number = o.active
    WHERE o.disabled = 0 ORDER BY v.namespace, v.name LIMIT 10000`;
  return reader.all(sql);
}

/** The active version of every Op that has one, disabled or not, by the time when the Op was first published. */
export function activeByAge(reader: Reader): Promise<OpVersion[]> {
  const sql = `SELECT ${VERSION} FROM ops o JOIN op_versions v
      ON v.namespace = o.namespace AND v.name = o.name AND v.number = o.active
    ORDER BY o.created, v.namespace, v.name LIMIT 10000`;
  return reader.all(sql);
}

const WANTED = {
  active: "(SELECT active FROM ops WHERE namespace = ?1 AND name = ?2)",
  newest: "(SELECT max(number) FROM op_versions WHERE namespace = ?1 AND name = ?2)",
};

export function getVersion(
  reader: Reader,
  namespace: string,
  name: string,
  number: number | keyof typeof WANTED,
): Promise<OpVersion | undefined> {
  const wanted = typeof number === "number" ? "CAST(?3 AS INTEGER)" : WANTED[number];
  const sql = `SELECT ${VERSION} FROM op_versions v WHERE v.namespace = ?1 AND v.name = ?2 AND v.number = ${wanted}`;
  return reader.get(sql, typeof number === "number" ? [namespace, name, number] : [namespace, name]);
}

/** Of each Op the newest version, where that is newer than the active one and never was active: by "namespace/name". */
export async function notActivated(reader: Reader): Promise<Map<string, number>> {
  const sql = `SELECT v.namespace || '/' || v.name AS op, v.number FROM ops o JOIN op_versions v
      ON v.namespace = o.namespace AND v.name = o.name
    WHERE v.number > coalesce(o.active, 0)
      AND v.number = (SELECT max(n.number) FROM op_versions n WHERE n.namespace = v.namespace AND n.name = v.name)
      AND NOT EXISTS (SELECT 1 FROM op_activations a
        WHERE a.namespace = v.namespace AND a.name = v.name AND a.number = v.number)
    LIMIT 10000`;
  const rows = await reader.all<{ op: string; number: number }>(sql);
  return new Map(rows.map(({ op, number }) => [op, number]));
}

/** Newest first. */
export function listVersions(reader: Reader, namespace: string, name: string): Promise<OpVersion[]> {
  const sql = `SELECT ${VERSION} FROM op_versions v WHERE v.namespace = ? AND v.name = ?
    ORDER BY v.number DESC LIMIT 1000`;
  return reader.all(sql, [namespace, name]);
}

export async function getBundle(reader: Reader, digest: string): Promise<Buffer> {
  const sql = "SELECT bytes FROM bundles WHERE digest = ?";
  const row = await reader.get<{ bytes: Buffer }>(sql, [digest]);
  if (!row) throw new SallyportError("not_found", `There is no bundle ${digest}.`);
  return row.bytes;
}
