import { randomFillSync } from "node:crypto";

/**
 * Zeroed bytes for a key or passphrase. Node's pool is shared by unrelated small buffers, so a key in it could be read
 * through another buffer's `.buffer` and outlive its own wipe; allocUnsafeSlow gives memory of its own.
 */
export function keyBuffer(size: number): Buffer {
  return Buffer.allocUnsafeSlow(size).fill(0);
}

export function randomKey(size = 32): Buffer {
  return randomFillSync(keyBuffer(size));
}

/** Copies bytes into memory of their own; the source is not wiped. */
export function keyCopy(bytes: Uint8Array): Buffer {
  const copy = keyBuffer(bytes.length);
  copy.set(bytes);
  return copy;
}

export function wipe(...buffers: (Uint8Array | undefined)[]): void {
  for (const buffer of buffers) buffer?.fill(0);
}

const FREED = 4;

/**
 * Overwrites memory of a size that Node itself has just given back: it deciphers into memory of its own, hands on a copy and frees
 * the first unwiped. What is asked for next in that size is that memory (malloc(3) of glibc: last freed, first given).
 */
export function wipeFreed(size: number): void {
  for (const taken of Array.from({ length: FREED }, () => keyBuffer(size))) taken.fill(0);
}
