/** What is looked for. `name` is an index of the caller's. At least SHORTEST bytes (patterns.ts). */
export interface Needle {
  readonly bytes: Buffer;
  readonly name: number;
}

/** Told of each place where a needle stands, from `from` to before `to`, in no order. */
export type Found = (from: number, to: number, name: number) => void;

/** The beginning of a needle with which a text ends. */
export interface Beginning {
  readonly at: number;
  readonly name: number;
}

const BLOCK = 4;
/** A block that stands in more needles than this is avoided where another part of the needle has rarer ones. */
const CROWDED = 4;
const PLACES = 64;

/**
 * Finds many needles at once, after Wu and Manber (TR 94-17, 1994): of every four bytes in line one bit of a table is read,
 * and only where that says so, needles are compared. A needle of seven bytes or more holds a whole block of four at one of any four
 * offsets in line, so that these four stand in the table; where a needle is shorter, blocks are read at every second byte or each.
 * The number of needles changes the size of the table, not the work per byte.
 */
export class Matcher {
  /** Of the longest needle. */
  readonly longest: number;
  readonly #needles: readonly Needle[];
  readonly #step: 1 | 2 | 4;
  readonly #bits: Int32Array;
  readonly #bitShift: number;
  // Open addressing: block -> the first of its entries; an entry is a needle and where the block stands in it.
  readonly #keys: Int32Array;
  readonly #heads: Int32Array;
  readonly #slotShift: number;
  readonly #entryNeedle: Int32Array;
  readonly #entryOffset: Int32Array;
  readonly #entryNext: Int32Array;
  #entries = 0;
  readonly #starts: Starts;

  constructor(needles: readonly Needle[]) {
    const shortest = needles.reduce((least, n) => Math.min(least, n.bytes.length), 64);
    this.longest = needles.reduce((most, n) => Math.max(most, n.bytes.length), 0);
    this.#needles = needles;
    const room = shortest - BLOCK + 1;
    this.#step = room >= 4 ? 4 : room >= 2 ? 2 : 1;
    const count = needles.length * this.#step;
    const slots = powerOver(count * 2);
    this.#slotShift = 32 - slots;
    this.#keys = new Int32Array(2 ** slots);
    this.#heads = new Int32Array(2 ** slots);
    // One bit in 128 is set at most, up to half a megabyte.
    const bits = Math.min(22, Math.max(13, powerOver(count * 128)));
    this.#bitShift = 32 - bits;
    this.#bits = new Int32Array(2 ** (bits - 5));
    this.#entryNeedle = new Int32Array(count + 1);
    this.#entryOffset = new Int32Array(count + 1);
    this.#entryNext = new Int32Array(count + 1);
    for (let i = 0; i < needles.length; i++) this.#insert(i);
    this.#starts = new Starts(needles);
  }

