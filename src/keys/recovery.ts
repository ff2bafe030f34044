import { SallyportError } from "../core/errors.ts";
import { keyBuffer, randomKey, wipe } from "./memory.ts";

/**
 * A recovery code is 160 random bits as eight groups of five characters of Crockford's base32: four of data and one
 * check character each. The check finds every single wrong character, every swap of neighbours and every swap of two
 * groups, and says which group it is; so a typo is told apart from a code of another appliance.
 * 160 random bits can't be searched, so HKDF is enough for it: Argon2 would only make recovery slow, or impossible on
 * a rescue machine with little memory.
 */
const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const GROUPS = 8;
const DATA_CHARS = 4;
const SECRET_BYTES = 20;

export function newRecoverySecret(): Buffer {
  return randomKey(SECRET_BYTES);
}

/** "XXXXX-XXXXX-..." as ASCII bytes. The caller prints and wipes them. */
export function encodeRecovery(secret: Uint8Array): Buffer {
  const code = keyBuffer(GROUPS * (DATA_CHARS + 2) - 1);
  let at = 0;
  for (let group = 0; group < GROUPS; group++) {
    if (group > 0) code[at++] = 0x2d;
    let check = group;
    for (let i = 0; i < DATA_CHARS; i++) {
      const digit = digitAt(secret, group * DATA_CHARS + i);
      check ^= times(digit, i + 1);
      code[at++] = ALPHABET.charCodeAt(digit);
    }
    code[at++] = ALPHABET.charCodeAt(check);
  }
  return code;
}

/**
 * The 20 bytes of a code as a person typed it: any case, with or without dashes and blanks, I and L for 1, O for 0.
 * Throws `input_invalid` that names the group with the typo; the message holds no character of the code.
 */
export function decodeRecovery(typed: Uint8Array): Buffer {
  const refuse = (why: string): never => {
    throw new SallyportError("input_invalid", `The recovery code ${why}.`);
  };
  const total = GROUPS * (DATA_CHARS + 1);
  const digits = keyBuffer(total);
  const secret = keyBuffer(SECRET_BYTES);
  try {
    let count = 0;
    for (const byte of typed) {
      if (byte === 0x2d || byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d) continue;
      if (count === total) refuse(`is longer than ${total} characters`);
      const digit = digitOf(byte);
      if (digit < 0) refuse(`has a character in group ${groupOf(count)} that is in no code`);
      digits[count++] = digit;
    }
    if (count < total) refuse(`has ${count} of its ${total} characters`);
    for (let group = 0; group < GROUPS; group++) {
      const start = group * (DATA_CHARS + 1);
      let check = group ^ digits[start + DATA_CHARS]!;
      for (let i = 0; i < DATA_CHARS; i++) {
        check ^= times(digits[start + i]!, i + 1);
        putDigit(secret, group * DATA_CHARS + i, digits[start + i]!);
      }
      if (check !== 0) refuse(`has a typing error in group ${group + 1} of ${GROUPS}`);
    }
    return secret;
  } catch (error) {
    wipe(secret);
    throw error;
  } finally {
    wipe(digits);
  }
}

const groupOf = (position: number): number => Math.floor(position / (DATA_CHARS + 1)) + 1;

function digitOf(byte: number): number {
  const upper = String.fromCharCode(byte).toUpperCase();
  if (upper === "I" || upper === "L") return 1;
  if (upper === "O") return 0;
  return ALPHABET.indexOf(upper);
}

/** Five bits number `position`, most significant first. */
function digitAt(bytes: Uint8Array, position: number): number {
  const bit = position * 5;
  const pair = (bytes[bit >> 3]! << 8) | (bytes[(bit >> 3) + 1] ?? 0);
  return (pair >> (11 - (bit & 7))) & 31;
}

function putDigit(bytes: Uint8Array, position: number, digit: number): void {
  const bit = position * 5;
  const pair = digit << (11 - (bit & 7));
  bytes[bit >> 3]! |= pair >> 8;
  if ((bit >> 3) + 1 < bytes.length) bytes[(bit >> 3) + 1]! |= pair & 0xff;
}

/** digit * x^power in GF(32) with x^5 + x^2 + 1: multiples by different powers differ, which finds swapped neighbours. */
function times(digit: number, power: number): number {
  let value = digit;
  for (let i = 0; i < power; i++) {
    value <<= 1;
    if (value & 32) value ^= 0b100101;
  }
  return value;
}
