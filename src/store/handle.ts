import { SallyportError } from "../core/errors.ts";
import type { NativeDatabase, NativeStatement } from "./addon.ts";
import { sqlcipher } from "./addon.ts";

export type Value = string | number | boolean | Uint8Array | null;

/** Enough for every statement of the aggregates; what a filter composes beyond that is evicted, oldest first. */
const CACHED_STATEMENTS = 300;

/** What SQLite says when a call fails: `errno` is its primary result code (sqlite.org/rescode.html). */
export class SqlError extends Error {
  override readonly name = "SqlError";
  readonly errno: number;
  constructor(errno: number, message: string) {
    super(message);
    this.errno = errno;
  }
}

function sqlError(error: unknown): SqlError {
  const { errno, message } = error as { errno?: number; message?: string };
  return new SqlError(errno ?? 1, message ?? "unknown");
}

/** The binding turns undefined, bigint and NaN into NULL without a word; a statement must not mean something else. */
function checkParams(params: readonly Value[]): void {
  for (const value of params) {
    if (value === null || typeof value === "string" || typeof value === "boolean") continue;
    if (typeof value === "number" && Number.isFinite(value)) continue;
    if (value instanceof Uint8Array) continue;
    throw new SallyportError("internal", `A value of type ${typeof value} can't be bound to a statement.`);
  }
}

/**
 * One SQLite connection. Calls run one after the other in the order they were made: two that overlap would block
 * threads of the pool on the connection's mutex, and two transactions on one connection would become one.
 */
export class Handle {
  readonly #native: NativeDatabase;
  readonly #statements = new Map<string, NativeStatement>();
  #tail: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(native: NativeDatabase) {
    this.#native = native;
  }

  static open(file: string, readonly: boolean): Promise<Handle> {
    const { Database, OPEN_READONLY, OPEN_READWRITE, OPEN_FULLMUTEX } = sqlcipher();
    return new Promise((resolve, reject) => {
      const flags = (readonly ? OPEN_READONLY : OPEN_READWRITE) | OPEN_FULLMUTEX;
      const native = new Database(file, flags, (error) => {
        if (error) reject(sqlError(error));
        else resolve(new Handle(native));
      });
    });
  }

  /** Statements without parameters; for pragmas and migrations. An error never quotes them: one carries the key. */
  exec(sql: string): Promise<void> {
    return this.#inOrder(
      () =>
        new Promise((resolve, reject) => {
          this.#native.exec(sql, (error) => (error ? reject(sqlError(error)) : resolve()));
        }),
    );
  }

  /** Returns the number of rows that the statement itself changed. */
  run(sql: string, params: readonly Value[] = []): Promise<number> {
    checkParams(params);
    return this.#inOrder(async () => {
      const statement = await this.#prepare(sql);
      return new Promise((resolve, reject) => {
        statement.run(params, function (this: { changes: number }, error) {
          if (error) reject(sqlError(error));
          else resolve(this.changes);
        });
      });
    });
  }

  /** Every row: reading to the end also ends the statement's hold on the read snapshot. */
  all<T>(sql: string, params: readonly Value[] = []): Promise<T[]> {
    checkParams(params);
    return this.#inOrder(async () => {
      const statement = await this.#prepare(sql);
      return new Promise((resolve, reject) => {
        statement.all(params, (error, rows) => (error ? reject(sqlError(error)) : resolve(rows as T[])));
      });
    });
  }

  async get<T>(sql: string, params: readonly Value[] = []): Promise<T | undefined> {
    return (await this.all<T>(sql, params))[0];
  }

  /** What runs now fails with SQLITE_INTERRUPT (9); nothing happens when nothing does. */
  interrupt(): void {
    if (!this.#closed) this.#native.interrupt();
  }

  close(): Promise<void> {
    return this.#inOrder(async () => {
      if (this.#closed) return;
      this.#closed = true;
      for (const statement of this.#statements.values()) await finalize(statement);
      this.#statements.clear();
      await new Promise<void>((resolve, reject) => {
        this.#native.close((error) => (error ? reject(sqlError(error)) : resolve()));
      });
    });
  }

  #inOrder<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(call);
    this.#tail = result.catch(() => undefined);
    return result;
  }

  async #prepare(sql: string): Promise<NativeStatement> {
    if (this.#closed) throw new SqlError(21, "the connection is closed");
    const cached = this.#statements.get(sql);
    if (cached) return cached;
    const { Statement } = sqlcipher();
    const statement = await new Promise<NativeStatement>((resolve, reject) => {
      const made: NativeStatement = new Statement(this.#native, sql, (error) =>
        error ? reject(sqlError(error)) : resolve(made),
      );
    });
    if (this.#statements.size >= CACHED_STATEMENTS) {
      const [oldest, evicted] = this.#statements.entries().next().value as [string, NativeStatement];
      this.#statements.delete(oldest);
      await finalize(evicted);
    }
    this.#statements.set(sql, statement);
    return statement;
  }
}

function finalize(statement: NativeStatement): Promise<void> {
  return new Promise((resolve) => statement.finalize(() => resolve()));
}
