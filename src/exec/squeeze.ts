import { SKIPPED } from "./patterns.ts";

/** Bytes that a matcher reads as words too. */
export class Text {
  readonly bytes: Buffer;
  readonly words: Int32Array;

  /** Room for `length` bytes and one to sixteen more, all zero; a multiple of sixteen. */
  constructor(length: number) {
    const memory = new ArrayBuffer((length + 16) & ~15);
    this.bytes = Buffer.from(memory);
    this.words = new Int32Array(memory);
  }

  get room(): number {
    return this.bytes.length - 1;
  }
}

/** Positions between two marks of where a byte of the squeezed text comes from. */
const STRIDE = 64;
/** Skipped bytes in a row that are looked through; more than that separates. */
const GAP = 64;
const KEPT = Uint8Array.from({ length: 256 }, (_, byte) => (SKIPPED.includes(byte) ? 0 : 1));

/** A text without its SKIPPED bytes, and where each of the others stood. */
export class Squeezed {
  readonly text: Text;
  readonly #source: Text;
  /** Place in the squeezed text of every STRIDEth byte of the source. */
  readonly #marks: Int32Array;
  #markCount = 0;
  size = 0;

  constructor(source: Text) {
    this.#source = source;
    this.text = new Text(source.room);
    this.#marks = new Int32Array(Math.ceil(source.bytes.length / STRIDE) + 2);
  }

  /** Takes the first `length` bytes of the source anew. */
  fill(length: number): void {
    const { words } = this.#source;
    const into = this.text.bytes;
    const marks = this.#marks;
    const whole = length >>> 2;
    let size = 0;
    let mark = 0;
    // Each byte is written, and written over by the next one if it is skipped.
    for (let i = 0; i < whole; ) {
      marks[mark++] = size;
      const stop = Math.min(i + STRIDE / 4, whole);
      for (; i < stop; i++) {
        const word = words[i]!;
        into[size] = word;
        size = (size + KEPT[word & 255]!) | 0;
        into[size] = word >>> 8;
        size = (size + KEPT[(word >>> 8) & 255]!) | 0;
        into[size] = word >>> 16;
        size = (size + KEPT[(word >>> 16) & 255]!) | 0;
        into[size] = word >>> 24;
        size = (size + KEPT[word >>> 24]!) | 0;
      }
    }
    if ((whole * 4) % STRIDE === 0) marks[mark++] = size;
    for (let at = whole * 4; at < length; at++) {
      const byte = this.#source.bytes[at]!;
      into[size] = byte;
      size += KEPT[byte]!;
    }
    this.#markCount = mark;
    this.size = size;
  }

  /** Where in the source the byte at `index` stands. */
  origin(index: number): number {
    const marks = this.#marks;
    let low = 0;
    let high = this.#markCount;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (marks[middle]! <= index) low = middle;
      else high = middle;
    }
    let at = low * STRIDE;
    for (let left = index - marks[low]!; ; at++) {
      if (KEPT[this.#source.bytes[at]!] === 0) continue;
      if (left-- === 0) return at;
    }
  }

  /** Whether more than GAP skipped bytes stand in a row somewhere from `from` to before `to` in the source. */
  parted(from: number, to: number): boolean {
    let gap = 0;
    for (let at = from; at < to; at++) {
      gap = KEPT[this.#source.bytes[at]!] === 0 ? gap + 1 : 0;
      if (gap > GAP) return true;
    }
    return false;
  }
}
