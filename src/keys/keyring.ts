import { randomBytes } from "node:crypto";
import { SallyportError } from "../core/errors.ts";
import { checkMac, type KeyringDocument, readKeyring, writeKeyring } from "./document.ts";
import { OpenFailed } from "./envelope.ts";
import { type Kdf, type KdfParams, kdfRefusal, SALT_BYTES } from "./kdf.ts";
import { randomKey, wipe } from "./memory.ts";
import { checkPassphrase, PASSPHRASE_BYTES } from "./passphrase.ts";
import { decodeRecovery, encodeRecovery, newRecoverySecret } from "./recovery.ts";
import {
  kdfParams,
  type PassphraseSlot,
  type RecoverySlot,
  ROOT_BYTES,
  recoveryKey,
  SLOT_LIMIT,
  type Slot,
  type SlotInfo,
  SlotName,
  slotInfo,
  unwrapRoot,
  wrapRoot,
} from "./slots.ts";

const RECOVERY_NAME = "recovery";

export type OpenWith =
  | { kind: "passphrase"; passphrase: Buffer; slot?: string | undefined }
  | { kind: "recovery"; code: Buffer };

export type NewPassphrase = { kdf: Kdf; params: KdfParams; name: string; passphrase: Buffer };

/**
 * Makes the key file: a random root, a slot for the passphrase and one for a recovery code that exists only in what is
 * returned. Throws `already_initialized` where the file exists, `input_invalid` for a weak passphrase or a bad name.
 */
export async function createKeyring(
  options: NewPassphrase & { file: string },
): Promise<{ root: Buffer; recoveryCode: Buffer; id: string; slots: SlotInfo[] }> {
  const id = randomBytes(8).toString("hex");
  const root = randomKey(ROOT_BYTES);
  try {
    const first = await passphraseSlot(id, root, options);
    const { slot: second, code } = recoverySlot(id, root);
    const slots: Slot[] = [first, second];
    writeKeyring(options.file, { version: 1, id, slots }, root, true);
    return { root, recoveryCode: code, id, slots: slots.map(slotInfo) };
  } catch (error) {
    wipe(root);
    if ((error as NodeJS.ErrnoException).code === "EEXIST") throw new SallyportError("already_initialized");
    throw error;
  }
}

/** What can be read without any key. Throws `not_initialized`, `keyring_damaged`. */
export function readSlots(file: string): { id: string; slots: SlotInfo[] } {
  const { id, slots } = readKeyring(file);
  return { id, slots: slots.map(slotInfo) };
}

/**
 * The root key, to be wiped by the caller. Tries every slot of the kind, or the one that `slot` names (id or name).
 * Throws `unlock_failed`, `keyring_damaged`, `slow_down`; `input_invalid` for a mistyped recovery code, `not_found` for
 * a slot that is not there.
 */
export async function openKeyring(options: {
  file: string;
  kdf: Kdf;
  with: OpenWith;
}): Promise<{ root: Buffer; slot: SlotInfo; id: string }> {
  const document = readKeyring(options.file);
  const opened =
    options.with.kind === "passphrase"
      ? await tryPassphrase(document, options.kdf, options.with.passphrase, options.with.slot)
      : tryRecovery(document, options.with.code);
  if (opened === null) throw new SallyportError("unlock_failed");
  try {
    checkMac(document, opened.root);
  } catch (error) {
    wipe(opened.root);
    throw error;
  }
  return { root: opened.root, slot: slotInfo(opened.slot), id: document.id };
}

export async function addSlot(options: NewPassphrase & { file: string; root: Buffer }): Promise<SlotInfo> {
  const before = verified(options.file, options.root);
  refuseName(before, options.name);
  const slot = await passphraseSlot(before.id, options.root, options);
  // Read again: the derivation took a second, in which another change may have been written.
  const document = verified(options.file, options.root);
  refuseName(document, options.name);
  writeKeyring(options.file, { ...document, slots: [...document.slots, slot] }, options.root);
  return slotInfo(slot);
}

/** Replaces the recovery slot; the earlier code opens only old copies of the file. */
export function replaceRecovery(options: { file: string; root: Buffer }): { code: Buffer; slot: SlotInfo } {
  const document = verified(options.file, options.root);
  const { slot, code } = recoverySlot(document.id, options.root);
  const slots = [...document.slots.filter(({ kind }) => kind !== "recovery"), slot];
  writeKeyring(options.file, { ...document, slots }, options.root);
  return { code, slot: slotInfo(slot) };
}

