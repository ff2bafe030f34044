import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { tileBytes, tilePath, tilesBetween } from "../audit/tiles.ts";
import { addCheckpoint, latestCheckpoint } from "../store/checkpoints.ts";
import type { Store } from "../store/store.ts";
import { type NotaryClient, NotaryRefusal } from "./notary.ts";

const DEBOUNCE_MS = 400;
const REOPEN_MS = 2000;

export type Signed = { size: number; root: Buffer; note: string };

/**
 * Has the notary sign the log's state after every batch, at most one second later (P8), and puts hash tiles and the
 * checkpoint in clear into the log directory: they tell nothing but that the log only grew.
 */
export class Checkpoints {
  readonly #store: Store;
  readonly #notary: NotaryClient;
  readonly #dir: string;
  readonly #signed: (checkpoint: Signed) => void;
  readonly #refused: (refusal: NotaryRefusal) => void;
  readonly #reopen: () => Promise<number | null>;
  readonly #failed: (error: unknown) => void;
  #reopening: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #last: { size: number };
  #stop: () => void = () => undefined;
  #stopped = false;

  constructor(o: {
    store: Store;
    notary: NotaryClient;
    /** Where `checkpoint` and `tile/` go. */
    dir: string;
    /** The size that the notary signed last. */
    from: number;
    signed: (checkpoint: Signed) => void;
    /** The notary holds another history. */
    refused: (refusal: NotaryRefusal) => void;
    /** Asks the notary again which size it signed last, after an answer was lost; null when its history is another one. */
    reopen: () => Promise<number | null>;
    failed: (error: unknown) => void;
  }) {
    this.#store = o.store;
    this.#notary = o.notary;
    this.#dir = o.dir;
    this.#signed = o.signed;
    this.#refused = o.refused;
    this.#reopen = o.reopen;
    this.#failed = o.failed;
    this.#last = { size: o.from };
  }

  start(): void {
    this.#stop = this.#store.log.onAppend(() => this.#schedule());
    this.#schedule();
  }

  /** Signs what is there now and stops. */
  async stop(): Promise<void> {
    this.abandon();
    await this.now();
  }

  abandon(): void {
    this.#stopped = true;
    this.#stop();
    clearTimeout(this.#timer);
    clearTimeout(this.#reopening);
  }

  /** Signs the current state unless it is signed already; resolves when the checkpoint is stored and written. */
  now(): Promise<void> {
    this.#running = this.#running.then(() => this.#sign()).catch((error: unknown) => this.#couldNot(error));
    return this.#running;
  }

  #couldNot(error: unknown): void {
    if (error instanceof NotaryRefusal && error.kind === "history") {
      this.#refused(error);
      return;
    }
    this.#failed(error);
    if (this.#stopped) return;
    this.#reopening ??= setTimeout(() => {
      this.#reopening = undefined;
      this.#reopen().then(
        (size) => size !== null && this.resume(size),
        (again: unknown) => this.#couldNot(again),
      );
    }, REOPEN_MS);
    this.#reopening.unref();
  }

  /** The notary was restarted and told its last size anew. */
  resume(from: number): void {
    this.#last = { size: from };
    this.#schedule();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.now();
    }, DEBOUNCE_MS);
  }

  async #sign(): Promise<void> {
    const size = this.#store.log.size();
    const from = this.#last.size;
    if (size === 0 || (size === from && (await latestCheckpoint(this.#store.read))?.size === size)) return;
    const root = await this.#store.log.rootAt(size);
    const consistency = from === 0 ? [] : await this.#store.log.consistency(from, size);
    const { checkpoint } = await this.#notary.sign({
      fromSize: from,
      size,
      root: root.toString("base64"),
      consistency: consistency.map((hash) => hash.toString("base64")),
    });
    this.#last = { size };
    await this.#store.mutate(async (tx) => {
      tx.unlogged("a checkpoint speaks of the log; it is not part of it");
      await addCheckpoint(tx, { size, root, note: checkpoint });
    });
    await this.#write(from, size, checkpoint);
    this.#signed({ size, root, note: checkpoint });
  }

  /** Tiles first: whoever reads the checkpoint finds all that it covers. */
  async #write(from: number, to: number, note: string): Promise<void> {
    for (const tile of tilesBetween(from, to)) {
      const file = join(this.#dir, tilePath(tile.level, tile.index, tile.width));
      writeAtomically(file, await tileBytes(tile, this.#store.log.nodes));
    }
    writeAtomically(join(this.#dir, "checkpoint"), Buffer.from(note));
  }
}

function writeAtomically(file: string, bytes: Uint8Array): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  const temp = `${file}.new`;
  writeFileSync(temp, bytes, { mode: 0o644, flush: true });
  renameSync(temp, file);
}
