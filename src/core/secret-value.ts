/** Bytes of a secret's value. */
export const SECRET_BYTES = 64 * 1024;

const LEAST = 4;
/** What output is full of: taken out of it, it would make it unreadable and tell what the secret is. */
const COMMON: readonly Buffer[] =
  "true false null none undefined test admin root user name password secret default localhost"
    .split(" ")
    .map((word) => Buffer.from(word));

/** Why a value can't be kept as a secret, as a sentence that tells nothing of it; null: it can. */
export function secretFault(value: Uint8Array): string | null {
  if (value.length === 0) return "The value is empty.";
  if (value.length > SECRET_BYTES) return `The value is longer than ${SECRET_BYTES / 1024} KiB.`;
  if (value.length < LEAST)
    return `The value is shorter than ${LEAST} bytes, so that it could not be taken out of an Op's output.`;
  if (COMMON.some((word) => isWord(value, word)))
    return "The value is a common word, so that taking it out of an Op's output would take out much else.";
  return null;
}

/** Byte by byte: the value must not become a string. */
function isWord(value: Uint8Array, word: Buffer): boolean {
  return value.length === word.length && word.every((byte, i) => byte === (value[i]! | 0x20));
}
