import { SallyportError } from "../core/errors.ts";

export type SignatureLine = { name: string; keyId: Buffer; signature: Buffer };

const NOTE_BYTES = 64 * 1024;
const SIGNATURES = 100;
const LINE = /^\u2014 ([^\s+]{1,200}) ([A-Za-z0-9+/]+={0,2})$/u;

const bad = (what: string): SallyportError => new SallyportError("log_damaged", `${what}.`);

/** What keeps a text from being a note's, or null. */
export function checkNote(text: string): string | null {
  if (!text.endsWith("\n")) return "no final newline";
  if (!text.isWellFormed()) return "characters that are not Unicode";
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 && code !== 0x0a) return "control characters";
  }
  return null;
}

/** Splits a note into text (with its final newline) and signature lines. Throws `log_damaged`. */
export function splitNote(note: string | Uint8Array): { text: string; signatures: SignatureLine[] } {
  if (note.length > NOTE_BYTES) throw bad(`A note is larger than ${NOTE_BYTES} bytes`);
  const whole = typeof note === "string" ? note : decode(note);
  const why = checkNote(whole);
  if (why !== null) throw bad(`A note has ${why}`);
  // The last blank line, because the text may hold blank lines of its own.
  const at = whole.lastIndexOf("\n\n");
  if (at < 0) throw bad("A note has no signatures");
  const lines = whole.slice(at + 2, -1).split("\n");
  if (lines.length > SIGNATURES) throw bad(`A note has more than ${SIGNATURES} signatures`);
  return { text: whole.slice(0, at + 1), signatures: lines.map(parseLine) };
}

function parseLine(line: string): SignatureLine {
  const match = LINE.exec(line);
  const bytes = Buffer.from(match?.[2] ?? "", "base64");
  if (match === null || bytes.length < 5 || bytes.toString("base64") !== match[2])
    throw bad("A note has a malformed signature line");
  return { name: match[1]!, keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) };
}

function decode(note: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(note);
  } catch {
    throw bad("A note is not UTF-8");
  }
}
