import { Socket } from "node:net";
import type { Redactor } from "./redact.ts";

/** Where output goes. While `ready()` does not resolve, the Op's pipe is not read: its writes wait, nobody else's. */
export interface OutputSink {
  write(bytes: Buffer): void;
  /** Null when more can be taken at once. */
  ready(): Promise<void> | null;
}

/** Shared by stdout and stderr of one run. Counts all bytes; lets `limit` bytes through. */
export class OutputBudget {
  readonly #limit: number;
  #passed = 0;
  /** All bytes that the Op wrote. */
  total = 0;
  truncated = false;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  /** The part of these bytes that may still pass. */
  take(bytes: Buffer): Buffer {
    const room = Math.max(0, this.#limit - this.#passed);
    if (bytes.length > room) this.truncated = true;
    const part = bytes.length > room ? bytes.subarray(0, room) : bytes;
    this.#passed += part.length;
    return part;
  }
}

const PART_BYTES = 64 * 1024;
const COALESCE_MS = 50;
/** After the run is dead its pipes are at their end; if something still holds one, it is given up after this. */
const STALL_MS = 5000;

/**
 * Reads one pipe of a run: redacted, bounded, in parts of at most 64 KiB that don't cut a UTF-8 sequence; what comes
 * within 50 ms goes out as one part. Owns the descriptor.
 */
export class OutputStream {
  /** Resolves when the pipe is at its end and everything was handed to the sink. */
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #redactor: Redactor;
  readonly #budget: OutputBudget;
  readonly #sink: OutputSink;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #stall: NodeJS.Timeout | undefined;
  #waiting = false;
  #resolve: () => void = () => {};

  constructor(fd: number, redactor: Redactor, budget: OutputBudget, sink: OutputSink) {
    this.#redactor = redactor;
    this.#budget = budget;
    this.#sink = sink;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#socket.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#socket.on("error", () => {});
    this.#socket.once("close", () => this.#finish());
  }

  /** Tells that no process of the run is left, so that the end of the pipe must come soon. */
  expectEnd(): void {
    if (this.#socket.destroyed) return;
    this.#stall ??= setTimeout(() => this.#onStall(), STALL_MS);
  }

  #onStall(): void {
    this.#stall = undefined;
    if (this.#waiting) this.expectEnd();
    else this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#budget.total += chunk.length;
    if (this.#budget.truncated) {
      chunk.fill(0);
      return;
    }
    const clean = this.#redactor.push(chunk);
    // What is not given out of it may be a secret.
    const isShared = clean.buffer === chunk.buffer && clean.byteOffset === chunk.byteOffset;
    chunk.fill(0, isShared ? clean.length : 0);
    this.#queue(clean);
    if (this.#pendingBytes >= PART_BYTES || this.#budget.truncated) this.#flush(false);
    else if (this.#pendingBytes > 0) this.#timer ??= setTimeout(() => this.#flush(false), COALESCE_MS);
    const ready = this.#sink.ready();
    if (ready !== null && !this.#waiting) this.#pauseUntil(ready);
  }

  #pauseUntil(ready: Promise<void>): void {
    this.#waiting = true;
    this.#socket.pause();
    void ready.then(() => {
      this.#waiting = false;
      this.#socket.resume();
    });
  }

  #queue(bytes: Buffer): void {
    const part = this.#budget.take(bytes);
    if (part.length === 0) return;
    this.#pending.push(part);
    this.#pendingBytes += part.length;
  }

  #flush(last: boolean): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let bytes = this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    while (bytes.length > 0) {
      const size = wholeCharacters(bytes.subarray(0, PART_BYTES), last && bytes.length <= PART_BYTES);
      if (size === 0) {
        this.#pending = [bytes];
        this.#pendingBytes = bytes.length;
        return;
      }
      this.#sink.write(bytes.subarray(0, size));
      bytes = bytes.subarray(size);
    }
  }

  #finish(): void {
    clearTimeout(this.#stall);
    const rest = this.#redactor.end();
    if (!this.#budget.truncated) this.#queue(rest);
    this.#flush(true);
    this.#resolve();
  }
}

/** How many of these bytes end with a whole UTF-8 character (RFC 3629); bytes that are no UTF-8 count as whole. */
export function wholeCharacters(bytes: Buffer, last: boolean): number {
  if (last) return bytes.length;
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const need = byte >= 0xf0 && byte <= 0xf4 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
    return need > back && byte <= 0xf4 ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
