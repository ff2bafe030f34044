/** Bytes of a secret's value. */
export const SECRET_BYTES = 64 * 1024;
/** What a secret's value has at least, so that it can be found in output without taking ordinary text out with it. */
const LEAST = 4;
/** A value inside another (a line, a field) is nobody's choice, so that a short one is no pattern rather than refused. */
const LEAST_INSIDE = 6;

/** Compared without case. Words and numbers that output is full of; they hide nothing from anybody either. */
const COMMON: readonly Buffer[] = [
  "true false null none undefined yes no on off enabled disabled unset empty nil nan",
  "user username name admin administrator root default guest test testing example changeme password passwd secret token",
  "localhost postgres postgresql mysql mariadb redis mongodb oracle service_account database server client host hostname",
  "string number object array boolean string_value info debug error warning warn fatal trace notice",
  "production prod staging development develop dev main master latest public private internal",
  "1234 12345 123456 1234567 12345678 123456789 1234567890 0123456789 qwerty abcd abcdef",
  "http https ftp ssh git get post put delete head options application/json text/plain utf-8",
  "127.0.0.1 0.0.0.0 begin end done failed success successful started stopped running",
].flatMap((line) => line.split(" ").map((word) => Buffer.from(word)));

/**
 * Why these bytes can't be a secret's value, as a sentence that never quotes them; null when they can. A final line break
 * does not count: it is the file's. For `secret set` and for values that an outside vault gives. They become no string here.
 */
export function secretFault(value: Uint8Array): string | null {
  if (value.length > SECRET_BYTES) return `The value is longer than ${SECRET_BYTES / 1024} KiB.`;
  const bytes = trimmed(value);
  if (bytes.length === 0) return "The value is empty.";
  if (bytes.length < LEAST)
    return `The value is shorter than ${LEAST} bytes: ordinary output holds such text everywhere, so it could not be kept out of it.`;
  if (isCommon(bytes))
    return "The value is a common word, number or repetition: ordinary output holds such text everywhere, so it could not be kept out of it.";
  return null;
}

/** Whether a value inside a secret (a line, a field of JSON, a URL's password) is looked for by itself. */
export function isSecretInside(value: Uint8Array): boolean {
  const bytes = trimmed(value);
  return bytes.length >= LEAST_INSIDE && !isCommon(bytes) && !isPemFrame(bytes);
}

const [DASH, BLANK] = [0x2d, 0x20];
const FRAMES = [Buffer.from("BEGIN "), Buffer.from("END ")];

const isSpace = (byte: number): boolean => byte === BLANK || (byte >= 0x09 && byte <= 0x0d);
const lower = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte);

/** The first and last line of a PEM file (RFC 7468), or of an SSH key, are the same for everybody. */
function isPemFrame(bytes: Uint8Array): boolean {
  let from = 0;
  while (from < 5 && bytes[from] === DASH) from++;
  let end = bytes.length;
  while (bytes.length - end < 5 && bytes[end - 1] === DASH) end--;
  if (from < 4 || bytes.length - end < 4) return false;
  const inside = bytes.subarray(
    bytes[from] === BLANK ? from + 1 : from,
    bytes[end - 1] === BLANK ? end - 1 : end,
  );
  const isLabel = inside.every((b) => b === BLANK || (b >= 0x41 && b <= 0x5a) || (b >= 0x30 && b <= 0x39));
  return isLabel && FRAMES.some((frame) => frame.every((byte, i) => byte === inside[i]));
}

function isCommon(bytes: Uint8Array): boolean {
  if (COMMON.some((word) => isWord(bytes, word))) return true;
  // White space, rulers, padding, zeros.
  return bytes.every(isSpace) || repeats(bytes, 1) || (bytes.length > 8 && repeats(bytes, 2));
}

function repeats(bytes: Uint8Array, period: number): boolean {
  for (let i = period; i < bytes.length; i++) if (bytes[i] !== bytes[i - period]) return false;
  return true;
}

function isWord(bytes: Uint8Array, word: Buffer): boolean {
  let [from, end] = [0, bytes.length];
  while (from < end && isSpace(bytes[from]!)) from++;
  while (end > from && isSpace(bytes[end - 1]!)) end--;
  return end - from === word.length && word.every((byte, i) => byte === lower(bytes[from + i]!));
}

function trimmed(value: Uint8Array): Uint8Array {
  let end = value.length;
  while (end > 0 && (value[end - 1] === 0x0a || value[end - 1] === 0x0d)) end--;
  return value.subarray(0, end);
}
