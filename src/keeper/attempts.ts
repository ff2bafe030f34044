/**
 * Slows down whoever guesses passphrases: by caller and over all callers. Pure; the caller of these functions gives the time.
 * The clock may be set back: no wait is ever longer than its cap.
 * The first tries are free, so that a typing error costs nothing; then each failure doubles the wait.
 */
const FREE = { caller: 3, overall: 10 } as const;
const CAP_MS = { caller: 60_000, overall: 30_000 } as const;
const FORGET_MS = 3_600_000;

type Count = { failures: number; last: number };

export class Attempts {
  readonly #callers = new Map<string, Count>();
  readonly #overall: Count = { failures: 0, last: 0 };
  readonly #together: boolean;

  /** `together`: whether one caller's failures slow down the others too. */
  constructor({ together = true } = {}) {
    this.#together = together;
  }

  /** Milliseconds that `caller` has to wait before the next try; 0 when it may try now. */
  wait(caller: string, now: number): number {
    const own = this.#callers.get(caller);
    const alone = own === undefined ? 0 : left(own, now, "caller");
    return this.#together ? Math.max(alone, left(this.#overall, now, "overall")) : alone;
  }

  failed(caller: string, now: number): void {
    const own = this.#callers.get(caller) ?? { failures: 0, last: 0 };
    bump(own, now);
    bump(this.#overall, now);
    this.#callers.set(caller, own);
    for (const [key, count] of this.#callers) if (now - count.last > FORGET_MS) this.#callers.delete(key);
  }

  /** Forgives the caller, not the overall count: one person's success says nothing about another's guessing. */
  succeeded(caller: string): void {
    this.#callers.delete(caller);
  }

  get failures(): number {
    return this.#overall.failures;
  }
}

function bump(count: Count, now: number): void {
  if (Math.abs(now - count.last) > FORGET_MS) count.failures = 0;
  count.failures++;
  count.last = now;
}

function left(count: Count, now: number, kind: "caller" | "overall"): number {
  const over = count.failures - FREE[kind];
  if (over < 0) return 0;
  const wait = Math.min(1000 * 2 ** Math.min(over, 20), CAP_MS[kind]);
  return Math.min(wait, Math.max(0, count.last + wait - now));
}
