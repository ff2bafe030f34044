/**
 * Aho-Corasick over bytes (Aho and Corasick, CACM 18(6), 1975): finds all patterns in one pass, whatever their number.
 * Children are linked lists, so that a long secret costs tens of bytes a state and not a table of 256.
 */
export class Automaton {
  readonly #rootNext = new Int32Array(256);
  #byte: Uint8Array;
  #child: Int32Array;
  #sibling: Int32Array;
  #fail: Int32Array;
  #depth: Int32Array;
  /** Length and name index of the longest pattern that ends in a state; 0 = none. */
  #length: Int32Array;
  #name: Int32Array;
  #states = 1;

  constructor(patterns: readonly { readonly bytes: Uint8Array; readonly name: number }[]) {
    const size = 1 + patterns.reduce((sum, p) => sum + p.bytes.length, 0);
    this.#byte = new Uint8Array(size);
    this.#child = new Int32Array(size);
    this.#sibling = new Int32Array(size);
    this.#fail = new Int32Array(size);
    this.#depth = new Int32Array(size);
    this.#length = new Int32Array(size);
    this.#name = new Int32Array(size);
    for (const pattern of patterns) this.#insert(pattern.bytes, pattern.name);
    this.#link();
  }

  step(state: number, byte: number): number {
    let at = state;
    while (at !== 0) {
      const next = this.#goto(at, byte);
      if (next !== 0) return next;
      at = this.#fail[at]!;
    }
    return this.#rootNext[byte]!;
  }

  /** How many of the last bytes may be the beginning of a pattern. */
  depth(state: number): number {
    return this.#depth[state]!;
  }

  /** Length of the longest pattern that ends here, 0 for none. */
  matchLength(state: number): number {
    return this.#length[state]!;
  }

  matchName(state: number): number {
    return this.#name[state]!;
  }

  #goto(state: number, byte: number): number {
    let next = this.#child[state]!;
    while (next !== 0 && this.#byte[next] !== byte) next = this.#sibling[next]!;
    return next;
  }

  #insert(bytes: Uint8Array, name: number): void {
    let state = 0;
    for (const byte of bytes) {
      let next = state === 0 ? this.#rootNext[byte]! : this.#goto(state, byte);
      if (next === 0) {
        next = this.#states++;
        this.#byte[next] = byte;
        this.#depth[next] = this.#depth[state]! + 1;
        if (state === 0) this.#rootNext[byte] = next;
        else {
          this.#sibling[next] = this.#child[state]!;
          this.#child[state] = next;
        }
      }
      state = next;
    }
    if (this.#length[state] === 0) {
      this.#length[state] = bytes.length;
      this.#name[state] = name;
    }
  }

  #link(): void {
    const queue: number[] = [];
    for (const state of this.#rootNext) if (state !== 0) queue.push(state);
    for (let i = 0; i < queue.length; i++) {
      const state = queue[i]!;
      const fail = this.#fail[state]!;
      if (this.#length[state] === 0) {
        this.#length[state] = this.#length[fail]!;
        this.#name[state] = this.#name[fail]!;
      }
      for (let next = this.#child[state]!; next !== 0; next = this.#sibling[next]!) {
        this.#fail[next] = this.step(fail, this.#byte[next]!);
        queue.push(next);
      }
    }
  }
}
