import { SallyportError } from "../../core/errors.ts";

/**
 * Reads a tar archive as it streams by: POSIX ustar and pax (IEEE Std 1003.1, pax), GNU's long names. Names are bytes, held as
 * latin1 text. Nothing is trusted: sizes, names and the extended headers are bounded, checksums must be right.
 */
export interface TarEntry {
  readonly kind: "file" | "directory" | "symlink" | "hardlink" | "other";
  readonly name: string;
  /** Target of a link. */
  readonly link: string;
  /** Bytes of content that follow. */
  readonly size: number;
  readonly mode: number;
}

export const BLOCK = 512;
/** Bytes of one extended header or long name. */
const EXTENDED_BYTES = 1024 * 1024;
const NAME_BYTES = 4096;

const KINDS: Readonly<Record<string, TarEntry["kind"]>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "other",
  "4": "other",
  "5": "directory",
  "6": "other",
};

export const badTar = (detail: string): SallyportError => new SallyportError("image_invalid", detail);

/** What a header block says; null for a block of zeros. `type` is its one character. */
export function readHeader(block: Buffer): (Omit<TarEntry, "kind"> & { type: string }) | null {
  if (block.every((byte) => byte === 0)) return null;
  let sum = 8 * 0x20;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += block[i]!;
  if (number(block.subarray(148, 156)) !== sum) throw badTar("A tar header's checksum is wrong.");
  const prefix = block.toString("latin1", 257, 263) === "ustar\0" ? text(block.subarray(345, 500)) : "";
  const name = text(block.subarray(0, 100));
  return {
    type: String.fromCharCode(block[156]!),
    name: prefix === "" ? name : `${prefix}/${name}`,
    link: text(block.subarray(157, 257)),
    size: number(block.subarray(124, 136)),
    mode: number(block.subarray(100, 108)) & 0o7777,
  };
}

function text(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end < 0 ? field.length : end);
}

/** Octal digits, or where the first bit is set a big-endian number (GNU). */
function number(field: Buffer): number {
  let value: number;
  if ((field[0]! & 0x80) !== 0) {
    value = field[0]! & 0x7f;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
  } else {
    const digits = text(field).trim();
    value = digits === "" ? 0 : /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
  }
  if (Number.isSafeInteger(value)) return value;
  throw badTar("A number in a tar header is none, or too large.");
}

export class TarReader {
  readonly #source: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of the present entry that are still to come: content, then padding. */
  #content = 0;
  #padding = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next entry, whatever is left of the one before passed over; null at the end, up to which the source is read. */
  async next(): Promise<TarEntry | null> {
    const given: Partial<Record<"path" | "linkpath" | "size", string>> = {};
    for (;;) {
      while ((await this.content()) !== null);
      const block = await this.#take(BLOCK);
      const header = block === null ? null : readHeader(block);
      if (header === null) {
        while (await this.#more()) this.#rest = Buffer.alloc(0);
        return null;
      }
      const { type, ...plain } = header;
      this.#begin(header.size);
      if (type === "x" || type === "L" || type === "K" || type === "g") {
        const body = await this.#whole(header.size);
        if (type === "L") given.path = text(body);
        else if (type === "K") given.linkpath = text(body);
        else if (type === "x") Object.assign(given, readPax(body));
        continue;
      }
      const name = given.path ?? plain.name;
      const kind = type === "\0" && name.endsWith("/") ? "directory" : KINDS[type];
      if (kind === undefined) {
        const what = type === "S" ? "a sparse file" : `an entry of the type ${JSON.stringify(type)}`;
        throw badTar(`A layer holds ${what}, which OCI images do not.`);
      }
      if (given.size !== undefined) {
        if (!/^[0-9]{1,15}$/.test(given.size)) throw badTar("A size in a pax header is none.");
        this.#begin(Number(given.size));
      }
      const link = given.linkpath ?? plain.link;
      if (name.length > NAME_BYTES || link.length > NAME_BYTES || link.includes("\0") || name.includes("\0"))
        throw badTar(`A name in a layer is longer than ${NAME_BYTES} bytes, or holds a NUL.`);
      return { ...plain, kind, name, link, size: this.#content };
    }
  }

  /** The next piece of the present entry's content, null after the last. */
  async content(): Promise<Buffer | null> {
    if (this.#content === 0) {
      while (this.#padding > 0) this.#padding -= (await this.#some(this.#padding)).length;
      return null;
    }
    const piece = await this.#some(this.#content);
    this.#content -= piece.length;
    return piece;
  }

  #begin(size: number): void {
    this.#content = size;
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK;
  }

  async #whole(size: number): Promise<Buffer> {
    if (size > EXTENDED_BYTES) throw badTar(`An extended header of a layer has ${size} bytes.`);
    const pieces: Buffer[] = [];
    for (let piece = await this.content(); piece !== null; piece = await this.content()) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  async #more(): Promise<boolean> {
    const { done, value } = await this.#source.next();
    if (done === true) return false;
    this.#rest = this.#rest.length === 0 ? value : Buffer.concat([this.#rest, value]);
    return true;
  }

  async #some(most: number): Promise<Buffer> {
    while (this.#rest.length === 0) if (!(await this.#more())) throw badTar("A layer is cut short.");
    const piece = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(piece.length);
    return piece;
  }

  /** Exactly so many bytes; null when there is none at all. */
  async #take(size: number): Promise<Buffer | null> {
    while (this.#rest.length < size) {
      if (await this.#more()) continue;
      if (this.#rest.length === 0) return null;
      throw badTar("A layer is cut short.");
    }
    const piece = this.#rest.subarray(0, size);
    this.#rest = this.#rest.subarray(size);
    return piece;
  }
}

/** Records "LENGTH KEY=VALUE\n". Attributes, times and owners are passed over; a sparse map is refused. */
function readPax(body: Buffer): Record<string, string> {
  const found: Record<string, string> = {};
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(0x20, at);
    const digits = space < 0 ? "" : body.toString("latin1", at, space);
    const end = at + Number(digits);
    if (!/^[1-9][0-9]{0,7}$/.test(digits) || end > body.length || end <= space + 1 || body[end - 1] !== 0x0a)
      throw badTar("A pax header is malformed.");
    const [, key = "", value = ""] =
      /^([^=]*)=([\s\S]*)$/.exec(body.toString("latin1", space + 1, end - 1)) ?? [];
    if (key.startsWith("GNU.sparse")) throw badTar("A layer holds a sparse file, which OCI images do not.");
    if (key === "path" || key === "linkpath" || key === "size") found[key] = value;
    at = end;
  }
  return found;
}
