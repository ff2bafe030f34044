import { AsyncLocalStorage } from "node:async_hooks";
import type { Frontier } from "../audit/merkle.ts";
import { SallyportError } from "../core/errors.ts";
import { Append } from "./append.ts";
import { toSallyportError } from "./failures.ts";
import type { Handle } from "./handle.ts";
import type { Tx } from "./tx.ts";
import { Mutation } from "./tx.ts";

const MAX_BATCH = 128;
const MAX_WAITING = 10_000;
/** A mutation awaits the database and nothing else; one that hangs would stop every other. */
export const MUTATION_TIMEOUT_MS = 5000;

interface Job {
  fn: (tx: Tx) => unknown;
  resolve: (value: unknown) => void;
  reject: (error: unknown) => void;
  outcome?: Outcome;
}

type Outcome = { value: unknown } | { error: unknown };

export interface WriterOptions {
  open: () => Promise<Handle>;
  frontier: Frontier;
  clock: () => number;
  /** The tree as the database has it, read again after a failure. */
  reload: (handle: Handle) => Promise<Frontier>;
  /** Called after each COMMIT that added entries, before the callers are answered. */
  committed: (frontier: Frontier, from: number) => void;
}

/** Ends a batch: its transaction is gone or must be. */
class BatchBroken extends Error {
  constructor(cause: unknown) {
    super("", { cause });
  }
}

/**
 * The one write path. Mutations that wait share a transaction: each has its savepoint, all have one COMMIT, so one
 * fsync answers all of them. State and log entries are in the same transaction, or in none.
 */
export class Writer {
  readonly #options: WriterOptions;
  readonly #inside = new AsyncLocalStorage<true>();
  #queue: Job[] = [];
  #handle: Handle | undefined;
  #frontier: Frontier | undefined;
  #draining: Promise<void> | undefined;
  #closed = false;
  #problem: SallyportError | undefined;

  constructor(handle: Handle, options: WriterOptions) {
    this.#handle = handle;
    this.#frontier = options.frontier;
    this.#options = options;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** What stopped the last batch, until one succeeds. */
  get problem(): SallyportError | undefined {
    return this.#problem;
  }

  mutate<T>(fn: (tx: Tx) => T | Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new SallyportError("sealed"));
    if (this.#inside.getStore()) {
      return Promise.reject(new SallyportError("internal", "A mutation was started inside a mutation."));
    }
    if (this.#queue.length >= MAX_WAITING) {
      return Promise.reject(new SallyportError("slow_down", "Too many changes wait for the database."));
    }
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ fn, resolve: resolve as (value: unknown) => void, reject });
      this.#draining ??= Promise.resolve().then(() => this.#drain());
    });
  }

  /** Refuses what comes from now on, waits for what was accepted. */
  async finish(): Promise<void> {
    this.#closed = true;
    await this.#draining;
  }

  async close(): Promise<void> {
    await this.finish();
    await this.#dropHandle();
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, MAX_BATCH);
      try {
        await this.#commitBatch(batch);
        this.#problem = undefined;
      } catch (error) {
        const cause = error instanceof BatchBroken ? error.cause : error;
        this.#problem = toSallyportError(cause);
        await this.#dropHandle();
        for (const job of batch) {
          if (!(job.outcome && "error" in job.outcome)) job.outcome = { error: this.#problem };
        }
      }
      for (const job of batch) {
        if (job.outcome && "value" in job.outcome) job.resolve(job.outcome.value);
        else job.reject(job.outcome?.error);
      }
    }
    this.#draining = undefined;
  }

  async #commitBatch(batch: readonly Job[]): Promise<void> {
    const handle = await this.#usable();
    const append = new Append(this.#frontier as Frontier);
    const transaction = new Transaction(handle, batch.length > 1);
    for (const job of batch) job.outcome = await this.#runJob(handle, append, job, transaction);
    const allFailed = batch.every((job) => job.outcome && "error" in job.outcome);
    if (allFailed) return transaction.rollback();
    if (!append.empty && !append.atOnce) await transaction.begin();
    await append.write(handle);
    await transaction.commit();
    this.#frontier = append.frontier;
    if (!append.empty) this.#options.committed(append.frontier, append.from);
  }

  async #runJob(handle: Handle, append: Append, job: Job, transaction: Transaction): Promise<Outcome> {
    const undoLog = append.mark();
    const tx = new Mutation(handle, append, this.#options.clock(), () => transaction.savepoint());
    let outcome: Outcome;
    try {
      const value = await this.#inside.run(true, () => bounded(job.fn, tx));
      await tx.end();
      if (tx.broken === undefined) tx.checkLogged();
      outcome = { value };
    } catch (error) {
      outcome = { error };
    }
    await tx.end();
    if (tx.broken !== undefined) throw new BatchBroken(tx.broken);
    if ("error" in outcome) {
      undoLog();
      if (tx.begun) await transaction.undo();
    }
    return outcome;
  }

  /** The connection; a new one after a failure, with the tree read again from what is really there. */
  async #usable(): Promise<Handle> {
    if (this.#handle) return this.#handle;
    const handle = await this.#options.open();
    try {
      this.#frontier = await this.#options.reload(handle);
    } catch (error) {
      await handle.close().catch(() => undefined);
      throw error;
    }
    this.#handle = handle;
    return handle;
  }

  /** Closing rolls back what was open; SQLCipher does not use a connection again once it has met a bad page. */
  async #dropHandle(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close().catch(() => undefined);
  }
}

/**
 * BEGIN, savepoints and COMMIT of one batch, none before it is needed: each call to the database costs a change of
 * threads and back. Reads before BEGIN see the same, for nobody else writes.
 */
class Transaction {
  readonly #handle: Handle;
  readonly #several: boolean;
  #begun = false;
  /** A savepoint with nothing in it. */
  #clean = false;
  #open = false;

  constructor(handle: Handle, several: boolean) {
    this.#handle = handle;
    this.#several = several;
  }

  async begin(): Promise<void> {
    if (this.#begun) return;
    await this.#handle.run("BEGIN IMMEDIATE");
    this.#begun = true;
  }

  /** Before a mutation's first change. A batch of one needs no savepoint: its failure takes everything along. */
  async savepoint(): Promise<void> {
    if (!this.#several) return this.begin();
    if (!this.#clean) {
      const before = this.#open ? "RELEASE mutation; " : this.#begun ? "" : "BEGIN IMMEDIATE; ";
      await this.#handle.exec(`${before}SAVEPOINT mutation`);
      this.#begun = true;
      this.#open = true;
    }
    this.#clean = false;
  }

  /** Takes back what the mutation that failed has changed. */
  async undo(): Promise<void> {
    if (!this.#several) return;
    await this.#handle.run("ROLLBACK TO mutation");
    this.#clean = true;
  }

  async commit(): Promise<void> {
    if (this.#begun) await this.#handle.run("COMMIT");
  }

  async rollback(): Promise<void> {
    if (this.#begun) await this.#handle.run("ROLLBACK");
  }
}

async function bounded(fn: Job["fn"], tx: Mutation): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new SallyportError("internal", "A mutation took too long; it was undone.")),
      MUTATION_TIMEOUT_MS,
    );
  });
  try {
    return await Promise.race([fn(tx), late]);
  } finally {
    clearTimeout(timer);
  }
}
