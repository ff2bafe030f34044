import { randomBytes } from "node:crypto";
import { open, seal } from "./envelope.ts";
import { randomKey, wipe } from "./memory.ts";

/** A namespace's data key as it is stored: wrapped under the root's `dataKeyWrap`, bound to its id and namespace. */
export type WrappedKey = { id: string; namespace: string; wrapped: Buffer };

/** Where a sealed value belongs. It opens nowhere else: not under another name, version, namespace or key id. */
export type Place = { namespace: string; name: string; number: number; keyId: string };

/** DESIGN section 5, in that order. */
const placeFields = ({ namespace, name, number, keyId }: Place): string[] => [
  namespace,
  name,
  String(number),
  keyId,
];
const keyFields = ({ id, namespace }: Pick<WrappedKey, "id" | "namespace">): string[] => [
  "data-key",
  namespace,
  id,
];

/** A new random key. The caller wipes `key`. `id`: 32 hex digits. */
export function newDataKey(wrapping: Uint8Array, namespace: string): WrappedKey & { key: Buffer } {
  const id = randomBytes(16).toString("hex");
  const key = randomKey();
  return { id, namespace, key, wrapped: seal(wrapping, key, keyFields({ id, namespace })) };
}

/** Lends the key to `use` and wipes it afterwards. Throws OpenFailed. */
export function withDataKey<T>(wrapping: Uint8Array, stored: WrappedKey, use: (key: Buffer) => T): T {
  const key = open(wrapping, stored.wrapped, keyFields(stored));
  try {
    return use(key);
  } finally {
    wipe(key);
  }
}

/** A value of at most 64 KiB as it is stored: 28 bytes longer. */
export function sealValue(key: Uint8Array, value: Uint8Array, place: Place): Buffer {
  return seal(key, value, placeFields(place));
}

/** The value, to be wiped by the caller. Throws OpenFailed unless it was sealed for this very place. */
export function openValue(key: Uint8Array, sealed: Uint8Array, place: Place): Buffer {
  return open(key, sealed, placeFields(place));
}
