import { SallyportError } from "../../core/errors.ts";
import { checkName } from "../../core/identity.ts";
import { Secret } from "../../core/secret.ts";
import { secretFault } from "../../core/secret-value.ts";
import { sourceText, type VaultSource } from "../../core/vault-source.ts";
import { activeOps } from "../../store/ops.ts";
import {
  describeSecret,
  eraseRetired,
  getSecret,
  listSecrets,
  listSecretVersions,
  removeSecret,
  runsHolding,
  type SecretName,
  type SecretRow,
} from "../../store/secrets.ts";
import type { Reader, Tx } from "../../store/tx.ts";
import { getUser } from "../../store/users.ts";
import { tryManifest } from "../access.ts";
import { rotateKey } from "../rotate-key.ts";
import { dateText } from "../secret-expiry.ts";
import type { CommandContext, Handlers } from "./command.ts";

/** Names, versions and dates of secrets. A value comes in and is sealed; nothing here ever gives one out, or its length. */
export const secrets: Handlers = {
  "secret.set": (context) => put(context, "secret.set"),
  "secret.rotate": (context) => put(context, "secret.rotated"),
  "secret.source": async ({ session, caller, params }) => {
    const at = await managed({ session, caller }, params);
    // The appliance's credential reads for every namespace: else an admin of one could have another's values handed to their Ops.
    await session.access.demand(caller, "administer", { kind: "appliance" });
    const source = session.vaults.check(params.source);
    const { rotate, description } = params;
    const expires = futureOf(session.now(), params.expires);
    // Whatever is wrong with it is heard now, and not by the first run.
    const about = { actor: caller.actor, namespace: at.namespace };
    const { version: given, value } = await session.vaults.fetch(source, about);
    value.wipe();
    const version = await session.store.mutate(async (tx) => {
      await freeOrThere(tx, at, rotate);
      const number = await session.secrets.addSource(tx, { ...at, by: caller }, source);
      await describeSecret(tx, at, { description, expires });
      await eraseRetired(tx);
      tx.log({
        type: rotate ? "secret.rotated" : "secret.set",
        outcome: "success",
        actor: caller.actor,
        namespace: at.namespace,
        data: { secret: at.name, version: number, source: sourceText(source, source.version) },
      });
      return number;
    });
    return { secret: nameOf(at), version, source: sourceText(source, given) };
  },
  "secret.describe": async ({ session, caller, params }) => {
    const at = await managed({ session, caller }, params);
    const about = { description: params.description, expires: futureOf(session.now(), params.expires) };
    await session.store.mutate(async (tx) => {
      await existing(tx, at);
      await describeSecret(tx, at, about);
      const expires = about.expires == null ? null : dateText(about.expires);
      tx.log({
        type: "secret.changed",
        outcome: "success",
        actor: caller.actor,
        namespace: at.namespace,
        data: { secret: at.name, expires },
      });
    });
    return { secret: nameOf(at) };
  },
  "secret.list": async ({ session, caller, params }) => {
    const { access, store } = session;
    if (params.namespace !== undefined)
      await access.demandNamespace(caller, "manage_secret", params.namespace);
    const users = await opsBySecret(store.read);
    const found: unknown[] = [];
    for (const row of await listSecrets(store.read, params.namespace)) {
      const namespace = await access.namespace(store.read, row.namespace);
      if (!access.may(caller, "manage_secret", { kind: "namespace", namespace })) continue;
      found.push({
        secret: nameOf(row),
        version: row.version,
        description: row.description,
        expires: row.expires === null ? null : dateText(row.expires),
        ops: users.get(nameOf(row)) ?? [],
      });
    }
    return { secrets: found };
  },
  "secret.versions": async ({ session, caller, params }) => {
    const at = await managed({ session, caller }, params);
    const { read } = session.store;
    const row = await getSecret(read, at);
    if (row === undefined) throw missing(at);
    const holding = await runsHolding(read, at);
    const versions = await listSecretVersions(read, at);
    return {
      secret: nameOf(at),
      removed: row.version === null,
      ops: (await opsBySecret(read)).get(nameOf(at)) ?? [],
      versions: await Promise.all(
        versions.map(async ({ number, author, created, retired, erased, source }) => ({
          version: number,
          ...(source === null ? {} : { source: sourceOf(source) }),
          state: erased !== null ? "erased" : retired !== null ? "retired" : "current",
          by: (await getUser(read, author))?.name ?? "",
          set: new Date(created).toISOString(),
          runs: holding.filter((held) => held.number === number).map(({ run }) => run),
        })),
      ),
    };
  },
  "secret.remove": async ({ session, caller, params }) => {
    const at = await managed({ session, caller }, params);
    await session.store.mutate(async (tx) => {
      const { version } = await existing(tx, at);
      await removeSecret(tx, at);
      await eraseRetired(tx);
      tx.log({
        type: "secret.removed",
        outcome: "success",
        actor: caller.actor,
        namespace: at.namespace,
        data: { secret: at.name, version },
      });
    });
    return { secret: nameOf(at), ops: (await opsBySecret(session.store.read)).get(nameOf(at)) ?? [] };
  },
  "namespace.rotate-key": async ({ session, caller, params }) => {
    await session.access.demandNamespace(caller, "manage_secret", params.namespace);
    const { namespace } = params;
    const values = await rotateKey(session.store, session.secrets, { namespace, caller });
    return { namespace, values };
  },
};

