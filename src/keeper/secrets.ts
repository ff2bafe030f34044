import { SallyportError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { Secret, wipeAll } from "../core/secret.ts";
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
} from "../store/secrets.ts";
import type { Store } from "../store/store.ts";
import type { Reader, Tx } from "../store/tx.ts";
import type { Caller } from "./callers.ts";

/** Which version of a secret a run gets, as core/digest binds it. */
export type BoundSecret = { readonly name: string; readonly version: number };

type StoredKey = Pick<DataKeyRow, "id" | "namespace" | "wrapped">;
type Asking = Pick<Manifest, "op" | "namespace" | "secrets">;

/** What a run would get now, in the manifest's order. Throws `secret_missing` that names what is not there and who sets it. */
export async function versionsOf(reader: Reader, manifest: Asking): Promise<BoundSecret[]> {
  const { op, namespace, secrets } = manifest;
  const bound: BoundSecret[] = [];
  const missing: string[] = [];
  for (const { name } of secrets) {
    const row = await getSecret(reader, { namespace, name });
    if (row === undefined || row.version === null) missing.push(`${namespace}/${name}`);
    else bound.push({ name, version: row.version });
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
  for (const { name, version } of bound) {
    if ((await getSecret(tx, { namespace, name }))?.version !== version)
      throw new SallyportError("conflict", `The secret ${namespace}/${name} was changed meanwhile.`);
    await addRunSecret(tx, { run: row.id, namespace, name, number: version });
    tx.log({
      type: "secret.read",
      outcome: "success",
      actor: { kind: "user", id: row.requester, name: "" },
      run: row.id,
      op: `${namespace}/${row.op}`,
      namespace,
      data: { secret: name, version },
    });
  }
}

/** Seals and opens values. Of the root's keys it holds the one that wraps the namespaces' keys, and no other. */
export class Secrets {
  readonly #store: Store;
  readonly #wrapping: Buffer;

  /** Copies `wrapping`, the root's subkey `dataKeyWrap`. */
  constructor(o: { store: Store; wrapping: Uint8Array }) {
    this.#store = o.store;
    this.#wrapping = keyCopy(o.wrapping);
  }

  end(): void {
    wipe(this.#wrapping);
  }

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
  async valuesFor(run: string, manifest: Asking): Promise<Secret[]> {
    if (manifest.secrets.length === 0) return [];
    const rows = await runSecrets(this.#store.read, run);
    const values: Secret[] = [];
    try {
      for (const { name } of manifest.secrets) {
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
