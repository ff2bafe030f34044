import { existsSync, rmSync } from "node:fs";
import { SallyportError } from "../core/errors.ts";
import { loadFrontier } from "./append.ts";
import { checkCanary, checkHeader, plantCanary } from "./canary.ts";
import { checkFile, createPrivately, DatabaseKey, openConnection, publish } from "./database.ts";
import { failureOf, INTERRUPT, toSallyportError } from "./failures.ts";
import { type Handle, SqlError, type Value } from "./handle.ts";
import type { Log } from "./log.ts";
import { StoredLog } from "./log.ts";
import { migrate, schemaVersion } from "./migrations.ts";
import { Writer } from "./mutate.ts";
import { MIGRATIONS } from "./schema.ts";
import type { Reader, Tx } from "./tx.ts";

export type { LogFilter, LogRow } from "./log-query.ts";
export type { Log, Reader, Tx, Value };

export interface StoreOptions {
  file: string;
  /** 32 bytes, copied; the caller wipes its own. */
  key: Uint8Array;
  create: boolean;
  clock?: () => number;
}

export interface StoreStatus {
  writable: boolean;
  /** Why the last batch failed, until one succeeds. */
  problem: string | null;
  schema: number;
  logSize: number;
  waiting: number;
}

export interface Store {
  /**
   * The one write path: resolves once the COMMIT is on disk. `fn` awaits calls of its `tx` and nothing else, within 5 s;
   * what it throws undoes its own changes only. `log_unwritable`: the disk is full or fails; nothing of the batch
   * happened, and the next call tries again. `database_damaged`: it met a bad page.
   */
  mutate<T>(fn: (tx: Tx) => T | Promise<T>): Promise<T>;
  readonly read: Reader;
  readonly log: Log;
  status(): StoreStatus;
  /**
   * What is wrong, in words; [] when sound. `full` checks the MAC of every page too and reads all of the file. Throws `timeout`
   * when it has not come to an end within so many milliseconds.
   */
  integrity(kind: "quick" | "full", withinMs?: number): Promise<string[]>;
  /** Answers what was accepted; every later change is refused with `sealed`. What is there can still be read. */
  finish(): Promise<void>;
  /** As `finish`, then closes; every later call is refused with `sealed`. */
  close(): Promise<void>;
}

export async function openStore(options: StoreOptions): Promise<Store> {
  const key = new DatabaseKey(options.key);
  try {
    if (options.create) await create(options.file, key);
    return await open(options.file, key, options.clock ?? Date.now);
  } catch (error) {
    key.wipe();
    throw toSallyportError(error);
  }
}

/** Made under another name and finished there, so that a kill leaves either no database or a whole one. */
async function create(file: string, key: DatabaseKey): Promise<void> {
  if (existsSync(file)) throw new SallyportError("already_initialized", `${file} exists.`);
  const unfinished = `${file}.new`;
  for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(`${unfinished}${suffix}`, { force: true });
  createPrivately(unfinished);
  const handle = await openConnection(unfinished, key, "writer");
  try {
    await migrate(handle, MIGRATIONS);
    await plantCanary(handle);
    await handle.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  } finally {
    await handle.close();
  }
  publish(unfinished, file);
}

async function open(file: string, key: DatabaseKey, clock: () => number): Promise<Store> {
  checkFile(file);
  checkHeader(file);
  const writing = await openConnection(file, key, "writer");
  let reading: Handle | undefined;
  try {
    await migrate(writing, MIGRATIONS);
    await checkCanary(file, writing);
    reading = await openConnection(file, key, "reader");
    const schema = await schemaVersion(reading);
    const frontier = await loadFrontier(writing);
    return new OpenStore({ file, key, clock, writing, reading, schema, frontier });
  } catch (error) {
    await reading?.close().catch(() => undefined);
    await writing.close().catch(() => undefined);
    throw error;
  }
}

interface Parts {
  file: string;
  key: DatabaseKey;
  clock: () => number;
  writing: Handle;
  reading: Handle;
  schema: number;
  frontier: Awaited<ReturnType<typeof loadFrontier>>;
}

