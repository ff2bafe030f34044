import { isUtf8 } from "node:buffer";
import { isSecretInside } from "../core/secret-value.ts";
import { type Arena, ByteSet } from "./arena.ts";

/** How deep a value is looked into: a line of a field of a JSON text in a field of a JSON text. */
const DEPTH = 4;

/**
 * The values inside a secret that are secrets too: its lines, the texts and long numbers of a JSON value, a URL's user and
 * password, what stands after NAME= or name: in a line. Those that are too short or too common to be looked for are left
 * out (`isSecretInside`). The value itself is not among them. They share `value`'s memory or lie in `arena`; of a JSON value's
 * fields alone copies are made as strings.
 */
export function partsInside(value: Buffer, arena: Arena): Buffer[] {
  // What is no text has no lines.
  if (!isUtf8(value)) return [];
  let end = value.length;
  while (end > 0 && (value[end - 1] === 0x0a || value[end - 1] === 0x0d)) end--;
  const whole = value.subarray(0, end);
  const parts = new Parts(arena);
  parts.look(whole, DEPTH);
  return parts.found.filter((part) => !part.equals(whole) && isSecretInside(part));
}

const [NEWLINE, RETURN, QUOTE, APOSTROPHE, PERCENT, COLON, EQUALS, SLASH, AT] = [
  0x0a, 0x0d, 0x22, 0x27, 0x25, 0x3a, 0x3d, 0x2f, 0x40,
];
const EXPORT = Buffer.from("export");
const SCHEME_END = Buffer.from("://");
/** What String.prototype.trim takes off, of what is seen in files: white space, no-break space, byte order mark. */
const SPACES = [
  [0xc2, 0xa0],
  [0xef, 0xbb, 0xbf],
].map((bytes) => Buffer.from(bytes));
const NAME_BYTES = 100;

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
const isQuote = (byte: number | undefined): boolean => byte === QUOTE || byte === APOSTROPHE;
const isLetter = (byte = 0): boolean => (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a;
const isDigit = (byte = 0): boolean => byte >= 0x30 && byte <= 0x39;
const among = (byte: number | undefined, chars: string): boolean =>
  byte !== undefined && chars.includes(String.fromCharCode(byte));

class Parts {
  readonly found: Buffer[] = [];
  readonly #arena: Arena;
  readonly #seen = new ByteSet();

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  look(text: Buffer, depth: number): void {
    if (depth === 0) return;
    const fields = this.#fields(text);
    if (fields !== null) {
      for (const field of fields) this.#add(field, depth);
      return;
    }
    if (text.includes(NEWLINE) || text.includes(RETURN)) {
      for (const line of lines(text)) this.#add(trimmed(line), depth);
      return;
    }
    for (const part of userOf(text)) {
      this.#add(part, depth);
      this.#add(this.#decoded(part), depth);
    }
    for (const part of assigned(text)) this.#add(part, depth);
  }

  #add(part: Buffer, depth: number): void {
    if (!this.#seen.add(part)) return;
    this.found.push(part);
    this.look(part, depth - 1);
  }

  /** Every text, and every number of six digits or more, of a JSON object or array; null for anything else. */
  #fields(text: Buffer): Buffer[] | null {
    if (!among(trimmed(text)[0], "[{")) return null;
    let whole: unknown;
    try {
      whole = JSON.parse(text.toString("utf8"));
    } catch {
      return null;
    }
    const fields: Buffer[] = [];
    const open: unknown[] = [whole];
    while (open.length > 0) {
      const value = open.pop();
      if (typeof value === "string" || typeof value === "number") fields.push(this.#copy(String(value)));
      else if (value !== null && typeof value === "object")
        for (const item of Object.values(value)) open.push(item);
    }
    return fields;
  }

  #copy(text: string): Buffer {
    // Slow: not in the pool; wiped when it has been copied.
    const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
    bytes.write(text);
    const copy = this.#arena.copy(bytes);
    bytes.fill(0);
    return copy;
  }

  /** As decodeURIComponent: unchanged where it is no such text. */
  #decoded(part: Buffer): Buffer {
    if (!part.includes(PERCENT)) return part;
    const arena = this.#arena;
    arena.begin(part.length);
    for (let at = 0; at < part.length; at++) {
      if (part[at] !== PERCENT) arena.byte(part[at]!);
      else {
        const high = digitOf(part[at + 1]);
        const low = digitOf(part[at + 2]);
        if (high < 0 || low < 0) return part;
        arena.byte((high << 4) | low);
        at += 2;
      }
    }
    const bytes = arena.take();
    return isUtf8(bytes) ? bytes : part;
  }
}

