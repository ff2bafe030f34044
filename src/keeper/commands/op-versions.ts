import { SallyportError } from "../../core/errors.ts";
import {
  getBundle,
  lastActivation,
  listActivations,
  listVersions,
  type OpVersion,
  setOpDisabled,
} from "../../store/ops.ts";
import { readManifest } from "../access.ts";
import { activate, demandOn, describeActivation, describeVersion, findVersion } from "../op-versions.ts";
import { rootOf } from "../runtimes.ts";
import { type CommandContext, type Handlers, WithBytes } from "./command.ts";

export const opVersions: Handlers = {
  "op.show": async ({ session, caller, params }) => {
    const found = await findVersion(session, caller, params.op, params.version ?? "active");
    const { version, active, disabled } = found;
    const shown = (await describeVersion(session, version, true)) as object;
    const last = await lastActivation(session.store.read, version);
    const activated = last === undefined ? null : await describeActivation(session, last);
    return { ...shown, active: active === version.number, disabled, activated };
  },
  "op.versions": async ({ session, caller, params }) => {
    const { version, active, disabled } = await findVersion(session, caller, params.op, "latest");
    const { namespace, name } = version;
    const versions = await listVersions(session.store.read, namespace, name);
    const activations = await listActivations(session.store.read, namespace, name);
    return {
      active,
      disabled,
      versions: await Promise.all(versions.map((v) => describeVersion(session, v, false))),
      activations: await Promise.all(activations.map((one) => describeActivation(session, one))),
    };
  },
  "op.activate": async (context) => {
    const { session, caller, params } = context;
    const { version } = await findVersion(session, caller, params.op, params.version);
    return make(context, version);
  },
  "op.rollback": async (context) => {
    const { session, caller, params } = context;
    const { version: current } = await findVersion(session, caller, params.op, params.version ?? "active");
    if (params.version !== undefined) return make(context, current);
    const activations = await listActivations(session.store.read, current.namespace, current.name);
    const previous = activations.find(({ number }) => number !== current.number);
    if (previous === undefined) {
      await demandOn(session, caller, "activate", current);
      throw new SallyportError(
        "not_found",
        `No other version of ${params.op} was active before; name one: sallyport op rollback ${params.op} VERSION`,
      );
    }
    const { version } = await findVersion(session, caller, params.op, previous.number);
    return make(context, version, current.number);
  },
  "op.disable": async ({ session, caller, params }) => {
    const { version } = await findVersion(session, caller, params.op, "latest");
    await demandOn(session, caller, "activate", { ...version, publisher: "" });
    await session.store.mutate(async (tx) => {
      await setOpDisabled(tx, version.namespace, version.name, true);
      tx.log({
        type: "op.disabled",
        outcome: "success",
        actor: caller.actor,
        op: `${version.namespace}/${version.name}`,
        namespace: version.namespace,
      });
    });
    return { op: `${version.namespace}/${version.name}`, disabled: true };
  },
  "op.code": async ({ session, caller, params }) => {
    const { version } = await findVersion(session, caller, params.op, params.version ?? "active");
    await demandOn(session, caller, "read_code", version);
    await session.store.mutate((tx) => {
      tx.log({
        type: "op.code_read",
        outcome: "success",
        actor: caller.actor,
        op: `${version.namespace}/${version.name}`,
        namespace: version.namespace,
        data: { version: version.number, digest: version.digest },
      });
    });
    const bundle = await getBundle(session.store.read, version.digest);
    return new WithBytes(await describeVersion(session, version, false), bundle);
  },
};

/** What can't run any more is refused before anything changes. `instead`: the version that must still be the active one. */
async function make(
  { session, caller, account }: CommandContext<"op.activate"> | CommandContext<"op.rollback">,
  version: OpVersion,
  instead?: number,
): Promise<unknown> {
  await demandOn(session, caller, "activate", version);
  const manifest = readManifest(version);
  await rootOf(session.store.read, manifest);
  await session.policies.activating(manifest, () =>
    session.store.mutate((tx) => activate(tx, { caller, account }, version, instead)),
  );
  return { op: `${version.namespace}/${version.name}`, version: version.number, digest: version.digest };
}
