import type { Frontier, Hash, NodeSource } from "../audit/merkle.ts";
import { EMPTY_ROOT, proveConsistency, proveInclusion, rootAt } from "../audit/merkle.ts";
import { SallyportError } from "../core/errors.ts";
import { nodeSource } from "./append.ts";
import type { LogFilter, LogRow } from "./log-query.ts";
import { queryLog } from "./log-query.ts";
import type { Reader } from "./tx.ts";

/** Reads of the audit log as it was committed. Sizes and indexes beyond it are refused with `not_found`. */
export interface Log {
  size(): number;
  root(): Hash;
  rootAt(size: number): Promise<Hash>;
  /** The canonical bytes that were hashed. */
  entry(index: number): Promise<Buffer>;
  /** [from, to), at most 1000. */
  entries(from: number, to: number): Promise<Buffer[]>;
  query(filter: LogFilter): Promise<LogRow[]>;
  /** RFC 6962, 2.1.1 and 2.1.2. */
  inclusion(index: number, size: number): Promise<Hash[]>;
  consistency(from: number, to: number): Promise<Hash[]>;
  /** Hashes of complete subtrees, for tiles. */
  readonly nodes: NodeSource;
  /** Called after each COMMIT that added [from, to), before its callers are answered. Returns what ends it. */
  onAppend(call: (from: number, to: number) => void): () => void;
}

const MAX_ROWS = 1000;

export class StoredLog implements Log {
  readonly #reader: Reader;
  readonly nodes: NodeSource;
  readonly #listeners = new Set<(from: number, to: number) => void>();
  #size: number;
  #root: Hash | undefined;
  #frontier: Frontier;

  constructor(reader: Reader, frontier: Frontier) {
    this.#reader = reader;
    this.nodes = nodeSource(reader);
    this.#frontier = frontier;
    this.#size = frontier.size;
  }

  /** The writer tells of a COMMIT. */
  committed(frontier: Frontier, from: number): void {
    this.#frontier = frontier;
    this.#size = frontier.size;
    this.#root = undefined;
    for (const call of this.#listeners) {
      try {
        call(from, frontier.size);
      } catch (error) {
        // What is committed stays committed: a listener's fault must not look like a failed change.
        process.emitWarning(error instanceof Error ? error : String(error));
      }
    }
  }

  size(): number {
    return this.#size;
  }

  root(): Hash {
    this.#root ??= this.#size === 0 ? EMPTY_ROOT : this.#frontier.root();
    return Buffer.from(this.#root);
  }

  async rootAt(size: number): Promise<Hash> {
    this.#mustHave(size);
    return size === this.#size ? this.root() : rootAt(size, this.nodes);
  }

  async entry(index: number): Promise<Buffer> {
    const sql = "SELECT entry FROM log_entry WHERE seq = ?";
    const row = await this.#reader.get<{ entry: Buffer }>(sql, [index]);
    if (row) return row.entry;
    if (index >= 0 && index < this.#size) throw gap(index);
    throw new SallyportError("not_found", `The log has ${this.#size} entries, none numbered ${index}.`);
  }

  async entries(from: number, to: number): Promise<Buffer[]> {
    this.#mustHave(to);
    if (!(Number.isInteger(from) && from >= 0 && from <= to && to - from <= MAX_ROWS)) {
      throw new SallyportError("input_invalid", `A range holds 0 to ${MAX_ROWS} entries.`);
    }
    const sql = "SELECT seq, entry FROM log_entry WHERE seq >= ? AND seq < ? ORDER BY seq";
    const rows = await this.#reader.all<{ seq: number; entry: Buffer }>(sql, [from, to]);
    for (const [i, row] of rows.entries()) if (row.seq !== from + i) throw gap(from + i);
    if (rows.length !== to - from) throw gap(from + rows.length);
    return rows.map((row) => row.entry);
  }

  query(filter: LogFilter): Promise<LogRow[]> {
    return queryLog(this.#reader, filter);
  }

  async inclusion(index: number, size: number): Promise<Hash[]> {
    this.#mustHave(size);
    return proveInclusion(index, size, this.nodes);
  }

  async consistency(from: number, to: number): Promise<Hash[]> {
    this.#mustHave(to);
    return proveConsistency(from, to, this.nodes);
  }

  onAppend(call: (from: number, to: number) => void): () => void {
    this.#listeners.add(call);
    return () => this.#listeners.delete(call);
  }

  #mustHave(size: number): void {
    if (Number.isInteger(size) && size >= 0 && size <= this.#size) return;
    throw new SallyportError("not_found", `The log has ${this.#size} entries, not ${size}.`);
  }
}

function gap(index: number): SallyportError {
  return new SallyportError(
    "log_damaged",
    `Entry ${index} is missing from the database: keep it as evidence and compare with the last checkpoint.`,
  );
}