type Named = { namespace: string; name: string };
type Asking = Pick<CommandContext<"secret.versions">, "session" | "caller">;

async function put(
  { session, caller, params, parts }: CommandContext<"secret.set"> | CommandContext<"secret.rotate">,
  type: "secret.set" | "secret.rotated",
): Promise<unknown> {
  const value = new Secret(parts[0]!);
  try {
    const at = await managed({ session, caller }, params);
    const expires = futureOf(session.now(), params.expires);
    const fault = value.use(secretFault);
    if (fault !== null) throw await refused({ session, caller }, at, fault);
    const version = await session.store.mutate(async (tx) => {
      await freeOrThere(tx, at, type === "secret.rotated");
      const number = await session.secrets.add(tx, { ...at, by: caller }, value);
      await describeSecret(tx, at, { description: params.description, expires });
      await eraseRetired(tx);
      tx.log({
        type,
        outcome: "success",
        actor: caller.actor,
        namespace: at.namespace,
        data: { secret: at.name, version: number },
      });
      return number;
    });
    return { secret: nameOf(at), version };
  } finally {
    value.wipe();
  }
}

/** What is set must be new, what is rotated must be there. */
async function freeOrThere(tx: Tx, at: SecretName, rotate: boolean): Promise<void> {
  const row = await getSecret(tx, at);
  const isThere = row !== undefined && row.version !== null;
  if (!rotate && isThere)
    throw new SallyportError(
      "conflict",
      `${nameOf(at)} is set already; give it another value with: sallyport secret rotate ${nameOf(at)}`,
    );
  if (rotate && !isThere) throw missing(at);
}

/** The name as it may be managed by this person; or throws what they have to hear. */
async function managed({ session, caller }: Asking, { namespace, name }: Named): Promise<SecretName> {
  await session.access.demandNamespace(caller, "manage_secret", namespace);
  return { namespace, name: checkName("secret", name) };
}

async function refused(
  { session, caller }: Asking,
  { namespace, name }: SecretName,
  reason: string,
): Promise<SallyportError> {
  await session.store.mutate((tx) => {
    const data = { secret: name };
    const { actor } = caller;
    tx.log({ type: "secret.refused", outcome: "denied", actor, namespace, reason, data });
  });
  return new SallyportError("input_invalid", reason);
}

function sourceOf(json: string): string {
  const source = JSON.parse(json) as VaultSource;
  return sourceText(source, source.version);
}

const nameOf = ({ namespace, name }: Named): string => `${namespace}/${name}`;
const missing = (at: SecretName): SallyportError =>
  new SallyportError(
    "not_found",
    `There is no secret ${nameOf(at)}; set it with: sallyport secret set ${nameOf(at)}`,
  );

async function existing(tx: Tx, at: SecretName): Promise<SecretRow> {
  const row = await getSecret(tx, at);
  if (row === undefined || row.version === null) throw missing(at);
  return row;
}

function futureOf(now: number, expires: number | null | undefined): number | null | undefined {
  if (typeof expires !== "number" || expires > now) return expires;
  throw new SallyportError("input_invalid", `The expiry date ${dateText(expires)} is past.`);
}

/** Active Ops by the secrets that they ask for. */
async function opsBySecret(reader: Reader): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const version of await activeOps(reader)) {
    const manifest = tryManifest(version);
    for (const { name } of manifest?.secrets ?? []) {
      const secret = nameOf({ namespace: version.namespace, name });
      found.set(secret, [...(found.get(secret) ?? []), `${version.namespace}/${version.name}`]);
    }
  }
  return found;
}
