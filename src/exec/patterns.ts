import { isUtf8 } from "node:buffer";
import { isSecretInside } from "../core/secret-value.ts";
import { Arena, ByteSet } from "./arena.ts";
import { partsInside } from "./secret-parts.ts";
import {
  BYTE_ESCAPES,
  JSON_ESCAPES,
  PERCENT,
  quotedPrintable,
  SHELL,
  type Spelling,
  XML,
} from "./spellings.ts";

/** One form in which a secret may show up in output. `loose`: without `SKIPPED` bytes, and these inside it don't hide it. */
export interface Pattern {
  readonly name: string;
  readonly bytes: Buffer;
  readonly loose: boolean;
}

/** White space, ":" and "=": what wraps base64 and quoted-printable, spaces hex, breaks a long line. */
export const SKIPPED: readonly number[] = [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x3a, 0x3d];

/** A form shorter than this is no pattern. */
export const SHORTEST = 4;
/** Plain text that may have white space inside is looked for from this length on, and so is text backwards. */
const LOOSE_FROM = 8;
/**
 * A longer value has its escaped forms looked for in its lines and fields only, and what is spelled byte by byte or in UTF-16 not
 * at all: they would cost megabytes.
 */
const TEXT_FORMS_TO = 4096;
/** A longer part is looked for in overlapping pieces, so that no form is longer than some kilobytes. */
const WHOLE_TO = 512;
const PIECE = 256;
const OVERLAP = 16;

/**
 * The forms of one secret and of the values inside it (`partsInside`): plain, base64 in both alphabets and all three
 * alignments, of UTF-16 too, hex, URL (twice encoded too), JSON, shell, C and Python, XML and quoted-printable escapes,
 * UTF-16, plain text backwards. docs/redaction.md says what is out of reach. None becomes a string; all lie in `arena`.
 */
export function* patternsOf(name: string, value: Uint8Array, arena = new Arena()): Generator<Pattern> {
  const seen = { loose: new ByteSet(), exact: new ByteSet() };
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  for (const loose of new Forms(arena).of(bytes)) {
    const form = arena.take();
    if (form.length >= SHORTEST && seen[loose ? "loose" : "exact"].add(form))
      yield { name, bytes: form, loose };
    else arena.drop();
  }
}

const QUOTED_PRINTABLE = quotedPrintable(SKIPPED);
const IS_SKIPPED = Array.from({ length: 256 }, (_, byte) => SKIPPED.includes(byte));
const ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const [BASE64, HEX] = [
  [`${ALPHANUMERIC}+/`, `${ALPHANUMERIC}-_`].map((text) => Buffer.from(text)),
  ["0123456789abcdef", "0123456789ABCDEF"].map((text) => Buffer.from(text)),
];
/** What stands before each byte, and between two, as xxd, dumps and string literals write bytes. */
const SPELLED_HEX = [
  ["", "-"],
  ["\\x", ""],
  ["0x", ", "],
  ["0x", ","],
  ["0x", " "],
] as const;
/** No spelling of a byte, or of a character for each of its bytes, is longer. */
const LONGEST_SPELLING = 6;

/** Each form is what was written to the arena last when a generator gives whether it is loose. */
class Forms {
  readonly #arena: Arena;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  *of(value: Buffer): Generator<boolean> {
    let end = value.length;
    while (end > 0 && (value[end - 1] === 0x0a || value[end - 1] === 0x0d)) end--;
    // The final line break is the output's as much as the secret's; encoded, it belongs to the secret.
    if (end < value.length) for (const piece of pieces(value)) yield* this.#bits(piece, false);
    const spelled = value.length <= TEXT_FORMS_TO;
    for (const part of [value.subarray(0, end), ...partsInside(value, this.#arena)]) {
      const withText = part.length <= TEXT_FORMS_TO;
      for (const piece of pieces(part)) {
        this.#arena.copy(piece);
        yield false;
        yield* this.#bits(piece, spelled);
        yield* this.#squeezed(piece);
        if (withText) yield* this.#texts(piece);
        if (spelled) yield* this.#wide(piece);
      }
    }
  }

  /** Those that see bits and not characters. */
  *#bits(piece: Buffer, spelled: boolean): Generator<boolean> {
    yield* this.#base64(piece);
    for (const digits of HEX) {
      this.#hex(piece, digits, "", "");
      yield true;
      if (!spelled) continue;
      for (const [before, between] of SPELLED_HEX) {
        this.#hex(piece, digits, before, between);
        yield false;
      }
    }
  }

