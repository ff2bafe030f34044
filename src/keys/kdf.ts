import { availableMemory } from "node:process";
import { SallyportError } from "../core/errors.ts";
import { type Argon2Binding, argon2Binding } from "./argon2.ts";
import { keyBuffer, keyCopy, randomKey, wipe } from "./memory.ts";

/** Argon2id cost: m in KiB, t passes, p lanes (RFC 9106 section 3.1). */
export type KdfParams = { m: number; t: number; p: number };

const MIB = 1024;
/** RFC 9106 section 4, second recommended choice: nothing weaker is ever written or read. */
export const FLOOR: Readonly<KdfParams> = { m: 64 * MIB, t: 3, p: 4 };
export const DEFAULT: Readonly<KdfParams> = { m: 1024 * MIB, t: 4, p: 4 };
/** The key file is read before anything authenticates it, so the work it can ask for is bounded. */
export const CAP: Readonly<KdfParams> = { m: 4096 * MIB, t: 16, p: 16 };

export const SALT_BYTES = 16;
const KEY_BYTES = 32;
const ARGON2ID = 2;
const VERSION_13 = 0x13;

/** What is wrong with parameters that were read or given, or null. */
export function kdfRefusal(params: KdfParams): string | null {
  for (const name of ["m", "t", "p"] as const) {
    const value = params[name];
    if (!Number.isSafeInteger(value)) return `${name} is not a whole number`;
    if (value < FLOOR[name] && name !== "p") return `${name}=${value} is below the floor of ${FLOOR[name]}`;
    if (value < 1 || value > CAP[name]) return `${name}=${value} is above the cap of ${CAP[name]}`;
  }
  return null;
}

/**
 * Argon2id, one derivation at a time: each takes up to gigabytes, and callers who can ask for it (anyone at the admin
 * socket) must not multiply that. Those beyond the short queue get `slow_down` at once.
 */
export class Kdf {
  readonly #queue: number;
  readonly #binding: () => Argon2Binding;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: { queue?: number; binding?: () => Argon2Binding } = {}) {
    this.#queue = options.queue ?? 4;
    this.#binding = options.binding ?? argon2Binding;
  }

  /** 32 bytes, to be wiped by the caller. The passphrase is copied on entry, so the caller may wipe it at once. */
  derive(passphrase: Uint8Array, salt: Uint8Array, params: KdfParams): Promise<Buffer> {
    const why = kdfRefusal(params);
    if (why !== null) return Promise.reject(new SallyportError("keyring_damaged", `Argon2id: ${why}.`));
    if (this.#waiting > this.#queue) {
      const detail = "Other passphrases are being checked right now; try again in a few seconds.";
      return Promise.reject(new SallyportError("slow_down", detail));
    }
    this.#waiting++;
    const copy = keyCopy(passphrase);
    const work = this.#last.then(() => this.#hash(copy, salt, params));
    const done = work.finally(() => {
      this.#waiting--;
      wipe(copy);
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  /**
   * Parameters that take about `targetMs` here: DEFAULT's memory where it fits (a quarter of what is available), else
   * the largest halving of it, then as many passes as the time allows. Takes three short derivations itself.
   */
  async measure(targetMs = 1000, memoryKiB = Math.floor(availableMemory() / 1024 / 4)): Promise<KdfParams> {
    const probe = { ...FLOOR };
    const salt = randomKey(SALT_BYTES);
    const secret = randomKey(16);
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 3; i++) {
      const start = process.hrtime.bigint();
      wipe(await this.derive(secret, salt, probe));
      best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e6);
    }
    return fit(best / (probe.m * probe.t), targetMs, memoryKiB);
  }

  async #hash(password: Buffer, salt: Uint8Array, params: KdfParams): Promise<Buffer> {
    let raw: Buffer | undefined;
    try {
      raw = await this.#binding().hash({
        password,
        salt: Buffer.from(salt),
        secret: Buffer.alloc(0),
        data: Buffer.alloc(0),
        hashLength: KEY_BYTES,
        ...params,
        version: VERSION_13,
        type: ARGON2ID,
      });
      const key = keyBuffer(KEY_BYTES);
      key.set(raw);
      return key;
    } catch (cause) {
      if (cause instanceof SallyportError) throw cause;
      const mib = Math.ceil(params.m / MIB);
      throw new SallyportError("internal", `Argon2id needs ${mib} MiB of memory and could not be run.`, {
        cause,
      });
    } finally {
      wipe(raw);
    }
  }
}

/** Pure part of `measure`: `msPerKiBPass` is what one pass over one KiB costs. */
export function fit(msPerKiBPass: number, targetMs: number, memoryKiB: number): KdfParams {
  const cost = (m: number, t: number): number => msPerKiBPass * m * t;
  let m = DEFAULT.m;
  while (m > FLOOR.m && (m > memoryKiB || cost(m, FLOOR.t) > targetMs * 1.5)) m /= 2;
  const passes = Math.round(targetMs / cost(m, 1));
  const most = m === DEFAULT.m ? DEFAULT.t : CAP.t;
  return { m, t: Math.max(FLOOR.t, Math.min(most, passes)), p: DEFAULT.p };
}
