import type { Actor } from "../audit/event.ts";
import type { BoundSecret } from "../core/bound-secret.ts";
import { SallyportError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { Secret, wipeAll } from "../core/secret.ts";
import { sourceText, type VaultSource } from "../core/vault-source.ts";
import { newDataKey, openValue, sealValue, withDataKey } from "../keys/data-key.ts";
import { OpenFailed } from "../keys/envelope.ts";
import { keyCopy, wipe } from "../keys/memory.ts";
import { addKey, type DataKeyRow, getKey, presentKey } from "../store/data-keys.ts";
import type { RunRow } from "../store/runs.ts";
import {
  addRunSecret,
  addVersion,
  getSecret,
  nextVersion,
  runSecrets,
  type SealedVersion,
  type SecretName,
  secretVersion,
} from "../store/secrets.ts";
import type { Store } from "../store/store.ts";
import type { Reader, Tx } from "../store/tx.ts";
import type { Caller } from "./callers.ts";
import type { VaultAbout, VaultClient } from "./vaults.ts";

type StoredKey = Pick<DataKeyRow, "id" | "namespace" | "wrapped">;
type Asking = Pick<Manifest, "op" | "namespace" | "secrets">;

/** Asks an outside vault which version it would give. */
export type LookUp = (source: VaultSource) => Promise<string>;

/** Of a run that was asked for: which version a vault gives is looked at again when it is fetched. */
export const asBound =
  (bound: readonly BoundSecret[]): LookUp =>
  async (source) =>
    bound.find(({ outside }) => outside !== undefined && isSame(outside.source, source))?.outside?.version ??
    "";

const isSame = (a: VaultSource, b: VaultSource): boolean =>
  sourceText(a, a.version) === sourceText(b, b.version);

/**
 * What a run would get now, in the manifest's order. Throws `secret_missing` that names what is not there and who sets it, and
 * what `look` throws where a vault can't be asked.
 */
export async function versionsOf(reader: Reader, manifest: Asking, look: LookUp): Promise<BoundSecret[]> {
  const { op, namespace, secrets } = manifest;
  const bound: BoundSecret[] = [];
  const missing: string[] = [];
  for (const { name } of secrets) {
    const row = await getSecret(reader, { namespace, name });
    if (row === undefined || row.version === null) {
      missing.push(`${namespace}/${name}`);
      continue;
    }
    const source = (await secretVersion(reader, row, row.version))?.source ?? null;
    if (source === null) bound.push({ name, number: row.version });
    else if (missing.length === 0) {
      const place = JSON.parse(source) as VaultSource;
      bound.push({ name, number: row.version, outside: { source: place, version: await look(place) } });
    }
  }
  if (missing.length === 0) return bound;
  throw new SallyportError(
    "secret_missing",
    `${op} needs ${missing.join(", ")}. An admin of ${namespace} sets it on the host: sallyport secret set ${missing[0]}`,
  );
}

/**
 * Joins the transaction of a run's start: which versions it gets, an entry each. Throws `conflict` where another version than
 * the bound one would be handed out.
 */
export async function recordReads(tx: Tx, row: RunRow, bound: readonly BoundSecret[]): Promise<void> {
  const { namespace } = row;
  for (const { name, number, outside } of bound) {
    if ((await getSecret(tx, { namespace, name }))?.version !== number)
      throw new SallyportError("conflict", `The secret ${namespace}/${name} was changed meanwhile.`);
    await addRunSecret(tx, { run: row.id, namespace, name, number });
    tx.log({
      type: "secret.read",
      outcome: "success",
      actor: { kind: "user", id: row.requester, name: "" },
      run: row.id,
      op: `${namespace}/${row.op}`,
      namespace,
      data: {
        secret: name,
        version: number,
        ...(outside === undefined ? {} : { source: sourceText(outside.source, outside.version) }),
      },
    });
  }
}

/** Seals and opens values. Of the root's keys it holds the one that wraps the namespaces' keys, and no other. */
export class Secrets {
  readonly #store: Store;
  readonly #wrapping: Buffer;
  readonly #vaults: Pick<VaultClient, "fetch" | "version">;

  /** Copies `wrapping`, the root's subkey `dataKeyWrap`. */
  constructor(o: { store: Store; wrapping: Uint8Array; vaults: Pick<VaultClient, "fetch" | "version"> }) {
    this.#store = o.store;
    this.#vaults = o.vaults;
    this.#wrapping = keyCopy(o.wrapping);
  }

  end(): void {
    wipe(this.#wrapping);
  }

  /** Which version an outside vault would give. Throws `vault_failed`. */
  readonly look = (source: VaultSource, about: VaultAbout): Promise<string> =>
    this.#vaults.version(source, about);

  /** Keeps a value as the secret's next version, which runs get from here on; returns its number. */
  async add(tx: Tx, at: SecretName & { by: Caller }, value: Secret): Promise<number> {
    const { namespace, name, by } = at;
    const number = await nextVersion(tx, { namespace, name });
    const stored = (await presentKey(tx, namespace)) ?? (await this.newKey(tx, namespace, by));
    const keyId = stored.id;
    const place = { namespace, name, number, keyId };
    const sealed = value.use((bytes) => this.#with(stored, (key) => sealValue(key, bytes, place)));
    await addVersion(tx, { ...place, sealed, author: by.id });
    return number;
  }

  /** The secret's next version is what an outside vault holds there; returns its number. */
  async addSource(tx: Tx, at: SecretName & { by: Caller }, source: VaultSource): Promise<number> {
    const { namespace, name, by } = at;
    const number = await nextVersion(tx, { namespace, name });
    await addVersion(tx, { namespace, name, number, source: JSON.stringify(source), author: by.id });
    return number;
  }

  /** Makes a key that the namespace's values are sealed under from here on. */
  async newKey(tx: Tx, namespace: string, by: Caller): Promise<StoredKey> {
    const previous = (await presentKey(tx, namespace))?.id ?? null;
    const { key, id, wrapped } = newDataKey(this.#wrapping, namespace);
    wipe(key);
    await addKey(tx, { id, namespace, wrapped });
    tx.log({
      type: "secret.key_added",
      outcome: "success",
      actor: by.actor,
      namespace,
      data: { key: id, previous },
    });
    return { id, namespace, wrapped };
  }

  /** What a run was started with, in the order of its manifest. The caller wipes it, or hands it to a connection, which does. */
  async valuesFor(
    run: string,
    manifest: Asking,
    o: { bound: readonly BoundSecret[]; actor: Actor },
  ): Promise<Secret[]> {
    if (manifest.secrets.length === 0) return [];
    const { op, namespace } = manifest;
    const rows = await runSecrets(this.#store.read, run);
    const values: Secret[] = [];
    try {
      for (const { name } of manifest.secrets) {
        const outside = o.bound.find((one) => one.name === name)?.outside;
        if (outside !== undefined) {
          const about = { actor: o.actor, run, op, namespace };
          values.push((await this.#vaults.fetch(outside.source, about, outside.version)).value);
          continue;
        }
        const row = rows.get(name);
        if (row === undefined)
          throw new SallyportError("secret_missing", `${manifest.namespace}/${name} was erased meanwhile.`);
        values.push(await this.#open(row));
      }
      return values;
    } catch (error) {
      wipeAll(values);
      throw error;
    }
  }

  /** The same value under another key, for `row.keyId` of it. */
  async reseal(reader: Reader, row: SealedVersion, to: StoredKey): Promise<SealedVersion> {
    const value = await this.#open(row, reader);
    try {
      const place = { ...row, keyId: to.id };
      const sealed = value.use((bytes) => this.#with(to, (key) => sealValue(key, bytes, place)));
      return { ...place, sealed };
    } finally {
      value.wipe();
    }
  }

  async #open(row: SealedVersion, reader: Reader = this.#store.read): Promise<Secret> {
    const { namespace, name, number, keyId, sealed } = row;
    const stored = await getKey(reader, keyId);
    try {
      // A key of another namespace opens nothing here, whatever the row says.
      if (stored?.namespace !== namespace) throw new OpenFailed("no such key");
      return new Secret(this.#with(stored, (key) => openValue(key, sealed, row)));
    } catch (cause) {
      if (!(cause instanceof OpenFailed)) throw cause;
      throw new SallyportError(
        "database_damaged",
        `Version ${number} of the secret ${namespace}/${name} does not open: its row was changed. Set it again: sallyport secret rotate ${namespace}/${name}`,
        { cause },
      );
    }
  }

  #with<T>(stored: StoredKey, use: (key: Buffer) => T): T {
    return withDataKey(this.#wrapping, stored, use);
  }
}
