import { isUtf8 } from "node:buffer";

/** JSON (RFC 8259) over bytes: one value is cut out, and nothing of the document becomes a string on the way. */
export type Span = {
  kind: "string" | "number" | "object" | "array" | "true" | "false" | "null";
  /** Of a string without its quotes. */
  from: number;
  to: number;
};

export class MalformedJson extends Error {
  override readonly name = "MalformedJson";
}

const DEPTH = 32;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const SIMPLE: Readonly<Record<number, number>> = {
  34: 0x22,
  92: 0x5c,
  47: 0x2f,
  98: 0x08,
  102: 0x0c,
  110: 0x0a,
  114: 0x0d,
  116: 0x09,
};
const LITERALS = (["true", "false", "null"] as const).map((kind) => [kind, Buffer.from(kind)] as const);

/**
 * The value that lies under these names, outermost first; undefined where there is none. The whole document is looked at.
 * Throws MalformedJson, also where a name on the way stands twice in its object: which of them counts nobody could say.
 */
export function find(bytes: Buffer, names: readonly string[]): Span | undefined {
  if (!isUtf8(bytes)) throw new MalformedJson("not UTF-8");
  return new Scanner(
    bytes,
    names.map((name) => Buffer.from(name)),
  ).document();
}

/** The bytes that a string stands for, in memory of their own. Throws MalformedJson where a surrogate stands alone. */
export function unescaped(bytes: Buffer, { from, to }: Span): Buffer {
  const room = Buffer.allocUnsafeSlow(to - from);
  let length = 0;
  try {
    for (let at = from; at < to; ) {
      const byte = bytes[at]!;
      if (byte !== BACKSLASH) {
        room[length++] = byte;
        at++;
      } else if (bytes[at + 1] !== 0x75) {
        room[length++] = SIMPLE[bytes[at + 1]!]!;
        at += 2;
      } else {
        const { point, next } = pointAt(bytes, at, to);
        length = putUtf8(room, length, point);
        at = next;
      }
    }
    const value = Buffer.allocUnsafeSlow(length);
    room.copy(value, 0, 0, length);
    return value;
  } finally {
    room.fill(0);
  }
}

/** A whole number of a document's, from 0 to 2^31 - 1; null where the value is something else. */
export function wholeNumber(bytes: Buffer, span: Span | undefined): number | null {
  if (span?.kind !== "number" || span.to - span.from > 10) return null;
  let value = 0;
  for (let at = span.from; at < span.to; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) return null;
    value = value * 10 + digit;
  }
  return value <= 0x7fffffff ? value : null;
}

function pointAt(bytes: Buffer, at: number, to: number): { point: number; next: number } {
  const unit = hex4(bytes, at + 2);
  if (unit < 0xd800 || unit > 0xdfff) return { point: unit, next: at + 6 };
  const isPair = unit < 0xdc00 && at + 12 <= to && bytes[at + 6] === BACKSLASH && bytes[at + 7] === 0x75;
  const low = isPair ? hex4(bytes, at + 8) : 0;
  if (low < 0xdc00 || low > 0xdfff) throw new MalformedJson("a surrogate alone");
  return { point: 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), next: at + 12 };
}

/** An escape takes at least as many bytes as what it stands for. */
function putUtf8(into: Buffer, at: number, point: number): number {
  if (point < 0x80) into[at++] = point;
  else {
    if (point < 0x800) into[at++] = 0xc0 | (point >> 6);
    else {
      if (point < 0x10000) into[at++] = 0xe0 | (point >> 12);
      else {
        into[at++] = 0xf0 | (point >> 18);
        into[at++] = 0x80 | ((point >> 12) & 0x3f);
      }
      into[at++] = 0x80 | ((point >> 6) & 0x3f);
    }
    into[at++] = 0x80 | (point & 0x3f);
  }
  return at;
}

function hex4(bytes: Buffer, at: number): number {
  let value = 0;
  for (let i = at; i < at + 4; i++) {
    const digit = hexDigit(bytes[i]);
    if (digit < 0) throw new MalformedJson("a bad escape");
    value = value * 16 + digit;
  }
  return value;
}

function hexDigit(byte = 0): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

