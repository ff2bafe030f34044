import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { canonicalJson } from "../core/canonical.ts";
import { SallyportError } from "../core/errors.ts";
import { subkey } from "./envelope.ts";
import { readBounded, removeLeftovers, writeDurably } from "./file.ts";
import { wipe } from "./memory.ts";
import { SLOT_LIMIT, Slot, SlotId } from "./slots.ts";

export const KEYRING_BYTES = 64 * 1024;

const Document = z.strictObject({
  version: z.literal(1),
  id: SlotId,
  slots: z.array(Slot).min(1).max(SLOT_LIMIT),
  /** SHA-256 of the rest: tells a damaged file from a wrong passphrase. It protects against accidents only. */
  sum: z.string().regex(/^[0-9a-f]{64}$/),
  /** HMAC under the root: who can't open the keyring can't change it unseen. */
  mac: z.string().regex(/^[0-9a-f]{64}$/),
});

export type KeyringDocument = z.infer<typeof Document>;
export type KeyringBody = Pick<KeyringDocument, "version" | "id" | "slots">;

const RESTORE = "Restore keyring.json from a backup; the passphrases and the recovery code stay the same.";

export function damaged(what: string, cause?: unknown): SallyportError {
  return new SallyportError("keyring_damaged", `${what}. ${RESTORE}`, { cause });
}

function bodyText({ version, id, slots }: KeyringBody): string {
  return canonicalJson({ version, id, slots });
}

function macOf(body: KeyringBody, root: Uint8Array): Buffer {
  const key = subkey(root, "keyringMac");
  try {
    return createHmac("sha256", key).update(bodyText(body)).digest();
  } finally {
    wipe(key);
  }
}

function sumOf(body: KeyringBody, mac: string): string {
  return createHash("sha256").update(bodyText(body)).update(mac).digest("hex");
}

/** Parses what was read from disk. Throws `keyring_damaged` that says what is wrong. */
export function parseKeyring(bytes: Uint8Array): KeyringDocument {
  if (bytes.length > KEYRING_BYTES) throw damaged(`It is larger than ${KEYRING_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw damaged(bytes.length === 0 ? "It is empty" : "It is cut off or not JSON", cause);
  }
  const parsed = Document.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const place = issue?.path.join(".") || "the file";
    throw damaged(`${place}: ${issue?.message ?? "invalid"}`);
  }
  const document = parsed.data;
  if (document.sum !== sumOf(document, document.mac)) throw damaged("Its checksum does not match");
  for (const field of ["id", "name"] as const)
    if (new Set(document.slots.map((slot) => slot[field])).size !== document.slots.length)
      throw damaged(`Two slots have the same ${field}`);
  return document;
}

/** Throws `keyring_damaged` unless the file is as the holder of the root wrote it. */
export function checkMac(document: KeyringDocument, root: Uint8Array): void {
  if (!timingSafeEqual(macOf(document, root), Buffer.from(document.mac, "hex")))
    throw damaged("It was changed by someone who does not hold its root key (MAC)");
}

export function serializeKeyring(body: KeyringBody, root: Uint8Array): Buffer {
  const mac = macOf(body, root).toString("hex");
  const { version, id, slots } = body;
  return Buffer.from(`${JSON.stringify({ version, id, slots, sum: sumOf(body, mac), mac }, null, 2)}\n`);
}

/** Throws `not_initialized` where there is no file. */
export function readKeyring(file: string): KeyringDocument {
  let bytes: Buffer | null;
  try {
    bytes = readBounded(file, KEYRING_BYTES);
  } catch (cause) {
    throw damaged(`It can't be read: ${(cause as Error).message}`, cause);
  }
  if (bytes === null) throw new SallyportError("not_initialized");
  return parseKeyring(bytes);
}

export function writeKeyring(file: string, body: KeyringBody, root: Uint8Array, exclusive = false): void {
  const bytes = serializeKeyring(body, root);
  // What can't be read back must never replace what can.
  checkMac(parseKeyring(bytes), root);
  if (!exclusive) removeLeftovers(file);
  writeDurably(file, bytes, { exclusive });
}
