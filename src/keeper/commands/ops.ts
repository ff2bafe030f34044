import { openBundle } from "../../core/bundle.ts";
import { asSallyportError, SallyportError } from "../../core/errors.ts";
import { manifestToJson } from "../../core/manifest.ts";
import { manifestWarnings, profileWarnings } from "../../core/manifest-warnings.ts";
import { resourceFaults } from "../../core/resources.ts";
import { listNamespaces } from "../../store/namespaces.ts";
import {
  getOp,
  getVersion,
  listOps,
  notActivated,
  publishVersion,
  versionByDigest,
} from "../../store/ops.ts";
import { tryManifest } from "../access.ts";
import { credentialsFound, logAllowed, scanBundle } from "../bundle-secrets.ts";
import { visibleOps } from "../find-op.ts";
import { activate, rowOf } from "../op-versions.ts";
import { interpreterWarnings, rootOf } from "../runtimes.ts";
import type { Session } from "../session.ts";
import type { CommandContext, Handlers } from "./command.ts";

export const ops: Handlers = {
  "op.publish": async (context) => {
    const { session, caller, params, parts, account } = context;
    await demandSomePublish(session, caller);
    const opened = await openOrRefuse(session, caller, parts[0]!);
    const { manifest, digest } = opened;
    await session.access.demandNamespace(caller, "publish", manifest.namespace);
    const { namespace: space, name } = manifest;
    const known = await versionByDigest(session.store.read, space, name, digest);
    const op = await session.access.opRow(session.store.read, manifest, false, known?.publisher ?? caller.id);
    const namespace = await session.access.namespace(session.store.read, space);
    await session.access.demand(caller, "publish", { kind: "op", op, namespace });
    const mayActivate = session.access.decide(caller, "activate", { kind: "op", op, namespace });
    const activates = params.activate && mayActivate.allow;
    const narrowed = await checkProfile(session, caller, opened);
    const found = await scanBundle(opened.files);
    if (found.length > 0 && params.allowSecret === undefined)
      await refusePublish(session.store, caller.actor, credentialsFound(found));
    await rootOf(session.store.read, manifest);
    const publish = () =>
      session.store.mutate(async (tx) => {
        const published = await publishVersion(tx, {
          namespace: space,
          name,
          digest,
          manifest: manifestToJson(manifest),
          bundle: parts[0]!,
          publisher: caller.id,
          ...account,
        });
        tx.log({
          type: "op.published",
          outcome: "success",
          actor: caller.actor,
          op: manifest.op,
          namespace: space,
          data: { version: published.number, digest, bytes: parts[0]!.length },
        });
        if (found.length > 0) logAllowed(tx, { caller, manifest, digest, found, reason: params.allowSecret });
        if (activates) await activate(tx, context, published);
        const row = await getOp(tx, space, name);
        return { version: published.number, active: row?.active === published.number && !row.disabled };
      });
    const { version, active } = await (activates
      ? session.policies.activating(manifest, publish)
      : publish());
    return {
      op: manifest.op,
      version,
      digest,
      active,
      warnings: [
        ...(active || !params.activate ? [] : [`it is not active: ${mayActivate.reason}`]),
        ...manifestWarnings(manifest),
        ...narrowed,
        ...interpreterWarnings(manifest),
        ...resourceFaults(manifest, session.access.resources).map((why) => `it can't run here: ${why}.`),
      ],
    };
  },
  "op.list": async ({ session, caller }) => {
    const found = await visibleOps(session.access, session.store.read, caller);
    const newer = await notActivated(session.store.read);
    const active = found.map(({ row, namespace, manifest, version }): Listed => {
      // Whoever published what runs now may be the one to activate what comes next.
      const op = { ...row, publisher: undefined };
      const may = newer.has(op.name) && session.access.may(caller, "activate", { kind: "op", op, namespace });
      return {
        op: op.name,
        summary: manifest.summary,
        version: version.number,
        digest: version.digest,
        state: "active",
        notActivated: may ? (newer.get(op.name) ?? null) : null,
      };
    });
    const ops = [...active, ...(await dormant(session, caller, newer))];
    return { ops: ops.sort((a, b) => (a.op < b.op ? -1 : 1)) };
  },
};

type Listed = {
  op: string;
  summary: string;
  /** The active one. */
  version: number | null;
  digest: string;
  state: "active" | "disabled" | "not activated";
  /** A newer version that never was active, for who may activate. */
  notActivated: number | null;
};

/** What runs only once somebody activates it, for who may. */
async function dormant(
  session: Session,
  caller: CommandContext<"op.list">["caller"],
  newer: ReadonlyMap<string, number>,
): Promise<Listed[]> {
  const { store, access } = session;
  const found: Listed[] = [];
  for (const row of await listOps(store.read)) {
    if (!row.disabled && row.active !== null) continue;
    const version = await getVersion(
      store.read,
      row.namespace,
      row.name,
      row.active === null ? "newest" : "active",
    );
    if (version === undefined) continue;
    const resource = {
      kind: "op",
      op: await rowOf(session, { ...version, publisher: "" }, row.disabled),
      namespace: await access.namespace(store.read, row.namespace),
    } as const;
    if (!access.may(caller, "activate", resource)) continue;
    found.push({
      op: `${row.namespace}/${row.name}`,
      summary: tryManifest(version)?.summary ?? "",
      version: row.active,
      digest: version.digest,
      state: row.disabled ? "disabled" : "not activated",
      notActivated: newer.get(`${row.namespace}/${row.name}`) ?? null,
    });
  }
  return found;
}

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
