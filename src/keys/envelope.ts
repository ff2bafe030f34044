import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import { lengthPrefixed } from "../core/canonical.ts";
import { keyBuffer, keyCopy, wipe, wipeFreed } from "./memory.ts";

/**
 * One HKDF info label per use, so that no two uses can ever share a key. A label is never changed or reused: what was
 * encrypted under it would not open again.
 */
export const LABELS = {
  database: "sallyport/1/database",
  log: "sallyport/1/log-hmac",
  keyringMac: "sallyport/1/keyring-mac",
  recovery: "sallyport/1/recovery-slot",
  notaryHalf: "sallyport/1/notary-half",
  notaryWrap: "sallyport/1/notary-wrap",
  notaryMac: "sallyport/1/notary-mac",
  dataKeyWrap: "sallyport/1/data-key-wrap",
  receipts: "sallyport/1/receipts",
  backup: "sallyport/1/backup",
} as const;

export type Label = keyof typeof LABELS;
export type Field = string | Uint8Array;

/** GCM refused: a wrong key, wrong associated data or changed bytes. Which of them can't be told, and is not told. */
export class OpenFailed extends Error {
  override readonly name = "OpenFailed";
}

const NONCE = 12;
const TAG = 16;
/** What Node's cipher asks for beside the bytes that it is given: a block, which is one byte in GCM. */
const CIPHER_ROOM = 1;
export const SEAL_OVERHEAD = NONCE + TAG;

/** 32 bytes of HKDF-SHA-256 (RFC 5869) from key material that is uniformly random already, so without a salt. */
export function subkey(material: Uint8Array, label: Label, context: readonly Field[] = []): Buffer {
  const info = lengthPrefixed([LABELS[label], ...context]);
  const derived = new Uint8Array(hkdfSync("sha256", material, new Uint8Array(0), info, 32));
  const key = keyCopy(derived);
  wipe(derived);
  return key;
}

/**
 * AES-256-GCM; returns nonce (12) || ciphertext || tag (16). The nonce is random: one key may seal 2^32 messages
 * (SP 800-38D section 8.3), which no namespace key here comes near.
 */
export function seal(key: Uint8Array, plaintext: Uint8Array, aad: readonly Field[]): Buffer {
  const nonce = randomBytes(NONCE);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG });
  cipher.setAAD(lengthPrefixed(aad));
  const body = cipher.update(plaintext);
  return Buffer.concat([nonce, body, cipher.final(), cipher.getAuthTag()]);
}

/** Opens what `seal` made under the same key and the same associated data. Throws OpenFailed. */
export function open(key: Uint8Array, sealed: Uint8Array, aad: readonly Field[]): Buffer {
  if (sealed.length < SEAL_OVERHEAD) throw new OpenFailed("too short");
  const nonce = sealed.subarray(0, NONCE);
  const end = sealed.length - TAG;
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG });
  decipher.setAAD(lengthPrefixed(aad));
  decipher.setAuthTag(sealed.subarray(end));
  const plain = keyBuffer(end - NONCE);
  const body = decipher.update(sealed.subarray(NONCE, end));
  try {
    decipher.final();
    plain.set(body);
    return plain;
  } catch (cause) {
    throw new OpenFailed("authentication failed", { cause });
  } finally {
    wipe(body);
    wipeFreed(body.length + CIPHER_ROOM);
  }
}

/** How a sensitive value may appear in the log: equal values can be matched, none can be guessed without the key. */
export function logMac(key: Uint8Array, value: Field): string {
  return createHmac("sha256", key).update(value).digest("base64url");
}
