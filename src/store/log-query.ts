import { SallyportError } from "../core/errors.ts";
import type { Value } from "./handle.ts";
import type { Reader } from "./tx.ts";

/** Times are ms since the epoch, `since` inclusive and `until` exclusive; `after` and `before` are leaf indexes, exclusive. */
export interface LogFilter {
  /** As audit/event writes it: "user:ID", "slack:ENTERPRISE/TEAM/USER", "host:UID", "system". */
  actor?: string;
  namespace?: string;
  /** "name" or "namespace/name"; null: entries that name none. */
  op?: string | null;
  run?: string;
  type?: string;
  outcome?: "success" | "failure" | "unknown" | "denied";
  since?: number;
  until?: number;
  after?: number;
  before?: number;
  order?: "asc" | "desc";
  /** 1 to 1000, by default 50. */
  limit?: number;
}

export interface LogRow {
  seq: number;
  time: number;
  type: string;
  outcome: string;
  actor: string;
  namespace: string | null;
  op: string | null;
  run: string | null;
  entry: Buffer;
}

const MAX_ROWS = 1000;

/** Entries a row of log_block speaks for. */
export const BLOCK = 256;

/** Written with the entry that completes a block: the earliest and latest time in it. */
export const CLOSE_BLOCK = `INSERT INTO log_block (n, low, high)
  SELECT ?, min(time), max(time) FROM log_entry WHERE seq >= ? AND seq < ?`;

export async function queryLog(reader: Reader, filter: LogFilter): Promise<LogRow[]> {
  const limit = filter.limit ?? 50;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ROWS) {
    throw new SallyportError("input_invalid", `A page of the log has 1 to ${MAX_ROWS} entries.`);
  }
  const terms: string[] = [];
  const params: Value[] = [];
  equalities(filter, terms, params);
  await timeBounds(reader, filter, terms, params);
  const order = filter.order === "asc" ? "ASC" : "DESC";
  return reader.all<LogRow>(
    `SELECT seq, time, type, outcome, actor, namespace, op, run, entry FROM log_entry
     WHERE ${["true", ...terms].join(" AND ")} ORDER BY seq ${order} LIMIT ${limit}`,
    params,
  );
}

/**
 * One column is searched by its index, the others are compared on the rows found: left to itself the planner, which has
 * no statistics here, may read a whole type for one person's last entries. A leading + takes a term out of its choice.
 */
function equalities(filter: LogFilter, terms: string[], params: Value[]): void {
  let searched = false;
  if (filter.op === null) terms.push("+op IS NULL");
  const equal = (column: string, value: string | undefined, indexed = true) => {
    if (value === undefined) return;
    terms.push(`${searched || !indexed ? "+" : ""}${column} = ?`);
    searched ||= indexed;
    params.push(value);
  };
  equal("run", filter.run);
  equal("actor", filter.actor);
  const slash = filter.op?.indexOf("/") ?? -1;
  const namespace = filter.namespace ?? (slash > 0 ? filter.op?.slice(0, slash) : undefined);
  equal("op", filter.op?.slice(slash + 1));
  equal("namespace", namespace);
  if (filter.outcome !== undefined && filter.outcome !== "success" && !searched) {
    // Said in the index's own words, or the planner can't know that the partial index holds these rows.
    terms.push("outcome <> 'success'");
    equal("outcome", filter.outcome);
  } else {
    equal("outcome", filter.outcome, false);
  }
  equal("type", filter.type);
}

/**
 * Times mostly grow with the index, but a clock can be set back, so neither order can stand for the other. The blocks'
 * ranges say which part of the log can hold the wanted times; there each entry's own time is compared.
 */
async function timeBounds(
  reader: Reader,
  filter: LogFilter,
  terms: string[],
  params: Value[],
): Promise<void> {
  let from = (filter.after ?? -1) + 1;
  let to = filter.before ?? Number.MAX_SAFE_INTEGER;
  if (filter.since !== undefined || filter.until !== undefined) {
    const open = await reader.get<{ n: number }>("SELECT coalesce(max(n) + 1, 0) AS n FROM log_block");
    const openFrom = (open?.n ?? 0) * BLOCK;
    if (filter.since !== undefined) {
      const sql = "SELECT n FROM log_block WHERE high >= ? ORDER BY n LIMIT 1";
      const first = await reader.get<{ n: number }>(sql, [filter.since]);
      from = Math.max(from, first ? first.n * BLOCK : openFrom);
      terms.push("+time >= ?");
      params.push(filter.since);
    }
    if (filter.until !== undefined) {
      const inOpen = "SELECT seq FROM log_entry WHERE seq >= ? AND +time < ? LIMIT 1";
      if (!(await reader.get(inOpen, [openFrom, filter.until]))) {
        const sql = "SELECT n FROM log_block WHERE low < ? ORDER BY n DESC LIMIT 1";
        const last = await reader.get<{ n: number }>(sql, [filter.until]);
        to = Math.min(to, last ? (last.n + 1) * BLOCK : 0);
      }
      terms.push("+time < ?");
      params.push(filter.until);
    }
  }
  if (from > 0) {
    terms.push("seq >= ?");
    params.push(from);
  }
  if (to < Number.MAX_SAFE_INTEGER) {
    terms.push("seq < ?");
    params.push(to);
  }
}