  /** Every needle that stands whole in the first `length` bytes. `words` is the same memory as `bytes`, a multiple of four words. */
  scan(bytes: Uint8Array, words: Int32Array, length: number, found: Found): void {
    if (this.#needles.length === 0) return;
    const bits = this.#bits;
    const shift = this.#bitShift;
    if (this.#step === 4) {
      const count = length >>> 2;
      // Four at a time, as there is hardly ever something; `words` has room beyond `length`.
      for (let i = 0; i < count; i += 4) {
        const a = Math.imul(words[i]!, MIX) >>> shift;
        const b = Math.imul(words[i + 1]!, MIX) >>> shift;
        const c = Math.imul(words[i + 2]!, MIX) >>> shift;
        const d = Math.imul(words[i + 3]!, MIX) >>> shift;
        const any =
          (bits[a >>> 5]! >>> a) | (bits[b >>> 5]! >>> b) | (bits[c >>> 5]! >>> c) | (bits[d >>> 5]! >>> d);
        if ((any & 1) === 0) continue;
        for (let k = i; k < i + 4 && k < count; k++) this.#compare(bytes, length, k << 2, words[k]!, found);
      }
      return;
    }
    const step = this.#step;
    for (let at = 0; at + BLOCK <= length; at += step) {
      const block = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      const h = Math.imul(block, MIX) >>> shift;
      if ((bits[h >>> 5]! & (1 << (h & 31))) !== 0) this.#compare(bytes, length, at, block, found);
    }
  }

  /** The longest beginning of a needle, not a whole one, with which the bytes from `from` to before `end` end. */
  beginning(bytes: Uint8Array, from: number, end: number): Beginning | null {
    return this.#starts.find(bytes, Math.max(from, end - this.longest), end);
  }

  #compare(bytes: Uint8Array, length: number, at: number, block: number, found: Found): void {
    let slot = Math.imul(block, MIX) >>> this.#slotShift;
    const mask = this.#keys.length - 1;
    while (this.#heads[slot] !== 0 && this.#keys[slot] !== block) slot = (slot + 1) & mask;
    for (let entry = this.#heads[slot]!; entry !== 0; entry = this.#entryNext[entry]!) {
      const { bytes: needle, name } = this.#needles[this.#entryNeedle[entry]!]!;
      const start = at - this.#entryOffset[entry]!;
      const end = start + needle.length;
      if (start < 0 || end > length) continue;
      let i = needle.length - 1;
      while (i >= 0 && bytes[start + i] === needle[i]) i--;
      if (i < 0) found(start, end, name);
    }
  }

  /** At the place in the needle where the blocks are least crowded: secrets often begin alike. */
  #insert(index: number): void {
    const { bytes } = this.#needles[index]!;
    const last = Math.min(bytes.length - BLOCK - this.#step + 1, PLACES);
    let best = 0;
    let least = Number.POSITIVE_INFINITY;
    for (let place = 0; place <= last && least > CROWDED; place++) {
      let most = 0;
      for (let i = 0; i < this.#step; i++) most = Math.max(most, this.#crowd(bytes, place + i));
      if (most < least) [best, least] = [place, most];
    }
    for (let i = 0; i < this.#step; i++) this.#enter(index, best + i, bytes.readInt32LE(best + i));
  }

  /** How many needles hold the block already; more for one that is common in any text, four bytes alike. */
  #crowd(bytes: Buffer, at: number): number {
    const block = bytes.readInt32LE(at);
    let slot = Math.imul(block, MIX) >>> this.#slotShift;
    const mask = this.#keys.length - 1;
    while (this.#heads[slot] !== 0 && this.#keys[slot] !== block) slot = (slot + 1) & mask;
    const alike = bytes[at] === bytes[at + 1] && bytes[at] === bytes[at + 2] && bytes[at] === bytes[at + 3];
    let count = alike ? CROWDED + 1 : 0;
    for (let entry = this.#heads[slot]!; entry !== 0 && count < PLACES; entry = this.#entryNext[entry]!)
      count++;
    return count;
  }

  #enter(needle: number, offset: number, block: number): void {
    const mixed = Math.imul(block, MIX);
    let slot = mixed >>> this.#slotShift;
    const mask = this.#keys.length - 1;
    while (this.#heads[slot] !== 0 && this.#keys[slot] !== block) slot = (slot + 1) & mask;
    const entry = ++this.#entries;
    this.#keys[slot] = block;
    this.#entryNeedle[entry] = needle;
    this.#entryOffset[entry] = offset;
    this.#entryNext[entry] = this.#heads[slot]!;
    this.#heads[slot] = entry;
    const bit = mixed >>> this.#bitShift;
    this.#bits[bit >>> 5]! |= 1 << (bit & 31);
  }
}

/** Fibonacci hashing (Knuth, TAOCP 3, 6.4): 2^32 over the golden ratio. */
const MIX = 0x9e3779b1 | 0;

/** The smallest power of two that is at least `count`, as its exponent. */
function powerOver(count: number): number {
  return Math.max(4, Math.ceil(Math.log2(Math.max(1, count))));
}

/**
 * The needles in the order of their bytes, to tell whether a text is the beginning of one. Bits of their first bytes keep
 * most texts from being looked up.
 */
class Starts {
  readonly #sorted: readonly Needle[];
  readonly #one = new Uint8Array(256);
  readonly #two = new Uint8Array(8192);
  readonly #four = new Uint8Array(8192);

  constructor(needles: readonly Needle[]) {
    this.#sorted = [...needles].sort((a, b) => Buffer.compare(a.bytes, b.bytes));
    for (const { bytes } of needles) {
      this.#one[bytes[0]!] = 1;
      setBit(this.#two, bytes[0]! | (bytes[1]! << 8));
      setBit(this.#four, hashOf(bytes, 0));
    }
  }

  find(bytes: Uint8Array, from: number, end: number): Beginning | null {
    for (let at = from; at < end; at++) {
      const size = end - at;
      if (size >= BLOCK ? !hasBit(this.#four, hashOf(bytes, at)) : !this.#mayStart(bytes, at, size)) continue;
      const needle = this.#lookUp(bytes, at, size);
      if (needle !== null) return { at, name: needle.name };
    }
    return null;
  }

  #mayStart(bytes: Uint8Array, at: number, size: number): boolean {
    if (size === 1) return this.#one[bytes[at]!] === 1;
    return hasBit(this.#two, bytes[at]! | (bytes[at + 1]! << 8));
  }

  /** A needle that begins with the text and is longer: the first in order after the text, if any is. */
  #lookUp(bytes: Uint8Array, at: number, size: number): Needle | null {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (order(this.#sorted[middle]!.bytes, bytes, at, size) <= 0) low = middle + 1;
      else high = middle;
    }
    const next = this.#sorted[low];
    return next !== undefined && order(next.bytes, bytes, at, size) === BEGINS ? next : null;
  }
}

const BEGINS = 2;

/** -1: stands before the text in order; 0: is the text; BEGINS: begins with it and is longer; 1: stands after it otherwise. */
function order(needle: Buffer, bytes: Uint8Array, at: number, size: number): number {
  for (let i = 0; i < size; i++) {
    if (i >= needle.length) return -1;
    const difference = needle[i]! - bytes[at + i]!;
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  return needle.length > size ? BEGINS : 0;
}

function hashOf(bytes: Uint8Array, at: number): number {
  const block = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
  return Math.imul(block, MIX) >>> 16;
}

function setBit(bits: Uint8Array, bit: number): void {
  bits[bit >>> 3]! |= 1 << (bit & 7);
}

function hasBit(bits: Uint8Array, bit: number): boolean {
  return (bits[bit >>> 3]! & (1 << (bit & 7))) !== 0;
}
