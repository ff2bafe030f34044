import { addOutput } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";

export type Chunk = { stream: "out" | "err"; bytes: Buffer };
/** The beginning of what a run wrote, and how much it was in all. */
export type Shown = { chunks: readonly Chunk[]; bytes: number };

/** As much as Slack is shown of one run. */
const HEAD_BYTES = 64 * 1024;
/** Stored while the run goes on, so that the transaction of the outcome stays small. */
const FLUSH_BYTES = 1024 * 1024;

/** The beginning of an output, and how long the whole is. */
export class OutputHead {
  readonly #chunks: Chunk[] = [];
  #kept = 0;
  #bytes = 0;

  get shown(): Shown {
    return { chunks: this.#chunks, bytes: this.#bytes };
  }

  take(stream: Chunk["stream"], bytes: Buffer): void {
    this.#bytes += bytes.length;
    const part = bytes.subarray(0, HEAD_BYTES - this.#kept);
    if (part.length === 0) return;
    this.#kept += part.length;
    this.#chunks.push({ stream, bytes: part });
  }
}

/** What one run wrote: kept in the database as it comes, with its beginning at hand for the message. */
export class RunOutput {
  readonly #run: string;
  readonly #limit: number;
  readonly #head = new OutputHead();
  #unsaved: Chunk[] = [];
  #unsavedBytes = 0;
  #truncated = false;

  constructor(run: string, limitBytes: number) {
    this.#run = run;
    this.#limit = limitBytes;
  }

  get shown(): Shown {
    return this.#head.shown;
  }

  /** Whether more came than the bound allows. */
  get truncated(): boolean {
    return this.#truncated;
  }

  /** Takes what fits the Op's bound and returns it. */
  take(stream: Chunk["stream"], bytes: Buffer): Buffer {
    const kept = bytes.subarray(0, Math.max(0, this.#limit - this.shown.bytes));
    if (kept.length < bytes.length) this.#truncated = true;
    if (kept.length === 0) return kept;
    this.#head.take(stream, kept);
    this.#unsaved.push({ stream, bytes: kept });
    this.#unsavedBytes += kept.length;
    return kept;
  }

  /** Stores what came since, where it is much. A failure is left to `save`: nothing is forgotten until it is stored. */
  async flush(store: Store): Promise<void> {
    if (this.#unsavedBytes < FLUSH_BYTES) return;
    const chunks = this.#unsaved;
    this.#unsaved = [];
    this.#unsavedBytes = 0;
    try {
      await store.mutate((tx) => addOutput(tx, this.#run, chunks, this.#limit));
    } catch (error) {
      this.#unsaved = [...chunks, ...this.#unsaved];
      this.#unsavedBytes += chunks.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
      throw error;
    }
  }

  /** The rest, in the transaction of the outcome. */
  async save(tx: Tx): Promise<void> {
    if (this.#unsaved.length > 0) await addOutput(tx, this.#run, this.#unsaved, this.#limit);
  }
}
