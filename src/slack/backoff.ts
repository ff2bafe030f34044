/**
 * Milliseconds before attempt `failures` + 1: exponential from `base`, never above `cap`, with half of it random, so
 * that the two connections and other appliances do not come back in step after an outage.
 */
export function backoff(
  failures: number,
  base: number,
  cap: number,
  random: () => number = Math.random,
): number {
  if (failures <= 0) return 0;
  const full = Math.min(cap, base * 2 ** Math.min(failures - 1, 30));
  return Math.round(full / 2 + (full / 2) * random());
}

/** A token bucket: `burst` at once, then `perSecond`. Times in milliseconds. */
export class Bucket {
  #tokens: number;
  #at: number;
  readonly #burst: number;
  readonly #perSecond: number;

  constructor(burst: number, perSecond: number, now: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
    this.#at = now;
  }

  /** Takes a token and returns 0, or returns how long to wait for one. */
  take(now: number): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1000) * this.#perSecond);
    this.#at = now;
    if (this.#tokens >= 1 - 1e-9) {
      this.#tokens -= 1;
      return 0;
    }
    return Math.ceil(((1 - this.#tokens) / this.#perSecond) * 1000);
  }

  /** Whether it is as good as a new one. */
  isFull(now: number): boolean {
    return this.#tokens + ((now - this.#at) / 1000) * this.#perSecond >= this.#burst;
  }
}
