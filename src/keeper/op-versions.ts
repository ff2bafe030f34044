import type { OpRow } from "../core/authorizer.ts";
import { SallyportError } from "../core/errors.ts";
import { parseOpRef } from "../core/identity.ts";
import {
  type Activation,
  activateVersion,
  getOp,
  getVersion,
  type OpVersion,
  setOpDisabled,
} from "../store/ops.ts";
import type { Tx } from "../store/tx.ts";
import { getUser } from "../store/users.ts";
import { readManifest, tryManifest } from "./access.ts";
import type { Caller, HostAccount } from "./callers.ts";
import type { Session } from "./session.ts";

/** Versions of an Op as commands find, show and activate them. */

export type Found = { version: OpVersion; active: number | null; disabled: boolean };

/** `latest`: the active one, or where none is, the newest. Whoever may not see the Op hears nothing of its versions. */
export async function findVersion(
  session: Session,
  caller: Caller,
  typed: string,
  number: number | "active" | "latest",
): Promise<Found> {
  const { store, access } = session;
  const { namespace, name } = parseOpRef(typed);
  if (namespace === null) throw new SallyportError("usage", `Write the Op in full: NAMESPACE/${name}`);
  const op = await getOp(store.read, namespace, name);
  if (op === undefined) return access.missingOp(caller, "show", namespace, name);
  const active = await getVersion(store.read, namespace, name, "active");
  const latest = active ?? (await getVersion(store.read, namespace, name, "newest"));
  const wanted =
    number === "latest"
      ? latest
      : number === "active"
        ? active
        : await getVersion(store.read, namespace, name, number);
  const seen = wanted ?? latest;
  if (seen === undefined) return access.missingOp(caller, "show", namespace, name);
  const row = await access.namespace(store.read, namespace);
  const resource = await rowOf(session, seen, op.disabled);
  await access.demand(caller, "show", { kind: "op", op: resource, namespace: row });
  if (wanted === undefined)
    throw new SallyportError(
      "not_found",
      number === "active"
        ? `No version of ${typed} is active. See: sallyport op versions ${typed}`
        : `${typed} has no version ${number}. See: sallyport op versions ${typed}`,
    );
  return { version: wanted, active: op.active, disabled: op.disabled };
}

export async function demandOn(
  session: Session,
  caller: Caller,
  action: "activate" | "read_code",
  version: OpVersion,
): Promise<void> {
  const namespace = await session.access.namespace(session.store.read, version.namespace);
  const op = await rowOf(session, version, false);
  await session.access.demand(caller, action, { kind: "op", op, namespace });
}

/** One that this version can't read can be looked for and disabled, and nothing else. */
export async function rowOf(
  { access, store }: Session,
  version: OpVersion,
  disabled: boolean,
): Promise<OpRow> {
  const manifest = tryManifest(version);
  if (manifest !== null) return access.opRow(store.read, manifest, disabled, version.publisher);
  const publisher = (await getUser(store.read, version.publisher))?.name;
  const name = `${version.namespace}/${version.name}`;
  return { name, channels: [], confirm: "local", disabled, publisher };
}

/**
 * Joins a transaction: the version runs from then on, and the Op is enabled. `instead`: the version that must still be the
 * active one, so that of two people who go back at the same moment the second does not undo what the first did.
 */
export async function activate(
  tx: Tx,
  { caller, account }: { caller: Caller; account: HostAccount },
  version: OpVersion,
  instead?: number,
): Promise<void> {
  const { namespace, name, number } = version;
  const previous = (await getOp(tx, namespace, name))?.active ?? null;
  if (instead !== undefined && previous !== instead)
    throw new SallyportError(
      "conflict",
      `Version ${previous} of ${namespace}/${name} was activated meanwhile. See: sallyport op versions ${namespace}/${name}`,
    );
  await activateVersion(tx, { namespace, name, number, userId: caller.id, ...account });
  await setOpDisabled(tx, namespace, name, false);
  tx.log({
    type: "op.activated",
    outcome: "success",
    actor: caller.actor,
    op: `${namespace}/${name}`,
    namespace,
    data: {
      version: number,
      digest: version.digest,
      previous,
      publisher: version.publisher,
    },
  });
}

export async function describeVersion(
  { store }: Session,
  version: OpVersion,
  whole: boolean,
): Promise<unknown> {
  return {
    op: `${version.namespace}/${version.name}`,
    version: version.number,
    digest: version.digest,
    publisher: (await getUser(store.read, version.publisher))?.name ?? version.publisher,
    published: new Date(version.created).toISOString(),
    from: { uid: version.uid, loginUid: version.loginUid },
    bytes: version.bytes,
    ...(whole ? { manifest: readManifest(version) } : {}),
  };
}

export async function describeActivation({ store }: Session, one: Activation): Promise<unknown> {
  return {
    version: one.number,
    by: (await getUser(store.read, one.userId))?.name ?? one.userId,
    at: new Date(one.created).toISOString(),
    from: { uid: one.uid, loginUid: one.loginUid },
  };
}
