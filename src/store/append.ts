import type { AuditEvent, Entry } from "../audit/event.ts";
import { makeEntry } from "../audit/event.ts";
import type { NodeId, NodeSource } from "../audit/merkle.ts";
import { Frontier } from "../audit/merkle.ts";
import { SallyportError } from "../core/errors.ts";
import type { Handle, Value } from "./handle.ts";
import { BLOCK, CLOSE_BLOCK } from "./log-query.ts";
import type { Reader } from "./tx.ts";

const HASH_BYTES = 32;
const NODES_A_QUERY = 256;

/**
 * Reads stored hashes. A subtree's hash becomes known with its last leaf, so it stands in that entry's row, at the place of
 * its level: an append writes one row in one place and a node is found by arithmetic. A missing one means that rows
 * were taken out of the file.
 */
export function nodeSource(reader: Reader): NodeSource {
  return async (nodes) => {
    const rows = new Map<number, Buffer>();
    const wanted = [...new Set(nodes.map(completedBy))];
    for (let from = 0; from < wanted.length; from += NODES_A_QUERY) {
      const some = JSON.stringify(wanted.slice(from, from + NODES_A_QUERY));
      const sql = "SELECT seq, hashes FROM log_entry WHERE seq IN (SELECT value FROM json_each(?))";
      for (const row of await reader.all<{ seq: number; hashes: Buffer }>(sql, [some])) {
        rows.set(row.seq, row.hashes);
      }
    }
    return nodes.map((node) => {
      const at = node.level * HASH_BYTES;
      const hash = rows.get(completedBy(node))?.subarray(at, at + HASH_BYTES);
      if (hash?.length === HASH_BYTES) return hash;
      const detail = `The tree's hash at level ${node.level}, number ${node.index}, is missing from the database.`;
      throw new SallyportError("log_damaged", detail);
    });
  };
}

function completedBy({ level, index }: NodeId): number {
  return (index + 1) * 2 ** level - 1;
}

/** The tree as the database has it. */
export async function loadFrontier(reader: Reader): Promise<Frontier> {
  const last = await reader.get<{ seq: number | null }>("SELECT max(seq) AS seq FROM log_entry");
  return Frontier.load((last?.seq ?? -1) + 1, nodeSource(reader));
}

const ENTRY_COLUMNS = "seq, time, type, outcome, actor, namespace, op, run, hashes, entry";
/** Rows an INSERT, above the last few: few calls, and few different statements to keep. */
const ROWS = [64, 16];

const GROUP = `(${ENTRY_COLUMNS.replaceAll(/[a-z]+/g, "?")})`;

type Row = readonly Value[];

/** What one transaction adds to the log: kept here until just before COMMIT, so that a batch costs a few statements. */
export class Append {
  #frontier: Frontier;
  readonly from: number;
  readonly #entries: Row[] = [];

  constructor(frontier: Frontier) {
    this.#frontier = frontier.clone();
    this.from = frontier.size;
  }

  get frontier(): Frontier {
    return this.#frontier;
  }

  add(event: AuditEvent, now: number): number {
    const entry: Entry = makeEntry(event, { now: new Date(now) });
    const seq = this.#frontier.size;
    const nodes = this.#frontier.append(entry.leaf);
    const hashes = Buffer.concat([...nodes].sort((a, b) => a.level - b.level).map((node) => node.hash));
    const { time, type, outcome, actor, namespace, op, run } = entry.row;
    this.#entries.push([seq, time, type, outcome, actor, namespace, op, run, hashes, entry.bytes]);
    return seq;
  }

  /** Returns what takes the log back to this point, for a savepoint. */
  mark(): () => void {
    const frontier = this.#frontier.clone();
    const entries = this.#entries.length;
    return () => {
      this.#frontier = frontier;
      this.#entries.length = entries;
    };
  }

  get empty(): boolean {
    return this.#entries.length === 0;
  }

  /** Whether `write` is a single statement, which needs no transaction around it. */
  get atOnce(): boolean {
    const count = this.#entries.length;
    return (count < 16 || ROWS.includes(count)) && this.#closedBlocks().length === 0;
  }

  async write(handle: Handle): Promise<void> {
    let at = 0;
    while (at < this.#entries.length) {
      const left = this.#entries.length - at;
      const count = ROWS.find((size) => size <= left) ?? left;
      const some = this.#entries.slice(at, at + count);
      await handle.run(
        `INSERT INTO log_entry (${ENTRY_COLUMNS}) VALUES ${GROUP}${`, ${GROUP}`.repeat(count - 1)}`,
        some.flat(),
      );
      at += count;
    }
    for (const n of this.#closedBlocks()) await handle.run(CLOSE_BLOCK, [n, n * BLOCK, (n + 1) * BLOCK]);
  }

  #closedBlocks(): number[] {
    const first = Math.floor(this.from / BLOCK);
    const count = Math.floor(this.#frontier.size / BLOCK) - first;
    return Array.from({ length: count }, (_, i) => first + i);
  }
}
