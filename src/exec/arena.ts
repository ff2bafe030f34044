const BLOCK_BYTES = 64 * 1024;

/**
 * Memory for what is made of secrets: outside Node's shared pool, in blocks that never move, so that `wipe` leaves nothing of it.
 * One piece is written at a time.
 */
export class Arena {
  readonly #blocks: Buffer[] = [];
  #block = Buffer.alloc(0);
  #from = 0;
  #end = 0;

  /** Begins a piece of at most `most` bytes. */
  begin(most: number): void {
    this.#from = this.#end;
    if (this.#end + most <= this.#block.length) return;
    this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, most));
    this.#blocks.push(this.#block);
    this.#from = this.#end = 0;
  }

  byte(byte: number): void {
    this.#block[this.#end++] = byte;
  }

  /** ASCII that is no part of a secret. */
  text(text: string): void {
    for (let i = 0; i < text.length; i++) this.#block[this.#end++] = text.charCodeAt(i);
  }

  /** What was written since `begin`. */
  take(): Buffer {
    return this.#block.subarray(this.#from, this.#end);
  }

  /** Forgets the piece that was taken last. */
  drop(): void {
    this.#end = this.#from;
  }

  copy(bytes: Uint8Array): Buffer {
    this.begin(bytes.length);
    this.#block.set(bytes, this.#end);
    this.#end += bytes.length;
    return this.take();
  }

  wipe(): void {
    for (const block of this.#blocks) block.fill(0);
  }
}

/** Byte strings, each once. A Set would want them as JavaScript strings, which can't be wiped. */
export class ByteSet {
  readonly #byHash = new Map<number, Uint8Array[]>();

  /** False where they are there already. Keeps a reference. */
  add(bytes: Uint8Array): boolean {
    // FNV-1a.
    let hash = 0x811c9dc5;
    for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
    const same = this.#byHash.get(hash);
    if (same === undefined) this.#byHash.set(hash, [bytes]);
    else if (same.some((other) => Buffer.compare(other, bytes) === 0)) return false;
    else same.push(bytes);
    return true;
  }
}
