import { isUtf8 } from "node:buffer";
import { isSecretInside } from "../core/secret-value.ts";
import { partsInside } from "./secret-parts.ts";

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
 * UTF-16, plain text backwards. docs/redaction.md says what is out of reach.
 */
export function* patternsOf(name: string, value: Uint8Array): Generator<Pattern> {
  const seen = new Set<string>();
  for (const { bytes, loose } of formsOf(Buffer.from(value))) {
    const key = `${loose ? 1 : 0}${bytes.toString("latin1")}`;
    if (bytes.length < SHORTEST || seen.has(key)) continue;
    seen.add(key);
    yield { name, bytes, loose };
  }
}

type Form = Omit<Pattern, "name">;

function* formsOf(value: Buffer): Generator<Form> {
  const trimmed = Buffer.from(value.toString("latin1").replace(/[\r\n]+$/, ""), "latin1");
  // The final line break is the output's as much as the secret's; encoded, it belongs to the secret.
  if (trimmed.length < value.length) for (const piece of pieces(value)) yield* bitForms(piece, false);
  const spelled = value.length <= TEXT_FORMS_TO;
  for (const part of [trimmed, ...partsInside(value)]) {
    const withText = part.length <= TEXT_FORMS_TO;
    for (const piece of pieces(part)) {
      yield { bytes: piece, loose: false };
      yield* bitForms(piece, spelled);
      yield* plainForms(piece);
      if (withText) yield* textForms(piece);
      if (spelled) yield* wideForms(piece);
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

/** Those that see bits and not characters. */
function* bitForms(piece: Buffer, spelled: boolean): Generator<Form> {
  yield* base64Forms(piece);
  for (const hex of [piece.toString("hex"), piece.toString("hex").toUpperCase()]) {
    yield { bytes: Buffer.from(hex), loose: true };
    if (spelled) for (const form of spelledHex(hex)) yield { bytes: Buffer.from(form), loose: false };
  }
}

function* plainForms(piece: Buffer): Generator<Form> {
  const squeezed = piece.filter((byte) => !SKIPPED.includes(byte));
  if (squeezed.length >= LOOSE_FROM) yield { bytes: Buffer.from(squeezed), loose: true };
}

function* textForms(piece: Buffer): Generator<Form> {
  for (const form of percentForms(piece)) yield { bytes: Buffer.from(form), loose: false };
  yield { bytes: squeeze(quotedPrintable(piece)), loose: true };
  for (const form of byteEscapes(piece)) yield { bytes: Buffer.from(form), loose: false };
  if (!isUtf8(piece)) return;
  const text = piece.toString("utf8");
  for (const form of [...jsonForms(text), ...shellForms(text), ...xmlForms(text)])
    yield { bytes: Buffer.from(form), loose: false };
  if (text.length >= LOOSE_FROM) yield { bytes: Buffer.from([...text].reverse().join("")), loose: false };
}

function* wideForms(piece: Buffer): Generator<Form> {
  if (!isUtf8(piece)) return;
  const wide = Buffer.from(piece.toString("utf8"), "utf16le");
  yield* base64Forms(wide);
  yield { bytes: wide, loose: false };
  yield { bytes: Buffer.from(wide).swap16(), loose: false };
}

function squeeze(text: string): Buffer {
  return Buffer.from(Buffer.from(text, "latin1").filter((byte) => !SKIPPED.includes(byte)));
}

/** As xxd, dumps and string literals write bytes. */
function spelledHex(hex: string): string[] {
  const bytes = hex.match(/../g) ?? [];
  return [
    bytes.join("-"),
    bytes.map((b) => `\\x${b}`).join(""),
    ...[", ", ",", " "].map((by) => bytes.map((b) => `0x${b}`).join(by)),
  ];
}

/**
 * The characters of base64 that depend on the value alone when 0, 1 or 2 bytes of something else stand before it in the
 * encoded text (as in "user:secret"): a match there finds it in any surrounding. And the same with the last character,
 * which holds some bits of the value too, as it is when the encoded text ends there.
 */
function* base64Forms(value: Buffer): Generator<Form> {
  for (const alphabet of ["base64", "base64url"] as const)
    for (const shift of [0, 1, 2]) {
      const encoded = Buffer.concat([Buffer.alloc(shift), value])
        .toString(alphabet)
        .replace(/=+$/, "");
      const first = Math.ceil((shift * 8) / 6);
      const whole = Math.floor(((shift + value.length) * 8) / 6);
      yield { bytes: Buffer.from(encoded.slice(first, whole), "latin1"), loose: true };
      yield { bytes: Buffer.from(encoded.slice(first), "latin1"), loose: true };
    }
}

/** encodeURIComponent, RFC 3986 strict, and encodeURI leave different characters as they are. */
const URL_KEEPS = [/[A-Za-z0-9\-_.~]/, /[A-Za-z0-9\-_.!~*'()]/, /[A-Za-z0-9\-_.!~*'();/?:@&=+$,#]/];

function* percentForms(value: Buffer): Generator<string> {
  const spell = (upper: boolean, keep: RegExp): string =>
    [...value]
      .map((byte) => {
        const char = String.fromCharCode(byte);
        if (keep.test(char)) return char;
        const hex = byte.toString(16).padStart(2, "0");
        return `%${upper ? hex.toUpperCase() : hex}`;
      })
      .join("");
  for (const upper of [true, false])
    for (const keep of URL_KEEPS) {
      const form = spell(upper, keep);
      yield* [form, form.replaceAll("%20", "+"), form.replaceAll("%", "%25")];
    }
}

/** RFC 2045, 6.7. The soft line breaks are skipped. */
function quotedPrintable(value: Buffer): string {
  return value
    .toString("latin1")
    .replace(/[^ -<>-~\t\r\n]/g, (c) => `=${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

/** Python's repr, and bash's $'...' and ls with their octal numbers: bytes that can't be printed are spelled. */
function byteEscapes(value: Buffer): string[] {
  const text = value.toString("latin1");
  const spell = (quote: string, byte: (code: number) => string): string =>
    text.replace(/[^ -~]|\\|'|"/g, (c) =>
      c === "'" || c === '"' ? (quote.includes(c) ? `\\${c}` : c) : (NAMED[c] ?? byte(c.charCodeAt(0))),
    );
  const hex = (code: number): string => `\\x${code.toString(16).padStart(2, "0")}`;
  const octal = (code: number): string => `\\${code.toString(8).padStart(3, "0")}`;
  return ["", "'", '"'].flatMap((quote) => [spell(quote, hex), spell(quote, octal)]);
}

/** As JavaScript, Python (ASCII alone) and Go (safe in HTML) write JSON, and with "/" escaped as PHP does. */
function jsonForms(text: string): string[] {
  const json = JSON.stringify(text).slice(1, -1);
  const unicode = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  const ascii = json.replace(/[\u007f-\uffff]/g, unicode);
  return [
    json,
    ascii,
    ...[json, ascii].flatMap((j) => [j.replace(/[<>&]/g, unicode), j.replaceAll("/", "\\/")]),
  ];
}

/** In single quotes, in double quotes and bare for a POSIX shell. */
function shellForms(text: string): string[] {
  return [
    text.replaceAll("'", "'\\''"),
    text.replaceAll("'", `'"'"'`),
    text.replace(/[\\"$`]/g, "\\$&"),
    text.replace(/[^A-Za-z0-9_@%+=:,./-]/g, "\\$&"),
  ];
}

/** As text and as an attribute of XML and HTML; quotes by name, by number, or as they are. */
function xmlForms(text: string): string[] {
  const xml = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const quoted = [
    ["&quot;", "&#39;"],
    ["&quot;", "&#x27;"],
    ["&quot;", "&apos;"],
    ["&#34;", "&#39;"],
    ["&quot;", "'"],
  ] as const;
  const forms = quoted.map(([double, single]) => xml.replaceAll('"', double).replaceAll("'", single));
  const numbered = text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  return [xml, ...forms, ...forms.map((form) => form.replaceAll("\n", "&#10;")), numbered];
}
