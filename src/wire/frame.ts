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

const LENGTH_BYTES = 4;

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

/**
 * Reassembles frames from a byte stream; holds at most one frame. Each part is copied once, into memory of its own, and nothing
 * else of it is kept: whoever read the bytes may overwrite them after `push`.
 */
export class FrameReader {
  readonly #max: number;
  /** What comes next: the length, the header, or the parts. */
  #wanted: Buffer[] = [Buffer.allocUnsafe(LENGTH_BYTES)];
  /** Which of it is being filled, and how far that is. */
  #at = 0;
  #filled = 0;
  #stage: "length" | "header" | "parts" = "length";
  #header: Record<string, unknown> = {};

  /** `max`: bytes of a frame, where the sender is trusted with less than BOUNDS. */
  constructor(max: number = BOUNDS.frameBytes) {
    this.#max = max;
  }

  /** Takes the next bytes and returns the frames that they complete. Throws `wire_violation`; the stream is then unusable. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    let at = 0;
    for (;;) {
      const whole = this.#stage === "length" && this.#filled === 0 ? this.#wholeHeader(chunk, at) : null;
      if (whole !== null) at = whole;
      while (this.#at < this.#wanted.length) {
        const target = this.#wanted[this.#at]!;
        const copied = chunk.copy(target, this.#filled, at);
        at += copied;
        this.#filled += copied;
        if (this.#filled < target.length) return frames;
        this.#at++;
        this.#filled = 0;
      }
      this.#next(frames);
    }
  }

  /** What was wanted is there. */
  #next(frames: Frame[]): void {
    const got = this.#wanted;
    if (this.#stage === "length") {
      const length = headerLength(got[0]!, 0, this.#max);
      this.#want("header", [Buffer.allocUnsafe(length)]);
    } else if (this.#stage === "header") this.#expect(parseHeader(got[0]!, 0, got[0]!.length));
    else {
      frames.push({ header: this.#header, parts: got });
      this.#want("length", [Buffer.allocUnsafe(LENGTH_BYTES)]);
    }
  }

  /** Most chunks hold the whole of a header: it is read where it lies. Returns where it ends; null: it does not. */
  #wholeHeader(chunk: Buffer, from: number): number | null {
    if (chunk.length - from < LENGTH_BYTES) return null;
    const end = from + LENGTH_BYTES + headerLength(chunk, from, this.#max);
    if (end > chunk.length) return null;
    this.#expect(parseHeader(chunk, from + LENGTH_BYTES, end));
    return end;
  }

  #expect(header: Record<string, unknown>): void {
    this.#header = header;
    const lengths = takePartLengths(header, this.#max);
    this.#want(
      "parts",
      lengths.map((length) => Buffer.allocUnsafeSlow(length)),
    );
  }

  #want(stage: "length" | "header" | "parts", buffers: Buffer[]): void {
    this.#stage = stage;
    this.#wanted = buffers;
    this.#at = this.#filled = 0;
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

function violation(what: string, cause?: unknown): SallyportError {
  return new SallyportError("wire_violation", `Malformed frame: ${what}.`, { cause });
}
