/** One form in which a secret may show up in output. `loose`: white space inside does not hide it (wrapped base64, spaced hex). */
export interface Pattern {
  readonly name: string;
  readonly bytes: Buffer;
  readonly loose: boolean;
}

/** Encoded forms of a value shorter than this are so short that ordinary output is full of them. */
const ENCODED_FROM = 4;
/** A line of a longer secret (a key file) counts as secret by itself from this length on. */
const LINE_FROM = 12;
/** A longer value has its many textual forms looked for line by line only: they would cost megabytes each. */
const TEXT_FORMS_TO = 4096;
/** Parts of a JSON value or URL that count as secret by themselves; a value with more keeps to itself as a whole. */
const FIELD_FROM = 6;
const FIELDS = 64;

/**
 * The forms of one secret and of the values inside it (its lines, a JSON value's texts, a URL's user and password): plain,
 * base64 in both alphabets and all three alignments, hex, URL, JSON, shell and XML escapes, UTF-16. Out of reach is whatever
 * needs a computation to undo: encryption, compression, reversing, the value in pieces.
 */
export function patternsOf(name: string, value: Uint8Array): Pattern[] {
  const found = new Map<string, Pattern>();
  const add = (bytes: Buffer, loose: boolean): void => {
    if (bytes.length > 0) found.set(`${loose ? 1 : 0}${bytes.toString("latin1")}`, { name, bytes, loose });
  };
  const whole = Buffer.from(value);
  for (const part of partsOf(whole)) {
    // Without the final newline, which is the output's as much as the secret's; encoded, it belongs to the secret.
    const ends = part === whole && /[\r\n]$/.test(part.toString("latin1"));
    if (!ends) add(part, false);
    if (part.length < ENCODED_FROM) continue;
    for (const alphabet of ["base64", "base64url"] as const)
      for (const shift of [0, 1, 2]) for (const form of base64Forms(part, shift, alphabet)) add(form, true);
    for (const hex of [part.toString("hex"), part.toString("hex").toUpperCase()]) {
      add(Buffer.from(hex), true);
      if (part.length <= TEXT_FORMS_TO) for (const form of spelledHex(hex)) add(Buffer.from(form), false);
    }
    if (part.length > TEXT_FORMS_TO) continue;
    for (const form of textForms(part)) add(Buffer.from(form), false);
    if (ends) continue;
    for (const form of escapedForms(part.toString("utf8"))) add(Buffer.from(form), false);
    const wide = Buffer.from(part.toString("utf8"), "utf16le");
    add(wide, false);
    add(Buffer.from(wide).swap16(), false);
  }
  return [...found.values()];
}

/** The value first, then the value without its final newline, and its lines. */
function partsOf(value: Buffer): Buffer[] {
  const parts = [value];
  const text = value.toString("latin1");
  const trimmed = text.replace(/[\r\n]+$/, "");
  if (trimmed.length > 0 && trimmed.length !== text.length) parts.push(Buffer.from(trimmed, "latin1"));
  const lines = trimmed.split(/\r?\n/);
  if (lines.length > 1)
    for (const line of lines) if (line.length >= LINE_FROM) parts.push(Buffer.from(line, "latin1"));
  parts.push(...fieldsOf(Buffer.from(trimmed, "latin1").toString("utf8")));
  return parts;
}

function fieldsOf(text: string): Buffer[] {
  const found = new Set<string>();
  const url = /^[a-z][a-z0-9+.-]*:\/\/([^\s/?#@]*)@/i.exec(text);
  for (const raw of url?.[1]?.split(":") ?? []) found.add(raw).add(decoded(raw));
  if (/^\s*[[{]/.test(text)) collect(parsed(text), found);
  const long = [...found].filter((field) => field.length >= FIELD_FROM);
  return long.length > FIELDS ? [] : long.map((field) => Buffer.from(field));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function collect(value: unknown, into: Set<string>): void {
  if (typeof value === "string") into.add(value);
  else if (value !== null && typeof value === "object")
    for (const item of Object.values(value)) collect(item, into);
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
 * The characters of base64 that depend on the value alone when `shift` bytes of something else stand before it in the
 * encoded text (as in "user:secret"): a match there finds it in any surrounding. And the same with the last character,
 * which holds some bits of the value too, as it is when the encoded text ends there.
 */
function base64Forms(value: Buffer, shift: number, alphabet: "base64" | "base64url"): Buffer[] {
  const encoded = Buffer.concat([Buffer.alloc(shift), value])
    .toString(alphabet)
    .replace(/=+$/, "");
  const first = Math.ceil((shift * 8) / 6);
  const whole = Math.floor(((shift + value.length) * 8) / 6);
  return [encoded.slice(first, whole), encoded.slice(first)].map((form) => Buffer.from(form, "latin1"));
}

function textForms(value: Buffer): string[] {
  const percent = (upper: boolean, keep: RegExp): string =>
    [...value]
      .map((byte) => {
        const char = String.fromCharCode(byte);
        if (keep.test(char)) return char;
        const hex = byte.toString(16).padStart(2, "0");
        return `%${upper ? hex.toUpperCase() : hex}`;
      })
      .join("");
  const forms: string[] = [];
  for (const upper of [true, false]) {
    // encodeURIComponent, RFC 3986 strict, and encodeURI leave different characters as they are.
    for (const keep of [/[A-Za-z0-9\-_.~]/, /[A-Za-z0-9\-_.!~*'()]/, /[A-Za-z0-9\-_.!~*'();/?:@&=+$,#]/]) {
      const form = percent(upper, keep);
      forms.push(form, form.replaceAll("%20", "+"));
    }
  }
  const json = JSON.stringify(value.toString("utf8")).slice(1, -1);
  forms.push(json, json.replaceAll("/", "\\/"));
  return forms;
}

/** In single quotes, in double quotes and bare for a POSIX shell; as XML and HTML text. */
function escapedForms(text: string): string[] {
  const xml = text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return [
    text.replaceAll("'", "'\\''"),
    text.replaceAll("'", `'"'"'`),
    text.replace(/[\\"$`]/g, "\\$&"),
    text.replace(/[^A-Za-z0-9_@%+=:,./-]/g, "\\$&"),
    xml,
    xml.replaceAll('"', "&quot;"),
    ...["&#39;", "&#x27;", "&apos;"].map((quote) => xml.replaceAll('"', "&quot;").replaceAll("'", quote)),
  ];
}