class OpenStore implements Store {
  readonly read: Reader;
  readonly log: Log;
  readonly #parts: Parts;
  readonly #writer: Writer;
  readonly #reader: SturdyReader;

  constructor(parts: Parts) {
    const { file, key, clock, frontier } = parts;
    this.#parts = parts;
    this.#reader = new SturdyReader(parts.reading, () => openConnection(file, key, "reader"));
    this.read = this.#reader;
    const log = new StoredLog(this.#reader, frontier);
    this.log = log;
    this.#writer = new Writer(parts.writing, {
      frontier,
      clock,
      open: () => openConnection(file, key, "writer"),
      reload: loadFrontier,
      committed: (grown, from) => log.committed(grown, from),
    });
  }

  mutate<T>(fn: (tx: Tx) => T | Promise<T>): Promise<T> {
    return this.#writer.mutate(fn);
  }

  status(): StoreStatus {
    const problem = this.#writer.problem?.message ?? null;
    return {
      writable: problem === null,
      problem,
      schema: this.#parts.schema,
      logSize: this.log.size(),
      waiting: this.#writer.waiting,
    };
  }

  /** On a connection of its own: a bad page makes a connection useless, and a full check takes long. */
  async integrity(kind: "quick" | "full", withinMs?: number): Promise<string[]> {
    const handle = await openConnection(this.#parts.file, this.#parts.key, "reader");
    // Again and again, for one that comes between two statements is lost.
    const timer = withinMs === undefined ? undefined : setInterval(() => handle.interrupt(), withinMs);
    try {
      const bad: string[] = [];
      if (kind === "full") {
        const pages = await handle.all<Record<string, string>>("PRAGMA cipher_integrity_check");
        bad.push(...pages.map((row) => String(Object.values(row)[0])));
      }
      if (bad.length > 0) return bad;
      const pragma = kind === "full" ? "PRAGMA integrity_check" : "PRAGMA quick_check";
      const found = await handle.all<Record<string, string>>(pragma);
      return found.map((row) => String(Object.values(row)[0])).filter((text) => text !== "ok");
    } catch (error) {
      if (error instanceof SqlError && error.errno === INTERRUPT)
        throw new SallyportError("timeout", `The database was not read to its end within ${withinMs} ms.`);
      if (failureOf(error) === "statement") throw toSallyportError(error);
      return [(error as Error).message];
    } finally {
      clearInterval(timer);
      await handle.close().catch(() => undefined);
    }
  }

  finish(): Promise<void> {
    return this.#writer.finish();
  }

  async close(): Promise<void> {
    await this.finish();
    // The last connection folds the -wal into the file, and one that only reads could not.
    await this.#reader.close();
    await this.#writer.close();
    this.#parts.key.wipe();
  }
}

/** The reading connection; after a bad page a new one, so that what is sound can still be read. */
class SturdyReader implements Reader {
  #handle: Promise<Handle> | undefined;
  #closed = false;
  readonly #open: () => Promise<Handle>;

  constructor(handle: Handle, open: () => Promise<Handle>) {
    this.#handle = Promise.resolve(handle);
    this.#open = open;
  }

  async get<T>(sql: string, params?: readonly Value[]): Promise<T | undefined> {
    return (await this.all<T>(sql, params))[0];
  }

  async all<T>(sql: string, params?: readonly Value[]): Promise<T[]> {
    if (this.#closed) throw new SallyportError("sealed");
    this.#handle ??= this.#open();
    const current = this.#handle;
    try {
      return await (await current).all<T>(sql, params);
    } catch (error) {
      if (failureOf(error) !== "statement" || error instanceof SallyportError) await this.#drop(current);
      throw readError(error);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#handle) await this.#drop(this.#handle);
  }

  async #drop(used: Promise<Handle>): Promise<void> {
    if (this.#handle === used) this.#handle = undefined;
    await used.then(
      (handle) => handle.close(),
      () => undefined,
    );
  }
}

function readError(error: unknown): SallyportError {
  const seen = toSallyportError(error);
  if (seen.code !== "log_unwritable") return seen;
  const detail = `Reading failed (${(seen.cause as Error).message}): check the disk, then start sallyport again.`;
  return new SallyportError("database_damaged", detail, { cause: error });
}
