import { z } from "zod";
import { type Field, open, SEAL_OVERHEAD, seal, subkey } from "./envelope.ts";
import { CAP, FLOOR, type KdfParams, SALT_BYTES } from "./kdf.ts";

export const ROOT_BYTES = 32;
export const SLOT_LIMIT = 16;

const base64 = (bytes: number) =>
  z
    .string()
    .max(Math.ceil(bytes / 3) * 4)
    .refine((text) => {
      const decoded = Buffer.from(text, "base64");
      return decoded.length === bytes && decoded.toString("base64") === text;
    }, `not ${bytes} bytes in base64`);

export const SlotId = z.string().regex(/^[0-9a-f]{16}$/);
export const SlotName = z.string().regex(/^[\p{L}\p{N}][\p{L}\p{N} ._@-]{0,63}$/u);
const common = {
  id: SlotId,
  name: SlotName,
  created: z.iso.datetime({ precision: 3 }),
  salt: base64(SALT_BYTES),
  wrapped: base64(ROOT_BYTES + SEAL_OVERHEAD),
};

export const PassphraseSlot = z.strictObject({
  ...common,
  kind: z.literal("passphrase"),
  kdf: z.strictObject({
    name: z.literal("argon2id"),
    m: z.int().min(FLOOR.m).max(CAP.m),
    t: z.int().min(FLOOR.t).max(CAP.t),
    p: z.int().min(1).max(CAP.p),
  }),
});
export const RecoverySlot = z.strictObject({
  ...common,
  kind: z.literal("recovery"),
  kdf: z.strictObject({ name: z.literal("hkdf-sha256") }),
});
export const Slot = z.discriminatedUnion("kind", [PassphraseSlot, RecoverySlot]);

export type PassphraseSlot = z.infer<typeof PassphraseSlot>;
export type RecoverySlot = z.infer<typeof RecoverySlot>;
export type Slot = z.infer<typeof Slot>;
export type SlotKind = Slot["kind"];
/** What may be shown of a slot. */
export type SlotInfo = Pick<Slot, "id" | "name" | "kind" | "created">;

export function slotInfo({ id, name, kind, created }: Slot): SlotInfo {
  return { id, name, kind, created };
}

/** Everything that a slot says of itself, so that none of it can be changed or moved without the wrap failing. */
function slotFields(keyring: string, slot: Omit<Slot, "wrapped">): Field[] {
  const params = slot.kdf.name === "argon2id" ? [slot.kdf.m, slot.kdf.t, slot.kdf.p].join(",") : "";
  return ["slot", keyring, slot.id, slot.name, slot.kind, slot.created, slot.salt, slot.kdf.name, params];
}

export function wrapRoot(
  keyring: string,
  slot: Omit<Slot, "wrapped">,
  slotKey: Buffer,
  root: Buffer,
): string {
  return seal(slotKey, root, slotFields(keyring, slot)).toString("base64");
}

/** The root, or OpenFailed. */
export function unwrapRoot(keyring: string, slot: Slot, slotKey: Buffer): Buffer {
  return open(slotKey, Buffer.from(slot.wrapped, "base64"), slotFields(keyring, slot));
}

/** The key that opens a recovery slot. HKDF and not Argon2: see recovery.ts. */
export function recoveryKey(secret: Buffer, salt: Uint8Array): Buffer {
  return subkey(secret, "recovery", [salt]);
}

export function kdfParams(slot: PassphraseSlot): KdfParams {
  const { m, t, p } = slot.kdf;
  return { m, t, p };
}
