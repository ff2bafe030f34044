import { SallyportError } from "../core/errors.ts";
import { parseOpRef } from "../core/identity.ts";
import { activeByAge, activeOps, listOps, type OpVersion } from "../store/ops.ts";
import type { Reader } from "../store/tx.ts";
import { type Access, type ActiveOp, tryManifest } from "./access.ts";
import type { Caller } from "./callers.ts";

/** Every active Op that the caller may see where the request came from, by name. */
export async function visibleOps(access: Access, reader: Reader, caller: Caller): Promise<ActiveOp[]> {
  return access.allowed(caller, "list", await asActive(access, reader, await activeOps(reader)));
}

/** Every Op with an active version whose log the caller may read where the request came from, disabled ones too. */
export async function readableOps(access: Access, reader: Reader, caller: Caller): Promise<ActiveOp[]> {
  const rows = await listOps(reader);
  const disabled = new Set(rows.filter((row) => row.disabled).map((row) => `${row.namespace}/${row.name}`));
  const ops = await asActive(access, reader, await activeByAge(reader), disabled);
  return access.allowed(caller, "read_log", ops);
}

async function asActive(
  access: Access,
  reader: Reader,
  versions: readonly OpVersion[],
  disabled: ReadonlySet<string> = new Set(),
): Promise<ActiveOp[]> {
  const once = remembering(reader);
  const ops: ActiveOp[] = [];
  for (const version of versions) {
    const isDisabled = disabled.has(`${version.namespace}/${version.name}`);
    // One whose manifest is no longer accepted is left out of a list; who names it in full is told why.
    if (tryManifest(version) !== null) ops.push(await access.activeVersion(once, version, isDisabled));
  }
  return ops;
}

/** Reads each thing once: of two thousand Ops the namespaces are few. */
function remembering(reader: Reader): Reader {
  const known = new Map<string, Promise<unknown>>();
  const once = <T>(key: string, read: () => Promise<T>): Promise<T> => {
    const found = known.get(key) ?? read();
    known.set(key, found);
    return found as Promise<T>;
  };
  const keyOf = (sql: string, params?: readonly unknown[]) => JSON.stringify([sql, params]);
  return {
    get: (sql, params) => once(`get ${keyOf(sql, params)}`, () => reader.get(sql, params)),
    all: (sql, params) => once(`all ${keyOf(sql, params)}`, () => reader.all(sql, params)),
  };
}

/**
 * The Op that `typed` names: in full, or short where that is unambiguous among what this person may see here. An Op named in
 * full is returned whether or not the person may run it: the authorizer refuses, with a reason and an event.
 */
export async function findOp(
  access: Access,
  reader: Reader,
  caller: Caller,
  typed: string,
  action: "run" | "show" | "read_log" = "run",
): Promise<ActiveOp> {
  const { namespace, name } = parseOpRef(typed);
  if (namespace !== null) {
    const op = await access.activeOp(reader, namespace, name);
    return op ?? access.missingOp(caller, action, namespace, name);
  }
  const matches = (await visibleOps(access, reader, caller)).filter((op) => op.version.name === name);
  if (matches.length === 1) return matches[0]!;
  if (matches.length === 0) {
    await refuseHidden(access, reader, caller, name);
    throw new SallyportError(
      "not_found",
      `No Op named ${name} may be run by you here. See what may: /ops list`,
    );
  }
  const names = matches.map((op) => op.row.name).join(", ");
  throw new SallyportError("input_invalid", `${name} is ambiguous here; write one of: ${names}`);
}

/** Somebody who names an Op that they may not see is refused as surely as by its full name: the log has it, the answer does not tell. */
async function refuseHidden(access: Access, reader: Reader, caller: Caller, name: string): Promise<void> {
  for (const row of await listOps(reader, {})) {
    if (row.name !== name || row.disabled || row.active === null) continue;
    const op = await readableOp(access, reader, row);
    if (op === undefined) continue;
    const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
    const decision = access.decide(caller, "list", resource);
    if (!decision.allow) return access.refused(caller, "list", resource, decision);
  }
  return access.hidden(caller, "list", `op ${name}`);
}

/** Undefined where the manifest is no longer accepted, too. */
export async function readableOp(
  access: Access,
  reader: Reader,
  row: { namespace: string; name: string },
): Promise<ActiveOp | undefined> {
  try {
    return await access.activeOp(reader, row.namespace, row.name);
  } catch (error) {
    if (error instanceof SallyportError && error.code === "manifest_invalid") return undefined;
    throw error;
  }
}
