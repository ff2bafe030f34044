import { SallyportError } from "../core/errors.ts";

/**
 * A frame is: u32 big-endian header length, the header (UTF-8 JSON object whose `parts` gives the byte length of each
 * binary part), then the parts. What must never become a JavaScript string travels as a part.
 */
export const BOUNDS = {
  headerBytes: 1024 * 1024,
  parts: 64,
  partBytes: 16 * 1024 * 1024,
  frameBytes: 24 * 1024 * 1024,
  depth: 12,
} as const;

export type Frame = { header: Record<string, unknown>; parts: Buffer[] };

/** Encodes one frame. Throws `wire_violation` when the caller exceeds BOUNDS: better here than at the other end. */
export function encodeFrame(header: object, parts: readonly Uint8Array[] = []): Buffer[] {
  if (parts.length === 0) return [encodeHeader(header)];
  const lengths = parts.map((p) => p.length);
  checkParts(lengths);
  const head = encodeHeader({ ...header, parts: lengths });
  return [head, ...parts.map((p) => Buffer.from(p.buffer, p.byteOffset, p.byteLength))];
}

function encodeHeader(header: object): Buffer {
  const json = JSON.stringify(header);
  // A UTF-16 unit takes three bytes at most: for what is short that saves counting them beforehand.
  const room = json.length < 1024 ? json.length * 3 : Buffer.byteLength(json);
  if (room > BOUNDS.headerBytes) throw violation(`header of ${room} bytes`);
  const head = Buffer.allocUnsafe(4 + room);
  const size = head.write(json, 4);
  head.writeUInt32BE(size);
  return size === room ? head : head.subarray(0, 4 + size);
}

/** Reassembles frames from a byte stream; holds at most one frame. */
export class FrameReader {
  readonly #max: number;
  #chunks: Buffer[] = [];
  #held = 0;
  #header: Record<string, unknown> | undefined;
  #partLengths: number[] = [];
  #need = 4;
  #stage: "length" | "header" | "parts" = "length";

  /** `max`: bytes of a frame, where the sender is trusted with less than BOUNDS. */
  constructor(max: number = BOUNDS.frameBytes) {
    this.#max = max;
  }

  /** Takes the next bytes and returns the frames that they complete. Throws `wire_violation`; the stream is then unusable. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    const rest = this.#held === 0 && this.#stage === "length" ? this.#whole(chunk, frames) : chunk;
    if (rest.length > 0) this.#chunks.push(rest);
    this.#held += rest.length;
    while (this.#held >= this.#need) {
      const bytes = this.#take(this.#need);
      if (this.#stage === "length") {
        this.#need = headerLength(bytes, 0, this.#max);
        this.#stage = "header";
      } else if (this.#stage === "header") {
        const header = parseHeader(bytes, 0, bytes.length);
        this.#expect(header, takePartLengths(header, this.#max));
      } else {
        frames.push({ header: this.#header!, parts: split(bytes, this.#partLengths) });
        this.#header = undefined;
        this.#need = 4;
        this.#stage = "length";
      }
    }
    return frames;
  }

  /** Takes the frames without parts that the chunk begins with, as nearly every chunk does; returns what is left of it. */
  #whole(chunk: Buffer, frames: Frame[]): Buffer {
    let at = 0;
    while (chunk.length - at >= 4) {
      const length = headerLength(chunk, at, this.#max);
      if (chunk.length - at - 4 < length) break;
      at += 4 + length;
      const header = parseHeader(chunk, at - length, at);
      const lengths = takePartLengths(header, this.#max);
      if (lengths.length > 0) {
        this.#expect(header, lengths);
        break;
      }
      frames.push({ header, parts: [] });
    }
    return at === 0 ? chunk : chunk.subarray(at);
  }

  #expect(header: Record<string, unknown>, lengths: number[]): void {
    this.#header = header;
    this.#partLengths = lengths;
    this.#need = lengths.reduce((sum, n) => sum + n, 0);
    this.#stage = "parts";
  }

  #take(count: number): Buffer {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks, this.#held);
    this.#held -= count;
    this.#chunks = this.#held > 0 ? [all.subarray(count)] : [];
    return all.subarray(0, count);
  }
}

function headerLength(bytes: Buffer, at: number, max: number): number {
  const length = bytes.readUInt32BE(at);
  if (length < 2 || length > Math.min(BOUNDS.headerBytes, max)) throw violation(`header of ${length} bytes`);
  return length;
}

function parseHeader(bytes: Buffer, from: number, to: number): Record<string, unknown> {
  checkDepth(bytes, from, to);
  let header: unknown;
  try {
    header = JSON.parse(bytes.toString("utf8", from, to));
  } catch (cause) {
    throw violation("header is not JSON", cause);
  }
  if (header === null || typeof header !== "object" || Array.isArray(header))
    throw violation("header is not an object");
  return header as Record<string, unknown>;
}

/** Looks at nesting before JSON.parse does, so that depth costs nothing. */
function checkDepth(bytes: Buffer, from: number, to: number): void {
  let depth = 0;
  let inString = false;
  for (let i = from; i < to; i++) {
    const c = bytes[i];
    if (inString) {
      if (c === 0x5c) i++;
      else if (c === 0x22) inString = false;
    } else if (c === 0x22) inString = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > BOUNDS.depth) throw violation(`header nested deeper than ${BOUNDS.depth}`);
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
}

function takePartLengths(header: Record<string, unknown>, max: number): number[] {
  if (!Object.hasOwn(header, "parts")) return [];
  const lengths = header.parts;
  delete header.parts;
  if (!Array.isArray(lengths) || !lengths.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    throw violation("part lengths are not whole numbers");
  }
  checkParts(lengths, max);
  return lengths;
}

function checkParts(lengths: readonly number[], max: number = BOUNDS.frameBytes): void {
  if (lengths.length > BOUNDS.parts) throw violation(`${lengths.length} parts`);
  let total = 0;
  for (const n of lengths) {
    if (n > BOUNDS.partBytes) throw violation(`part of ${n} bytes`);
    total += n;
  }
  if (total > max) throw violation(`frame of ${total} bytes`);
}

/** Copies each part out of the pool-backed chunk, so that a part can be wiped without touching its neighbours. */
function split(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  let at = 0;
  return lengths.map((n) => {
    const part = Buffer.allocUnsafeSlow(n);
    bytes.copy(part, 0, at, at + n);
    at += n;
    return part;
  });
}

function violation(what: string, cause?: unknown): SallyportError {
  return new SallyportError("wire_violation", `Malformed frame: ${what}.`, { cause });
}
