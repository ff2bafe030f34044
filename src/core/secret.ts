import { inspect } from "node:util";
import { SallyportError } from "./errors.ts";

const SHOWN = "[secret]";

/**
 * A value that must not turn into text by accident: printed, logged, put into JSON or a template, spread, listed or cloned, it
 * shows nothing of itself. Its bytes are lent by `use` alone. They are in memory of their own, outside the pool that Node
 * shares among small buffers, so that `wipe` leaves none of them.
 */
export class Secret {
  readonly #bytes: Uint8Array;
  #wiped = false;

  /** Takes over the buffer, which must share its memory with no other. */
  constructor(bytes: Uint8Array) {
    if (bytes.byteOffset !== 0 || bytes.buffer.byteLength !== bytes.byteLength)
      throw new SallyportError("internal", "A secret's bytes must have memory of their own.");
    this.#bytes = bytes;
    Object.freeze(this);
  }

  /** Lends the bytes; whoever copies them wipes the copy. Throws `internal` once they were wiped. */
  use<T>(take: (bytes: Uint8Array) => T): T {
    if (this.#wiped) throw new SallyportError("internal", "A secret was used after it had been wiped.");
    return take(this.#bytes);
  }

  wipe(): void {
    this.#wiped = true;
    this.#bytes.fill(0);
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [Symbol.toPrimitive](): string {
    return SHOWN;
  }

  [inspect.custom](): string {
    return SHOWN;
  }
}

export function wipeAll(secrets: Iterable<Secret>): void {
  for (const secret of secrets) secret.wipe();
}
