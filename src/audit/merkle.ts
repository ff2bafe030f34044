import { hash } from "node:crypto";

/** 32 bytes of SHA-256. */
export type Hash = Buffer;
/** A complete subtree: the leaves [index * 2^level, (index + 1) * 2^level). Level 0 are the leaf hashes. */
export type NodeId = { level: number; index: number };
/** The hashes of complete subtrees, in the order asked for. Rejects when one is missing. */
export type NodeSource = (nodes: readonly NodeId[]) => Promise<readonly Uint8Array[]>;

const LEAF = Buffer.from([0]);
const NODE = Buffer.from([1]);

const sha256 = (parts: readonly Uint8Array[]): Hash => hash("sha256", Buffer.concat(parts), "buffer");

/** RFC 6962 section 2.1: the prefixes keep a leaf from being passed off as a node. */
export const leafHash = (entry: Uint8Array): Hash => sha256([LEAF, entry]);
export const nodeHash = (left: Uint8Array, right: Uint8Array): Hash => sha256([NODE, left, right]);
export const EMPTY_ROOT: Hash = sha256([]);

/** The largest power of two smaller than n (n > 1). Sizes pass 2^32, so no bit operators here. */
function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

function checkSize(size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`not a tree size: ${size}`);
}

type Range = readonly [from: number, to: number];

/** Complete subtrees that cover a range, largest first. `from` is a multiple of every subtree's width. */
function cover([from, to]: Range): NodeId[] {
  const nodes: NodeId[] = [];
  for (let at = from; at < to; ) {
    let level = 0;
    let width = 1;
    while (at % (width * 2) === 0 && at + width * 2 <= to) {
      width *= 2;
      level++;
    }
    nodes.push({ level, index: at / width });
    at += width;
  }
  return nodes;
}

const fold = (hashes: readonly Uint8Array[]): Hash =>
  Buffer.from(hashes.reduceRight((right, left) => nodeHash(left, right)));

async function rangeHashes(ranges: readonly Range[], source: NodeSource): Promise<Hash[]> {
  const covers = ranges.map(cover);
  const all = covers.flat();
  const hashes = all.length === 0 ? [] : await source(all);
  let at = 0;
  return covers.map((nodes) => {
    at += nodes.length;
    return fold(hashes.slice(at - nodes.length, at));
  });
}

export async function rootAt(size: number, source: NodeSource): Promise<Hash> {
  checkSize(size);
  return size === 0 ? EMPTY_ROOT : (await rangeHashes([[0, size]], source))[0]!;
}

/** The audit path of leaf `index` in the tree of `size` leaves (RFC 6962 section 2.1.1), lowest first. */
export async function proveInclusion(index: number, size: number, source: NodeSource): Promise<Hash[]> {
  checkSize(size);
  if (!Number.isSafeInteger(index) || index < 0 || index >= size)
    throw new RangeError(`no leaf ${index} of ${size}`);
  const ranges: Range[] = [];
  for (let from = 0, to = size; to - from > 1; ) {
    const middle = from + split(to - from);
    if (index < middle) {
      ranges.push([middle, to]);
      to = middle;
    } else {
      ranges.push([from, middle]);
      from = middle;
    }
  }
  return rangeHashes(ranges.reverse(), source);
}

/** Proof that the tree of `from` leaves is a prefix of that of `to` (RFC 6962 section 2.1.2); empty for 0 and for equal. */
export async function proveConsistency(from: number, to: number, source: NodeSource): Promise<Hash[]> {
  checkSize(from);
  checkSize(to);
  if (from > to) throw new RangeError(`a tree of ${from} can't grow to ${to}`);
  if (from === 0) return [];
  const ranges: Range[] = [];
  let lo = 0;
  let hi = to;
  let whole = true;
  while (from < hi) {
    const middle = lo + split(hi - lo);
    if (from <= middle) {
      ranges.push([middle, hi]);
      hi = middle;
    } else {
      ranges.push([lo, middle]);
      lo = middle;
      whole = false;
    }
  }
  if (!whole) ranges.push([lo, hi]);
  return rangeHashes(ranges.reverse(), source);
}

export type InclusionCheck = {
  index: number;
  size: number;
  leaf: Uint8Array;
  root: Uint8Array;
  proof: readonly Uint8Array[];
};

