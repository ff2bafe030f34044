import type { Log } from "../store/store.ts";

/** What one read of the log takes (store/log.ts bounds it at 1000). */
const PAGE = 1000;

/**
 * Hands every entry from `from` on to a sink, in order and each once: a cursor over the log, never a gate (AUDIT.md). It is
 * there before the first entry of an unlock is written and until the last of a stop is, since those are what a SIEM waits for.
 */
export class LogLines {
  readonly #log: Log;
  readonly #emit: (entry: Buffer, seq: number) => void;
  readonly #failed: (error: unknown) => void;
  readonly #silence: () => void;
  #next: number;
  #pulling: Promise<void> | undefined;

  constructor(o: {
    log: Log;
    emit: (entry: Buffer, seq: number) => void;
    failed: (error: unknown) => void;
  }) {
    this.#log = o.log;
    this.#emit = o.emit;
    this.#failed = o.failed;
    this.#next = o.log.size();
    this.#silence = o.log.onAppend(() => void this.#pull());
  }

  /** Ends it once all that the log holds by now was handed on. Call it when nothing is written any more. */
  async end(): Promise<void> {
    this.#silence();
    await this.#pull();
  }

  /**
   * One at a time. After a read that failed the cursor stands where it stood, and the next entry tries again; an entry that the
   * sink can't take is passed over, so that it stops no other.
   */
  #pull(): Promise<void> {
    this.#pulling = (this.#pulling ?? Promise.resolve()).then(() => this.#read()).catch(this.#failed);
    return this.#pulling;
  }

  async #read(): Promise<void> {
    while (this.#next < this.#log.size()) {
      const entries = await this.#log.entries(this.#next, Math.min(this.#next + PAGE, this.#log.size()));
      if (entries.length === 0) return;
      for (const entry of entries) this.#emit(entry, this.#next++);
    }
  }
}