function digitOf(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (isDigit(byte)) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function lines(text: Buffer): Buffer[] {
  const all: Buffer[] = [];
  let from = 0;
  for (let at = 0; at <= text.length; at++) {
    if (at < text.length && text[at] !== NEWLINE && text[at] !== RETURN) continue;
    all.push(text.subarray(from, at));
    from = at + 1;
  }
  return all;
}

function trimmed(text: Buffer): Buffer {
  for (let rest = text; ; ) {
    const before = rest.length;
    if (isSpace(rest[0])) rest = rest.subarray(1);
    else if (isSpace(rest[before - 1])) rest = rest.subarray(0, -1);
    for (const space of SPACES) {
      if (rest.subarray(0, space.length).equals(space)) rest = rest.subarray(space.length);
      else if (rest.subarray(-space.length).equals(space)) rest = rest.subarray(0, -space.length);
    }
    if (rest.length === before) return rest;
  }
}

/** User and password of a URL (RFC 3986, 3.2.1), as they stand there. */
function userOf(text: Buffer): Buffer[] {
  for (let colon = text.indexOf(SCHEME_END); colon >= 0; colon = text.indexOf(SCHEME_END, colon + 1)) {
    let scheme = colon;
    let isScheme = false;
    while (
      scheme > 0 &&
      (isLetter(text[scheme - 1]) || isDigit(text[scheme - 1]) || among(text[scheme - 1], "+.-"))
    )
      isScheme = isLetter(text[--scheme]) || isScheme;
    const from = colon + SCHEME_END.length;
    let end = from;
    while (end < text.length && !isSpace(text[end]) && !among(text[end], "/?#")) end++;
    const at = text.subarray(0, end).lastIndexOf(AT);
    if (!isScheme || at < from) continue;
    const user = text.subarray(from, at);
    const split = user.indexOf(COLON);
    return split < 0 ? [user] : [user.subarray(0, split), user.subarray(split + 1)];
  }
  return [];
}

/** NAME=value as in an environment file, name: value as in YAML or a header, user:password; without the quotes around it. */
function assigned(text: Buffer): Buffer[] {
  let at = 0;
  while (isSpace(text[at])) at++;
  const exported = at + EXPORT.length;
  let value: Buffer | null = null;
  if (text.subarray(at, exported).equals(EXPORT) && isSpace(text[exported])) {
    let name = exported;
    while (isSpace(text[name])) name++;
    value = valueAfter(text, name);
  }
  value ??= valueAfter(text, at);
  if (value === null || value.length === 0) return [];
  const bare = among(value.at(-1), ";,") && isQuote(value.at(-2)) ? value.subarray(0, -1) : value;
  const isQuoted = bare.length >= 2 && isQuote(bare[0]) && bare[0] === bare.at(-1);
  return isQuoted ? [value, bare.subarray(1, -1)] : [value];
}

function valueAfter(text: Buffer, from: number): Buffer | null {
  let at = isQuote(text[from]) ? from + 1 : from;
  const name = at;
  if (!isLetter(text[at]) && text[at] !== 0x5f) return null;
  while (isLetter(text[at]) || isDigit(text[at]) || among(text[at], "_.-")) at++;
  if (at - name > NAME_BYTES) return null;
  if (isQuote(text[at])) at++;
  while (isSpace(text[at])) at++;
  if (text[at] !== EQUALS && text[at] !== COLON) return null;
  const value = text.subarray(at + 1);
  return value[0] === SLASH && value[1] === SLASH ? null : trimmed(value);
}
