const EVERY_MS = 60_000;
const MAX_ACCOUNTS = 1024;

/** Refusals of one sort: one entry a minute, account and reason, so that trying can't fill the log. */
export class Refusals {
  readonly #told = new Map<string, { at: number; since: number }>();

  /** How many refusals the entry to be made now stands for; 0 when none is to be made. */
  count(account: number | string, code: string, now: number): number {
    const key = `${account} ${code}`;
    const told = this.#told.get(key);
    if (told !== undefined && now - told.at < EVERY_MS) {
      told.since++;
      return 0;
    }
    const count = 1 + (told?.since ?? 0);
    this.#told.delete(key);
    this.#told.set(key, { at: now, since: 0 });
    const oldest = this.#told.keys().next().value;
    if (this.#told.size > MAX_ACCOUNTS && oldest !== undefined) this.#told.delete(oldest);
    return count;
  }
}
