import { SallyportError } from "../core/errors.ts";

/**
 * Twelve characters: at about a second and a gibibyte a guess, twelve characters that a person chose badly (some 40 bits)
 * still cost centuries of machine time, eight of them (some 25 bits) a year of one machine, and whoever holds a copy of
 * the key file guesses with no one to slow them down. The upper bound keeps a wrong descriptor (a device, a disk) out.
 */
export const PASSPHRASE_CHARACTERS = 12;
export const PASSPHRASE_BYTES = 1024;
const DIFFERENT_BYTES = 5;

/** Throws `input_invalid` for a passphrase that is not good enough for a new slot. The message never holds any of it. */
export function checkPassphrase(passphrase: Uint8Array): void {
  const refuse = (why: string): never => {
    throw new SallyportError("input_invalid", `The passphrase ${why}.`);
  };
  if (passphrase.length > PASSPHRASE_BYTES) refuse(`is longer than ${PASSPHRASE_BYTES} bytes`);
  let characters = 0;
  const seen = new Set<number>();
  for (const byte of passphrase) {
    if (byte < 0x20 || byte === 0x7f)
      refuse("holds a control character (is it a file, or more than one line?)");
    if ((byte & 0xc0) !== 0x80) characters++;
    seen.add(byte);
  }
  if (characters < PASSPHRASE_CHARACTERS)
    refuse(
      `has ${characters} characters; at least ${PASSPHRASE_CHARACTERS} are needed (a few random words do)`,
    );
  if (seen.size < DIFFERENT_BYTES) refuse("repeats the same few characters");
}
