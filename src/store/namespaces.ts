import type { Engine } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import { checkName } from "../core/identity.ts";
import type { Reader, Tx } from "./tx.ts";

export interface NamespaceRow {
  name: string;
  /** Its Ops may be used in every channel, not only in those listed. */
  anyChannel: boolean;
  /** What starts its Ops; null: what each of them says, or the host's default. */
  engine: Engine | null;
  /** Who publishes a version may not be who activates it. */
  twoPersonPublish: boolean;
  created: number;
}

interface Stored {
  name: string;
  any_channel: number;
  engine: Engine | null;
  two_person_publish: number;
  created: number;
}

const COLUMNS = "name, any_channel, engine, two_person_publish, created";
const rowOf = (stored: Stored): NamespaceRow => ({
  name: stored.name,
  anyChannel: stored.any_channel === 1,
  engine: stored.engine,
  twoPersonPublish: stored.two_person_publish === 1,
  created: stored.created,
});

export async function addNamespace(
  tx: Tx,
  made: { name: string; anyChannel?: boolean },
): Promise<NamespaceRow> {
  const name = checkName("namespace", made.name);
  if (await getNamespace(tx, name))
    throw new SallyportError("conflict", `There is a namespace named ${name}.`);
  const anyChannel = made.anyChannel ?? false;
  const row: NamespaceRow = { name, anyChannel, engine: null, twoPersonPublish: false, created: tx.now };
  const sql = "INSERT INTO namespaces (name, any_channel, created) VALUES (?, ?, ?)";
  await tx.run(sql, [row.name, row.anyChannel, row.created]);
  return row;
}

export async function getNamespace(reader: Reader, name: string): Promise<NamespaceRow | undefined> {
  const stored = await reader.get<Stored>(`SELECT ${COLUMNS} FROM namespaces WHERE name = ?`, [name]);
  return stored && rowOf(stored);
}

export async function listNamespaces(reader: Reader): Promise<NamespaceRow[]> {
  const rows = await reader.all<Stored>(`SELECT ${COLUMNS} FROM namespaces ORDER BY name LIMIT 10000`);
  return rows.map(rowOf);
}

/** `engine` null: what each Op says. */
export async function setNamespaceEngine(tx: Tx, name: string, engine: Engine | null): Promise<void> {
  await tx.run("UPDATE namespaces SET engine = ? WHERE name = ?", [engine, name]);
}

export async function setTwoPersonPublish(tx: Tx, name: string, on: boolean): Promise<void> {
  await tx.run("UPDATE namespaces SET two_person_publish = ? WHERE name = ?", [on, name]);
}

export async function addChannel(tx: Tx, namespace: string, channel: string): Promise<void> {
  const known = "SELECT 1 FROM namespace_channels WHERE namespace = ? AND channel = ?";
  if (await tx.get(known, [namespace, channel])) {
    throw new SallyportError("conflict", `${channel} is a channel of ${namespace} already.`);
  }
  const sql = "INSERT INTO namespace_channels (namespace, channel, created) VALUES (?, ?, ?)";
  await tx.run(sql, [namespace, channel, tx.now]);
}

export async function removeChannel(tx: Tx, namespace: string, channel: string): Promise<boolean> {
  const sql = "DELETE FROM namespace_channels WHERE namespace = ? AND channel = ?";
  return (await tx.run(sql, [namespace, channel])) > 0;
}

export async function listChannels(reader: Reader, namespace: string): Promise<string[]> {
  const sql = "SELECT channel FROM namespace_channels WHERE namespace = ? ORDER BY channel LIMIT 10000";
  const rows = await reader.all<{ channel: string }>(sql, [namespace]);
  return rows.map((row) => row.channel);
}
