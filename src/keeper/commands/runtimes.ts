import { SallyportError } from "../../core/errors.ts";
import { checkName } from "../../core/identity.ts";
import { activeOps } from "../../store/ops.ts";
import { getRuntime, listRuntimes, removeRuntimeName, setRuntime } from "../../store/runtimes.ts";
import type { Reader } from "../../store/tx.ts";
import { tryManifest } from "../access.ts";
import type { Session } from "../session.ts";
import type { Handlers } from "./command.ts";

const APPLIANCE = { kind: "appliance" } as const;

/** Names of root file systems. The files are unpacked and removed by the CLI, which the answers tell what nobody uses any more. */
export const runtimes: Handlers = {
  "runtime.set": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const name = checkName("runtime", params.name);
    const { digest, bytes, files } = params;
    const previous = await session.store.mutate(async (tx) => {
      const before = await getRuntime(tx, name);
      await setRuntime(tx, { name, digest });
      tx.log({
        type: "runtime.imported",
        outcome: "success",
        actor: caller.actor,
        data: { runtime: name, digest, previous: before?.digest ?? null, bytes, files },
      });
      return before?.digest;
    });
    return { name, digest, unused: previous === undefined ? null : await ifUnused(session, previous) };
  },
  "runtime.list": async ({ session, caller }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const users = await opsByRoot(session.store.read);
    const rows = await listRuntimes(session.store.read);
    return {
      runtimes: rows.map(({ name, digest, created }) => ({
        name,
        digest,
        imported: new Date(created).toISOString(),
        ops: users.get(name) ?? [],
      })),
    };
  },
  "runtime.unused": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    return { unused: await ifUnused(session, params.digest) };
  },
  "runtime.remove": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const { name } = params;
    const digest = await session.store.mutate(async (tx) => {
      const row = await getRuntime(tx, name);
      if (row === undefined) throw new SallyportError("not_found", `Root file system ${name}.`);
      const [op, ...more] = (await opsByRoot(tx)).get(name) ?? [];
      if (op !== undefined) {
        const others = more.length === 0 ? "" : ` and ${more.length} more`;
        throw new SallyportError(
          "conflict",
          `${op}${others} runs in ${name}: disable it first, or publish it without root: ${name}.`,
        );
      }
      await removeRuntimeName(tx, name);
      tx.log({
        type: "runtime.removed",
        outcome: "success",
        actor: caller.actor,
        data: { runtime: name, digest: row.digest },
      });
      return row.digest;
    });
    return { name, digest, unused: await ifUnused(session, digest) };
  },
};

/** The digest where no name leads to it and no run lives in it; else null: its files stay. */
async function ifUnused(session: Session, digest: string): Promise<string | null> {
  const rows = await listRuntimes(session.store.read);
  return rows.some((row) => row.digest === digest) || session.runs.usesRoot(digest) ? null : digest;
}

/** Active Ops by the name of the root file system that they ask for. */
async function opsByRoot(reader: Reader): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const version of await activeOps(reader)) {
    // One that can't be read can't run either.
    const { root, op } = tryManifest(version) ?? {};
    if (root !== undefined && op !== undefined) found.set(root, [...(found.get(root) ?? []), op]);
  }
  return found;
}
