import { addCheckpoint, latestCheckpoint } from "../store/checkpoints.ts";
import type { Store } from "../store/store.ts";
import type { LogDirectory } from "./log-directory.ts";
import { type NotaryClient, NotaryRefusal } from "./notary.ts";

const DEBOUNCE_MS = 400;
const REOPEN_MS = 2000;

export type Signed = { size: number; root: Buffer; note: string };
type Options = {
  store: Store;
  notary: Pick<NotaryClient, "sign">;
  directory: Pick<LogDirectory, "show" | "stop" | "abandon">;
  /** The size that the notary signed last; null when its history is another one. */
  from: number | null;
  signed: (checkpoint: Signed) => void;
  /** The notary holds another history. Called once at most. */
  refused: (refusal: NotaryRefusal) => void;
  /** The notary's own word on which size it signed last; null as for `from`. */
  reopen: () => Promise<number | null>;
  failed: (error: unknown) => void;
};

/** Has the notary sign the log's state after every batch, at most one second later (P8). */
export class Checkpoints {
  readonly #o: Options;
  #reopening: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #last: number;
  /** Until the next unlock: people have to look first. */
  #isHalted: boolean;
  #isFailing = false;
  #stop: () => void = () => undefined;
  #stopped = false;

  constructor(o: Options) {
    this.#o = o;
    this.#last = o.from ?? 0;
    this.#isHalted = o.from === null;
  }

  start(): void {
    this.#stop = this.#o.store.log.onAppend(() => this.#schedule());
    this.#schedule();
  }

  /** Signs what is there now and stops. */
  async stop(): Promise<void> {
    this.#end();
    await this.now();
    await this.#o.directory.stop();
  }

  abandon(): void {
    this.#end();
    this.#o.directory.abandon();
  }

  /** Signs the current state unless it is signed already; resolves when the checkpoint is stored, or could not be had. */
  now(): Promise<void> {
    this.#running = this.#running.then(() => this.#sign()).catch((error: unknown) => this.#couldNot(error));
    return this.#running;
  }

  /**
   * Asks the notary which size it signed last: after its restart, or when an answer was lost. In turn with signing, so that
   * what it says is not older than what it has signed since.
   */
  reopen(): Promise<void> {
    this.#running = this.#running
      .then(async () => {
        if (this.#isHalted) return;
        const from = await this.#o.reopen();
        if (from === null) this.#isHalted = true;
        else this.#last = from;
        this.#schedule();
      })
      .catch((error: unknown) => this.#couldNot(error));
    return this.#running;
  }

  #end(): void {
    this.#stopped = true;
    this.#stop();
    clearTimeout(this.#timer);
    clearTimeout(this.#reopening);
  }

  #couldNot(error: unknown): void {
    if (error instanceof NotaryRefusal && error.kind === "history") {
      // The refusal is an entry of its own: to have that signed too would be refused, and so on for ever.
      this.#isHalted = true;
      this.#o.refused(error);
      return;
    }
    // Once, not every two seconds for as long as the notary is away.
    if (!this.#isFailing) this.#o.failed(error);
    this.#isFailing = true;
    if (this.#stopped) return;
    this.#reopening ??= setTimeout(() => {
      this.#reopening = undefined;
      void this.reopen();
    }, REOPEN_MS).unref();
  }

  #schedule(): void {
    if (this.#stopped || this.#isHalted) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.now();
    }, DEBOUNCE_MS);
  }

  async #sign(): Promise<void> {
    const { store, notary, directory } = this.#o;
    const from = this.#last;
    const size = store.log.size();
    if (this.#isHalted || size === 0) return;
    if (size === from) {
      const latest = await latestCheckpoint(store.read);
      // The directory may have missed it: the keeper was killed in between.
      if (latest?.size === size) return directory.show(latest);
    }
    const root = await store.log.rootAt(size);
    const consistency = from === 0 ? [] : await store.log.consistency(from, size);
    const { checkpoint } = await notary.sign({
      fromSize: from,
      size,
      root: root.toString("base64"),
      consistency: consistency.map((hash) => hash.toString("base64")),
    });
    this.#last = size;
    this.#isFailing = false;
    await store.mutate(async (tx) => {
      tx.unlogged("a checkpoint speaks of the log; it is not part of it");
      await addCheckpoint(tx, { size, root, note: checkpoint });
    });
    this.#o.signed({ size, root, note: checkpoint });
    directory.show({ size, note: checkpoint });
  }
}