/** Throws `not_found`, and `conflict` for the last passphrase slot. An old copy of the file still opens with it. */
export function removeSlot(options: { file: string; root: Buffer; slot: string }): SlotInfo {
  const document = verified(options.file, options.root);
  const slot = findSlot(document, options.slot);
  const slots = document.slots.filter((other) => other !== slot);
  if (!slots.some(({ kind }) => kind === "passphrase"))
    throw new SallyportError("conflict", "It is the last passphrase slot; add another one first.");
  writeKeyring(options.file, { ...document, slots }, options.root);
  return slotInfo(slot);
}

function verified(file: string, root: Buffer): KeyringDocument {
  const document = readKeyring(file);
  checkMac(document, root);
  return document;
}

function findSlot(document: KeyringDocument, which: string): Slot {
  const slot = document.slots.find(({ id, name }) => id === which || name === which);
  if (slot === undefined)
    throw new SallyportError("not_found", `No key slot has the name or id ${JSON.stringify(which)}.`);
  return slot;
}

function refuseName(document: KeyringDocument, name: string): void {
  if (document.slots.length >= SLOT_LIMIT)
    throw new SallyportError("conflict", `There are ${SLOT_LIMIT} key slots already; remove one first.`);
  if (document.slots.some((slot) => slot.name === name))
    throw new SallyportError("conflict", `A key slot named ${JSON.stringify(name)} exists.`);
}

async function passphraseSlot(
  keyring: string,
  root: Buffer,
  options: NewPassphrase,
): Promise<PassphraseSlot> {
  checkPassphrase(options.passphrase);
  if (!SlotName.safeParse(options.name).success || options.name === RECOVERY_NAME)
    throw new SallyportError(
      "input_invalid",
      "A slot's name is 1 to 64 letters, digits, blanks or ._@- and not 'recovery'.",
    );
  const why = kdfRefusal(options.params);
  if (why !== null) throw new SallyportError("input_invalid", `Argon2id: ${why}.`);
  const salt = randomBytes(SALT_BYTES);
  const { m, t, p } = options.params;
  const slot: Omit<PassphraseSlot, "wrapped"> = {
    id: randomBytes(8).toString("hex"),
    name: options.name,
    created: new Date().toISOString(),
    salt: salt.toString("base64"),
    kind: "passphrase",
    kdf: { name: "argon2id", m, t, p },
  };
  const key = await options.kdf.derive(options.passphrase, salt, options.params);
  try {
    return { ...slot, wrapped: wrapRoot(keyring, slot, key, root) };
  } finally {
    wipe(key);
  }
}

function recoverySlot(keyring: string, root: Buffer): { slot: RecoverySlot; code: Buffer } {
  const salt = randomBytes(SALT_BYTES);
  const slot: Omit<RecoverySlot, "wrapped"> = {
    id: randomBytes(8).toString("hex"),
    name: RECOVERY_NAME,
    created: new Date().toISOString(),
    salt: salt.toString("base64"),
    kind: "recovery",
    kdf: { name: "hkdf-sha256" },
  };
  const secret = newRecoverySecret();
  const key = recoveryKey(secret, salt);
  try {
    return { slot: { ...slot, wrapped: wrapRoot(keyring, slot, key, root) }, code: encodeRecovery(secret) };
  } finally {
    wipe(secret, key);
  }
}

type Opened = { root: Buffer; slot: Slot };

async function tryPassphrase(
  document: KeyringDocument,
  kdf: Kdf,
  passphrase: Buffer,
  which: string | undefined,
): Promise<Opened | null> {
  if (passphrase.length === 0 || passphrase.length > PASSPHRASE_BYTES) return null;
  const candidates = which === undefined ? document.slots : [findSlot(document, which)];
  for (const slot of candidates) {
    if (slot.kind !== "passphrase") continue;
    const key = await kdf.derive(passphrase, Buffer.from(slot.salt, "base64"), kdfParams(slot));
    const root = unwrapOrNull(document.id, slot, key);
    if (root !== null) return { root, slot };
  }
  return null;
}

function tryRecovery(document: KeyringDocument, code: Buffer): Opened | null {
  const secret = decodeRecovery(code);
  try {
    for (const slot of document.slots) {
      if (slot.kind !== "recovery") continue;
      const root = unwrapOrNull(document.id, slot, recoveryKey(secret, Buffer.from(slot.salt, "base64")));
      if (root !== null) return { root, slot };
    }
    return null;
  } finally {
    wipe(secret);
  }
}

function unwrapOrNull(keyring: string, slot: Slot, key: Buffer): Buffer | null {
  try {
    return unwrapRoot(keyring, slot, key);
  } catch (error) {
    if (error instanceof OpenFailed) return null;
    throw error;
  } finally {
    wipe(key);
  }
}