const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const half = (n: number): number => Math.floor(n / 2);
const odd = (n: number): boolean => n % 2 === 1;
const hashes32 = (list: readonly Uint8Array[]): boolean => list.every((item) => item.length === 32);

/** RFC 9162 section 2.1.3.2, which walks up from the leaf: nothing shared with how proofs are made. */
export function verifyInclusion({ index, size, leaf, root, proof }: InclusionCheck): boolean {
  if (!Number.isSafeInteger(size) || !Number.isSafeInteger(index) || index < 0 || index >= size) return false;
  if (!hashes32([leaf, root, ...proof])) return false;
  let fn = index;
  let sn = size - 1;
  let r: Uint8Array = leaf;
  for (const p of proof) {
    if (sn === 0) return false;
    if (odd(fn) || fn === sn) {
      r = nodeHash(p, r);
      while (!odd(fn) && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else r = nodeHash(r, p);
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && same(r, root);
}

export type ConsistencyCheck = {
  from: number;
  to: number;
  fromRoot: Uint8Array;
  toRoot: Uint8Array;
  proof: readonly Uint8Array[];
};

/** RFC 9162 section 2.1.4.2; from an empty tree any tree follows, with an empty proof. */
export function verifyConsistency({ from, to, fromRoot, toRoot, proof }: ConsistencyCheck): boolean {
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || from > to) return false;
  if (!hashes32([fromRoot, toRoot, ...proof])) return false;
  if (to === 0 && !same(toRoot, EMPTY_ROOT)) return false;
  if (from === 0) return proof.length === 0 && same(fromRoot, EMPTY_ROOT);
  if (from === to) return proof.length === 0 && same(fromRoot, toRoot);
  const path = Number.isInteger(Math.log2(from)) ? [fromRoot, ...proof] : [...proof];
  const first = path.shift();
  if (first === undefined || path.length === 0) return false;
  let fn = from - 1;
  let sn = to - 1;
  while (odd(fn)) {
    fn = half(fn);
    sn = half(sn);
  }
  let fr: Uint8Array = first;
  let sr: Uint8Array = first;
  for (const c of path) {
    if (sn === 0) return false;
    if (odd(fn) || fn === sn) {
      fr = nodeHash(c, fr);
      sr = nodeHash(c, sr);
      while (!odd(fn) && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else sr = nodeHash(sr, c);
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && same(fr, fromRoot) && same(sr, toRoot);
}

/** The complete subtrees of a growing tree, at most one a level: enough to append and to know the root. */
export class Frontier {
  #size: number;
  #nodes: (NodeId & { hash: Hash })[];

  private constructor(size: number, nodes: (NodeId & { hash: Hash })[]) {
    this.#size = size;
    this.#nodes = nodes;
  }

  static empty(): Frontier {
    return new Frontier(0, []);
  }

  /** The frontier of a stored tree: at most 53 reads. */
  static async load(size: number, source: NodeSource): Promise<Frontier> {
    checkSize(size);
    const ids = cover([0, size]);
    const hashes = ids.length === 0 ? [] : await source(ids);
    return new Frontier(
      size,
      ids.map((id, i) => ({ ...id, hash: Buffer.from(hashes[i]!) })),
    );
  }

  get size(): number {
    return this.#size;
  }

  /** Largest first. */
  get nodes(): readonly (NodeId & { hash: Hash })[] {
    return this.#nodes;
  }

  root(): Hash {
    return this.#nodes.length === 0 ? EMPTY_ROOT : fold(this.#nodes.map((node) => node.hash));
  }

  /** Adds one leaf hash; returns every subtree that became complete by it, the leaf itself first. */
  append(leaf: Hash): (NodeId & { hash: Hash })[] {
    let node = { level: 0, index: this.#size, hash: leaf };
    const complete = [node];
    while (odd(node.index)) {
      const left = this.#nodes.pop()!;
      node = { level: node.level + 1, index: half(node.index), hash: nodeHash(left.hash, node.hash) };
      complete.push(node);
    }
    this.#nodes.push(node);
    this.#size++;
    return complete;
  }

  clone(): Frontier {
    return new Frontier(this.#size, [...this.#nodes]);
  }
}
