import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { SallyportError } from "../core/errors.ts";
import { checkNote, type SignatureLine, splitNote } from "./note-format.ts";

/** C2SP signed-note with Ed25519 signatures (type 0x01). */
const ED25519 = 0x01;
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const NAME = /^[^\s+]{1,200}$/u;

export type Signer = {
  name: string;
  keyId: Buffer;
  vkey: string;
  /** One signature line with its newline, over the text with its final newline. */
  sign(text: string): string;
};

export type Verifier = { name: string; keyId: Buffer; key: KeyObject; vkey: string };

const bad = (what: string): SallyportError => new SallyportError("log_damaged", `${what}.`);

/** First four bytes of SHA-256(name || "\n" || 0x01 || public key). */
export function keyId(name: string, publicKey: Uint8Array): Buffer {
  return createHash("sha256")
    .update(`${name}\n`)
    .update(Buffer.from([ED25519]))
    .update(publicKey)
    .digest()
    .subarray(0, 4);
}

/** A signer from an Ed25519 seed of 32 bytes, which the caller wipes. The key object keeps its own copy. */
export function signerFromSeed(name: string, seed: Uint8Array): Signer {
  if (!NAME.test(name))
    throw new SallyportError("input_invalid", "A log's name has neither blanks nor plus signs.");
  const der = Buffer.concat([PKCS8, seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  der.fill(0);
  const publicKey = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(SPKI.length);
  const id = keyId(name, publicKey);
  return {
    name,
    keyId: id,
    vkey: `${name}+${id.toString("hex")}+${Buffer.concat([Buffer.from([ED25519]), publicKey]).toString("base64")}`,
    sign: (text) => {
      const why = checkNote(text);
      if (why !== null) throw new SallyportError("internal", `A note with ${why} can't be signed.`);
      const signature = sign(null, Buffer.from(text), key);
      return `\u2014 ${name} ${Buffer.concat([id, signature]).toString("base64")}\n`;
    },
  };
}

/** Parses `name+hex id+base64 key`. Throws `log_damaged`; the key id must be the one of this name and key. */
export function parseVkey(vkey: string): Verifier {
  const match = /^([^\s+]{1,200})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})$/u.exec(vkey.trim());
  if (match === null) throw bad("The verifier key is not of the form name+id+key");
  const [, name, id, encoded] = match as unknown as [string, string, string, string];
  const bytes = Buffer.from(encoded, "base64");
  if (bytes.length !== 33 || bytes[0] !== ED25519 || bytes.toString("base64") !== encoded)
    throw bad("The verifier key is not an Ed25519 key");
  const publicKey = bytes.subarray(1);
  if (keyId(name, publicKey).toString("hex") !== id)
    throw bad("The verifier key's id does not belong to its name and key");
  const key = createPublicKey({ key: Buffer.concat([SPKI, publicKey]), format: "der", type: "spki" });
  return { name, keyId: Buffer.from(id, "hex"), key, vkey: vkey.trim() };
}

/** The text, a blank line, one signature line a signer (a witness may append its own later). */
export function signNote(text: string, signers: readonly Signer[]): string {
  return `${text}\n${signers.map((signer) => signer.sign(text)).join("")}`;
}

const belongs = (line: SignatureLine, { name, keyId }: Verifier): boolean =>
  line.name === name && line.keyId.equals(keyId);

/**
 * The text of a note and the names of the known keys that signed it. Lines of unknown keys are passed over. Throws
 * `log_damaged` when the note is malformed, a known key's signature is wrong, or no known key signed it.
 */
export function verifyNote(
  note: string | Uint8Array,
  vkeys: readonly (string | Verifier)[],
): { text: string; verified: string[] } {
  const { text, signatures } = splitNote(note);
  const verifiers = vkeys.map((vkey) => (typeof vkey === "string" ? parseVkey(vkey) : vkey));
  const verified = new Set<string>();
  for (const line of signatures) {
    const verifier = verifiers.find((candidate) => belongs(line, candidate));
    if (verifier === undefined || verified.has(verifier.vkey)) continue;
    if (!verify(null, Buffer.from(text), verifier.key, line.signature))
      throw bad(`The signature of ${verifier.name} is wrong`);
    verified.add(verifier.vkey);
  }
  if (verified.size === 0) throw bad("No known key signed this note");
  return { text, verified: [...verified].map((vkey) => vkey.slice(0, vkey.indexOf("+"))) };
}
