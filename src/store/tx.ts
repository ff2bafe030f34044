import type { AuditEvent } from "../audit/event.ts";
import { SallyportError } from "../core/errors.ts";
import type { Append } from "./append.ts";
import { failureOf, toSallyportError } from "./failures.ts";
import type { Handle, Value } from "./handle.ts";

/** Bound statements that only read. Rows are as SQLite gives them: INTEGER as number, BLOB as Buffer, NULL as null. */
export interface Reader {
  get<T>(sql: string, params?: readonly Value[]): Promise<T | undefined>;
  all<T>(sql: string, params?: readonly Value[]): Promise<T[]>;
}

/** One mutation's view of the open transaction. It sees its own rows; its log entries are in their table at COMMIT. */
export interface Tx extends Reader {
  /** Returns how many rows the statement changed. */
  run(sql: string, params?: readonly Value[]): Promise<number>;
  /** As `run`, for rows that no entry needs to tell of: receipts, posts owed, output, pruning. */
  runUnlogged(sql: string, params?: readonly Value[]): Promise<number>;
  /** Appends to the audit log and returns the entry's leaf index. */
  log(event: AuditEvent): number;
  /** Declares that nothing which this mutation changes needs an entry. */
  unlogged(reason: string): void;
  /** The mutation's time, ms since the epoch: the same in its rows and in its entries. */
  readonly now: number;
}

export class Mutation implements Tx {
  readonly now: number;
  readonly #handle: Handle;
  readonly #append: Append;
  readonly #pending = new Set<Promise<unknown>>();
  #changed = 0;
  #logged = 0;
  #unlogged = "";
  #closed = false;
  #broken: unknown;
  readonly #begin: () => Promise<void>;
  #begun: Promise<void> | undefined;

  /** `begin` opens the transaction, or a savepoint in it, before the first change: a mutation may need neither. */
  constructor(handle: Handle, append: Append, now: number, begin: () => Promise<void>) {
    this.#begin = begin;
    this.#handle = handle;
    this.#append = append;
    this.now = now;
  }

  get<T>(sql: string, params?: readonly Value[]): Promise<T | undefined> {
    return this.#track(() => this.#handle.get<T>(sql, params));
  }

  all<T>(sql: string, params?: readonly Value[]): Promise<T[]> {
    return this.#track(() => this.#handle.all<T>(sql, params));
  }

  run(sql: string, params?: readonly Value[]): Promise<number> {
    return this.#write(sql, params, true);
  }

  runUnlogged(sql: string, params?: readonly Value[]): Promise<number> {
    return this.#write(sql, params, false);
  }

  log(event: AuditEvent): number {
    this.#mustBeOpen();
    this.#logged += 1;
    return this.#append.add(event, this.now);
  }

  unlogged(reason: string): void {
    this.#mustBeOpen();
    this.#unlogged = reason;
  }

  /** An error after which the transaction can't go on, also when the mutation's own code swallowed it. */
  get broken(): unknown {
    return this.#broken;
  }

  /** Whether there may be rows to take back. */
  get begun(): boolean {
    return this.#begun !== undefined;
  }

  /** Whatever the mutation left running ends before its savepoint does; nothing can be started after. */
  async end(): Promise<void> {
    this.#closed = true;
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }

  checkLogged(): void {
    if (this.#changed > 0 && this.#logged === 0 && this.#unlogged === "") {
      throw new SallyportError("internal", "A mutation changed rows and logged nothing; it was undone.");
    }
  }

  #mustBeOpen(): void {
    if (this.#closed)
      throw new SallyportError("internal", "A transaction was used after its mutation had ended.");
  }

  #write(sql: string, params: readonly Value[] | undefined, needsEntry: boolean): Promise<number> {
    return this.#track(async () => {
      this.#begun ??= this.#begin();
      await this.#begun;
      const changed = await this.#handle.run(sql, params);
      if (needsEntry) this.#changed += changed;
      return changed;
    });
  }

  async #track<T>(call: () => Promise<T>): Promise<T> {
    this.#mustBeOpen();
    const result = call().catch((error: unknown) => {
      if (failureOf(error) !== "statement") this.#broken ??= error;
      throw toSallyportError(error);
    });
    this.#pending.add(result);
    try {
      return await result;
    } finally {
      this.#pending.delete(result);
    }
  }
}
