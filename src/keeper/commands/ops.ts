import type { OpRow } from "../../core/authorizer.ts";
import { openBundle } from "../../core/bundle.ts";
import { asSallyportError, SallyportError } from "../../core/errors.ts";
import { parseOpRef } from "../../core/identity.ts";
import { manifestToJson } from "../../core/manifest.ts";
import { manifestWarnings, profileWarnings } from "../../core/manifest-warnings.ts";
import { resourceFaults } from "../../core/resources.ts";
import { listNamespaces } from "../../store/namespaces.ts";
import {
  activateVersion,
  getOp,
  getVersion,
  listVersions,
  type OpVersion,
  publishVersion,
  setOpDisabled,
} from "../../store/ops.ts";
import { getUser } from "../../store/users.ts";
import { readManifest, tryManifest } from "../access.ts";
import { visibleOps } from "../find-op.ts";
import { interpreterWarnings, rootOf } from "../runtimes.ts";
import type { Session } from "../session.ts";
import type { CommandContext, Handlers } from "./command.ts";

export const ops: Handlers = {
  "op.publish": async ({ session, caller, parts }) => {
    await demandSomePublish(session, caller);
    const opened = await openOrRefuse(session, caller, parts[0]!);
    const { manifest, digest } = opened;
    await session.access.demandNamespace(caller, "publish", manifest.namespace);
    await session.access.demand(caller, "publish", {
      kind: "op",
      op: await session.access.opRow(session.store.read, manifest, false),
      namespace: await session.access.namespace(session.store.read, manifest.namespace),
    });
    const narrowed = await checkProfile(session, caller, opened);
    await rootOf(session.store.read, manifest);
    const version = await session.policies.activating(manifest, () =>
      session.store.mutate(async (tx) => {
        const published = await publishVersion(tx, {
          namespace: manifest.namespace,
          name: manifest.name,
          digest,
          manifest: manifestToJson(manifest),
          bundle: parts[0]!,
          publisher: caller.id,
        });
        await activateVersion(tx, manifest.namespace, manifest.name, published.number);
        tx.log({
          type: "op.published",
          outcome: "success",
          actor: caller.actor,
          op: manifest.op,
          namespace: manifest.namespace,
          data: { version: published.number, digest, bytes: parts[0]!.length },
        });
        return published;
      }),
    );
    return {
      op: manifest.op,
      version: version.number,
      digest,
      warnings: [
        ...manifestWarnings(manifest),
        ...narrowed,
        ...interpreterWarnings(manifest),
        ...resourceFaults(manifest, session.access.resources).map((why) => `it can't run here: ${why}.`),
      ],
    };
  },
  "op.list": async ({ session, caller }) => {
    const found = await visibleOps(session.access, session.store.read, caller);
    return {
      ops: found.map((op) => ({
        op: op.row.name,
        summary: op.manifest.summary,
        version: op.version.number,
        digest: op.version.digest,
      })),
    };
  },
  "op.show": async ({ session, caller, params }) => {
    const { version } = await shown(session, caller, params.op, params.version ?? "active");
    return describe(session, version, true);
  },
  "op.versions": async ({ session, caller, params }) => {
    const { version, active } = await shown(session, caller, params.op, "active");
    const versions = await listVersions(session.store.read, version.namespace, version.name);
    return { active, versions: await Promise.all(versions.map((v) => describe(session, v, false))) };
  },
  "op.activate": async (context) => {
    const { session, caller, params } = context;
    const { version } = await shown(session, caller, params.op, params.version);
    await demandOn(context, "activate", version);
    await session.policies.activating(readManifest(version), () =>
      session.store.mutate(async (tx) => {
        await activateVersion(tx, version.namespace, version.name, version.number);
        await setOpDisabled(tx, version.namespace, version.name, false);
        tx.log({
          type: "op.activated",
          outcome: "success",
          actor: caller.actor,
          op: `${version.namespace}/${version.name}`,
          namespace: version.namespace,
          data: { version: version.number, digest: version.digest },
        });
      }),
    );
    return { op: `${version.namespace}/${version.name}`, version: version.number, digest: version.digest };
  },
  "op.disable": async (context) => {
    const { session, caller, params } = context;
    const { version } = await shown(session, caller, params.op, "active");
    await demandOn(context, "activate", version);
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
};

/** A bundle is bytes of anybody's making: whoever may publish nowhere has none of it parsed. */
async function demandSomePublish(
  { access, store }: Session,
  caller: CommandContext<"op.publish">["caller"],
): Promise<void> {
  for (const { name } of await listNamespaces(store.read)) {
    const namespace = await access.namespace(store.read, name);
    if (access.may(caller, "publish", { kind: "namespace", namespace })) return;
  }
  await access.demand(caller, "publish", { kind: "namespace", namespace: { name: "*", channels: "any" } });
}

async function openOrRefuse(
  { store }: Session,
  { actor }: CommandContext<"op.publish">["caller"],
  bytes: Buffer,
): Promise<ReturnType<typeof openBundle>> {
  try {
    return openBundle(bytes);
  } catch (error) {
    const known = asSallyportError(error);
    const refusal =
      known.code === "internal" ? new SallyportError("bundle_invalid", "", { cause: error }) : known;
    return refusePublish(store, actor, refusal);
  }
}

async function refusePublish(
  store: Session["store"],
  actor: CommandContext<"op.publish">["caller"]["actor"],
  refusal: SallyportError,
): Promise<never> {
  const { code, message: reason } = refusal;
  await store.mutate((tx) => {
    tx.log({ type: "op.refused", outcome: "denied", actor, reason, policy: code, data: { code } });
  });
  throw refusal;
}

/** The runner compiles the bundle's own profile; what the ceiling takes from it comes back as warnings. */
async function checkProfile(
  { store, profiles }: Session,
  { actor }: CommandContext<"op.publish">["caller"],
  { manifest, files }: ReturnType<typeof openBundle>,
): Promise<string[]> {
  const file = files.find(({ path }) => path === manifest.seccomp);
  if (file === undefined || !manifest.seccomp.endsWith(".json")) return [];
  const { ok, reason, notes } = await profiles.check(file.bytes);
  if (ok) return profileWarnings(file.path, notes);
  return refusePublish(
    store,
    actor,
    new SallyportError("bundle_invalid", `seccomp, ${file.path}: ${reason}`),
  );
}

async function demandOn(
  { session, caller }: Pick<CommandContext<"op.activate">, "session" | "caller">,
  action: "activate",
  version: OpVersion,
): Promise<void> {
  const namespace = await session.access.namespace(session.store.read, version.namespace);
  const op = await rowOf(session, version, false);
  await session.access.demand(caller, action, { kind: "op", op, namespace });
}

async function shown(
  session: Session,
  caller: CommandContext<"op.show">["caller"],
  typed: string,
  number: number | "active",
): Promise<{ version: OpVersion; active: number | null }> {
  const { namespace, name } = parseOpRef(typed);
  if (namespace === null) throw new SallyportError("usage", `Write the Op in full: NAMESPACE/${name}`);
  const op = await getOp(session.store.read, namespace, name);
  const version =
    op === undefined ? undefined : await getVersion(session.store.read, namespace, name, number);
  if (op === undefined) return session.access.missingOp(caller, "show", namespace, name);
  if (version === undefined)
    throw new SallyportError("not_found", `Op ${typed}${number === "active" ? "" : `, version ${number}`}.`);
  const row = await session.access.namespace(session.store.read, namespace);
  const resource = await rowOf(session, version, op.disabled);
  await session.access.demand(caller, "show", { kind: "op", op: resource, namespace: row });
  return { version, active: op.active };
}

/** One that this version can't read can be looked for and disabled, and nothing else. */
async function rowOf({ access, store }: Session, version: OpVersion, disabled: boolean): Promise<OpRow> {
  const manifest = tryManifest(version);
  if (manifest !== null) return access.opRow(store.read, manifest, disabled);
  return { name: `${version.namespace}/${version.name}`, channels: [], confirm: "local", disabled };
}

async function describe(session: Session, version: OpVersion, whole: boolean): Promise<unknown> {
  return {
    op: `${version.namespace}/${version.name}`,
    version: version.number,
    digest: version.digest,
    publisher: (await getUser(session.store.read, version.publisher))?.name ?? version.publisher,
    published: new Date(version.created).toISOString(),
    bytes: version.bytes,
    ...(whole ? { manifest: readManifest(version) } : {}),
  };
}