  #hex(piece: Buffer, digits: Buffer, before: string, between: string): void {
    const arena = this.#arena;
    arena.begin(piece.length * LONGEST_SPELLING);
    for (let i = 0; i < piece.length; i++) {
      if (i > 0) arena.text(between);
      arena.text(before);
      arena.byte(digits[piece[i]! >> 4]!);
      arena.byte(digits[piece[i]! & 15]!);
    }
  }

  /**
   * The characters of base64 that depend on the value alone when 0, 1 or 2 bytes of something else stand before it in the
   * encoded text (as in "user:secret"): a match there finds it in any surrounding. And the same with the last character,
   * which holds some bits of the value too, as it is when the encoded text ends there.
   */
  *#base64(value: Buffer): Generator<boolean> {
    const arena = this.#arena;
    for (const alphabet of BASE64)
      for (const shift of [0, 1, 2]) {
        const bits = (shift + value.length) * 8;
        for (const end of [Math.floor(bits / 6), Math.ceil(bits / 6)]) {
          arena.begin(value.length * 2);
          for (let i = Math.ceil((shift * 8) / 6); i < end; i++) {
            const at = ((i * 6) >> 3) - shift;
            const two = ((at < 0 ? 0 : value[at]!) << 8) | (value[at + 1] ?? 0);
            arena.byte(alphabet[(two >> (10 - ((i * 6) & 7))) & 63]!);
          }
          yield true;
        }
      }
  }

  *#squeezed(piece: Buffer): Generator<boolean> {
    const arena = this.#arena;
    arena.begin(piece.length);
    for (const byte of piece) if (!IS_SKIPPED[byte]!) arena.byte(byte);
    if (arena.take().length >= LOOSE_FROM) yield true;
    else arena.drop();
  }

  *#texts(piece: Buffer): Generator<boolean> {
    yield* this.#spelled(piece, PERCENT);
    this.#spell(piece, QUOTED_PRINTABLE);
    yield true;
    yield* this.#spelled(piece, BYTE_ESCAPES);
    if (!isUtf8(piece)) return;
    yield* this.#spelled(piece, JSON_ESCAPES);
    for (const spelling of JSON_ESCAPES) {
      this.#asciiJson(piece, spelling);
      yield false;
    }
    yield* this.#spelled(piece, SHELL);
    yield* this.#spelled(piece, XML);
    if (unitsOf(piece) < LOOSE_FROM) return;
    this.#backwards(piece);
    yield false;
  }

  *#spelled(piece: Buffer, spellings: readonly Spelling[]): Generator<boolean> {
    for (const spelling of spellings) {
      this.#spell(piece, spelling);
      yield false;
    }
  }

  #spell(piece: Buffer, spelling: Spelling): void {
    const arena = this.#arena;
    arena.begin(piece.length * LONGEST_SPELLING);
    for (const byte of piece) {
      const written = spelling[byte];
      if (written === undefined) arena.byte(byte);
      else arena.text(written);
    }
  }

  /** Python's: ASCII alone. */
  #asciiJson(piece: Buffer, spelling: Spelling): void {
    const arena = this.#arena;
    arena.begin(piece.length * LONGEST_SPELLING);
    for (let at = 0; at < piece.length; at += lengthAt(piece, at)) {
      const byte = piece[at]!;
      const written = spelling[byte];
      if (byte >= 0x7f) {
        for (const unit of unitsAt(piece, at)) {
          arena.text("\\u");
          for (let by = 12; by >= 0; by -= 4) arena.byte(HEX[0]![(unit >> by) & 15]!);
        }
      } else if (written === undefined) arena.byte(byte);
      else arena.text(written);
    }
  }

  #backwards(piece: Buffer): void {
    const arena = this.#arena;
    arena.begin(piece.length);
    for (let end = piece.length; end > 0; ) {
      const start = characterStart(piece, end - 1);
      for (let at = start; at < end; at++) arena.byte(piece[at]!);
      end = start;
    }
  }

  *#wide(piece: Buffer): Generator<boolean> {
    if (!isUtf8(piece)) return;
    const arena = this.#arena;
    for (const [first, second] of [
      [0, 8],
      [8, 0],
    ] as const) {
      arena.begin(piece.length * 2);
      for (let at = 0; at < piece.length; at += lengthAt(piece, at))
        for (const unit of unitsAt(piece, at)) {
          arena.byte((unit >> first) & 255);
          arena.byte((unit >> second) & 255);
        }
      const wide = arena.take();
      yield false;
      // It may have been dropped.
      if (first === 0) yield* this.#base64(arena.copy(wide));
    }
  }
}

function* pieces(part: Buffer): Generator<Buffer> {
  if (part.length <= WHOLE_TO) {
    yield part;
    return;
  }
  for (let at = 0; at + OVERLAP < part.length; at += PIECE - OVERLAP) {
    const piece = part.subarray(characterStart(part, at), characterStart(part, at + PIECE));
    // Padding and zeros in it are nobody's.
    if (isSecretInside(piece)) yield piece;
  }
}

/** The start of the UTF-8 character that the byte at `at` belongs to. */
function characterStart(bytes: Buffer, at: number): number {
  let start = Math.min(at, bytes.length);
  while (start > 0 && at - start < 4 && (bytes[start]! & 0xc0) === 0x80) start--;
  return start;
}

/** Of the UTF-8 character that begins there. */
function lengthAt(bytes: Buffer, at: number): number {
  const byte = bytes[at]!;
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/** The UTF-16 units of the UTF-8 character that begins there. */
function unitsAt(bytes: Buffer, at: number): number[] {
  const length = lengthAt(bytes, at);
  let point = length === 1 ? bytes[at]! : bytes[at]! & (0xff >> (length + 1));
  for (let i = 1; i < length; i++) point = (point << 6) | (bytes[at + i]! & 0x3f);
  if (point < 0x10000) return [point];
  return [0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff)];
}

/** Length in UTF-16 of UTF-8. */
function unitsOf(bytes: Buffer): number {
  let units = 0;
  for (let at = 0; at < bytes.length; at += lengthAt(bytes, at)) units += lengthAt(bytes, at) === 4 ? 2 : 1;
  return units;
}