class Scanner {
  readonly #bytes: Buffer;
  readonly #names: readonly Buffer[];
  #at = 0;
  #found: Span | undefined;

  constructor(bytes: Buffer, names: readonly Buffer[]) {
    this.#bytes = bytes;
    this.#names = names;
  }

  document(): Span | undefined {
    this.#value(0, 0);
    this.#space();
    if (this.#at !== this.#bytes.length) throw new MalformedJson("something after the value");
    return this.#found;
  }

  /** `on`: how many of the names led here; -1: another way did. */
  #value(depth: number, on: number): void {
    if (depth > DEPTH) throw new MalformedJson("nested too deeply");
    this.#space();
    const start = this.#at;
    const byte = this.#bytes[start];
    let span: Span;
    if (byte === QUOTE) span = this.#string();
    else {
      const kind =
        byte === 0x7b ? this.#object(depth, on) : byte === 0x5b ? this.#array(depth) : this.#scalar();
      span = { kind, from: start, to: this.#at };
    }
    if (on === this.#names.length) this.#found = span;
  }

  #object(depth: number, on: number): "object" {
    this.#at++;
    let met = false;
    for (let first = true; !this.#closes(0x7d, first); first = false) {
      this.#space();
      if (this.#bytes[this.#at] !== QUOTE) throw new MalformedJson("a name is missing");
      const isIt = this.#isName(this.#string(), on);
      if (isIt && met) throw new MalformedJson("a name twice");
      met ||= isIt;
      this.#space();
      if (this.#bytes[this.#at++] !== 0x3a) throw new MalformedJson("a colon is missing");
      this.#value(depth + 1, isIt ? on + 1 : -1);
    }
    return "object";
  }

  #array(depth: number): "array" {
    this.#at++;
    for (let first = true; !this.#closes(0x5d, first); first = false) this.#value(depth + 1, -1);
    return "array";
  }

  /** Takes the closing bracket, or the comma before what follows. */
  #closes(bracket: number, first: boolean): boolean {
    this.#space();
    const byte = this.#bytes[this.#at];
    if (byte === bracket) {
      this.#at++;
      return true;
    }
    if (first) return false;
    if (byte !== COMMA) throw new MalformedJson("a comma is missing");
    this.#at++;
    return false;
  }

  #isName(span: Span, on: number): boolean {
    const wanted = on < 0 ? undefined : this.#names[on];
    return wanted !== undefined && unescaped(this.#bytes, span).equals(wanted);
  }

  #string(): Span {
    const from = ++this.#at;
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined || byte < 0x20) throw new MalformedJson("a string does not end");
      if (byte === QUOTE) return { kind: "string", from, to: this.#at++ };
      if (byte !== BACKSLASH) this.#at++;
      else if (this.#bytes[this.#at + 1] === 0x75) {
        hex4(this.#bytes, this.#at + 2);
        this.#at += 6;
      } else if (SIMPLE[this.#bytes[this.#at + 1] ?? 0] !== undefined) this.#at += 2;
      else throw new MalformedJson("a bad escape");
    }
  }

  #scalar(): Span["kind"] {
    for (const [kind, text] of LITERALS) {
      if (!this.#bytes.subarray(this.#at, this.#at + text.length).equals(text)) continue;
      this.#at += text.length;
      return kind;
    }
    if (this.#bytes[this.#at] === 0x2d) this.#at++;
    if (this.#bytes[this.#at] === 0x30) this.#at++;
    else this.#digits();
    if (this.#bytes[this.#at] === 0x2e) {
      this.#at++;
      this.#digits();
    }
    if (((this.#bytes[this.#at] ?? 0) | 0x20) === 0x65) {
      this.#at++;
      if (this.#bytes[this.#at] === 0x2b || this.#bytes[this.#at] === 0x2d) this.#at++;
      this.#digits();
    }
    return "number";
  }

  #digits(): void {
    const from = this.#at;
    while ((this.#bytes[this.#at] ?? 0) >= 0x30 && (this.#bytes[this.#at] ?? 0) <= 0x39) this.#at++;
    if (this.#at === from) throw new MalformedJson("no value");
  }

  #space(): void {
    for (;;) {
      const byte = this.#bytes[this.#at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.#at++;
    }
  }
}
