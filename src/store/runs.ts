import { SallyportError } from "../core/errors.ts";
import type { RunState } from "../core/run.ts";
import { checkMove, isFinal } from "../core/run.ts";
import type { Value } from "./handle.ts";
import { pageLimit } from "./ids.ts";
import type { Reader, Tx } from "./tx.ts";

export { addOutput, pruneOutput, readOutput } from "./run-output.ts";

/** Times in ms since the epoch. */
export interface RunRow {
  id: string;
  namespace: string;
  op: string;
  version: number;
  digest: string;
  /** Canonical JSON of the typed inputs. */
  args: string;
  /** A user's id. */
  requester: string;
  source: "slack" | "tty" | "schedule";
  channel: string | null;
  thread: string | null;
  /** Unique: one request makes at most one run. */
  requestId: string | null;
  policy: string | null;
  /** Why it went without the approvals that it needed; null: it did not. */
  breakGlass: string | null;
  state: RunState;
  created: number;
  changed: number;
  started: number | null;
  ended: number | null;
  exit: number | null;
  signal: string | null;
  reason: string | null;
  durationMs: number | null;
  /** JSON: what the run used. */
  usage: string | null;
  outputBytes: number;
  truncated: boolean;
}

interface Stored extends Omit<RunRow, "truncated"> {
  truncated: number;
}

const COLUMNS = `id, namespace, op, version, digest, args, requester, source, channel, thread,
  request_id AS requestId, policy, break_glass AS breakGlass, state, created, changed, started, ended, exit, signal, reason,
  duration_ms AS durationMs, usage, output_bytes AS outputBytes, truncated`;

const rowOf = (stored: Stored): RunRow => ({ ...stored, truncated: stored.truncated === 1 });

/** State "requested". `conflict` when the request made a run before. */
export async function createRun(
  tx: Tx,
  made: Pick<RunRow, "id" | "namespace" | "op" | "version" | "digest" | "args" | "requester" | "source"> & {
    channel?: string | null;
    thread?: string | null;
    requestId?: string | null;
    policy?: string | null;
    breakGlass?: string | null;
  },
): Promise<RunRow> {
  await tx.run(
    `INSERT INTO runs (id, namespace, op, version, digest, args, requester, source, channel, thread, request_id,
       policy, state, created, changed, break_glass)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 'requested', ?13, ?13, ?14)`,
    [
      made.id,
      made.namespace,
      made.op,
      made.version,
      made.digest,
      made.args,
      made.requester,
      made.source,
      made.channel ?? null,
      made.thread ?? null,
      made.requestId ?? null,
      made.policy ?? null,
      tx.now,
      made.breakGlass ?? null,
    ],
  );
  return (await getRun(tx, made.id)) as RunRow;
}

type Settable = Pick<
  RunRow,
  "reason" | "exit" | "signal" | "durationMs" | "usage" | "policy" | "thread" | "truncated"
>;

const SETTABLE: Record<keyof Settable, string> = {
  reason: "reason",
  exit: "exit",
  signal: "signal",
  durationMs: "duration_ms",
  usage: "usage",
  policy: "policy",
  thread: "thread",
  truncated: "truncated",
};

/**
 * The only way a run changes its state (core/run has the allowed moves). `conflict` when it is in none of `from`, so
 * that of two that would move it one wins. The caller logs the move in the same mutation.
 */
export async function moveRun(
  tx: Tx,
  id: string,
  move: { from: RunState | readonly RunState[]; to: RunState; set?: Partial<Settable> },
): Promise<RunRow> {
  const from = typeof move.from === "string" ? [move.from] : move.from;
  for (const state of from) checkMove(state, move.to);
  const sets = ["state = ?", "changed = ?"];
  const params: Value[] = [move.to, tx.now];
  if (move.to === "running") {
    sets.push("started = ?");
    params.push(tx.now);
  }
  if (isFinal(move.to)) {
    sets.push("ended = ?");
    params.push(tx.now);
  }
  for (const [name, column] of Object.entries(SETTABLE)) {
    const value = move.set?.[name as keyof Settable];
    if (value === undefined) continue;
    sets.push(`${column} = ?`);
    params.push(typeof value === "string" && name === "reason" ? value.slice(0, 2000) : value);
  }
  const states = from.map(() => "?").join(", ");
  const sql = `UPDATE runs SET ${sets.join(", ")} WHERE id = ? AND state IN (${states})`;
  if ((await tx.run(sql, [...params, id, ...from])) === 1) return (await getRun(tx, id)) as RunRow;
  const found = await getRun(tx, id);
  if (!found) throw new SallyportError("not_found", `There is no run ${id}.`);
  throw new SallyportError("conflict", `Run ${id} is ${found.state}, not ${from.join(" or ")}.`);
}

export async function getRun(reader: Reader, id: string): Promise<RunRow | undefined> {
  const stored = await reader.get<Stored>(`SELECT ${COLUMNS} FROM runs WHERE id = ?`, [id]);
  return stored && rowOf(stored);
}

export interface RunFilter {
  requester?: string;
  namespace?: string;
  op?: string;
  channel?: string;
  states?: readonly RunState[];
  /** A run's id: only older ones. */
  before?: string;
  /** 1 to 1000, by default 20. */
  limit?: number;
}

/** Newest first: a run's id sorts by its time. */
export async function listRuns(reader: Reader, filter: RunFilter = {}): Promise<RunRow[]> {
  const terms = ["true"];
  const params: Value[] = [];
  for (const column of ["requester", "namespace", "op", "channel"] as const) {
    const value = filter[column];
    if (value === undefined) continue;
    terms.push(`${column} = ?`);
    params.push(value);
  }
  if (filter.states) {
    terms.push(`state IN (${filter.states.map(() => "?").join(", ")})`);
    params.push(...filter.states);
  }
  if (filter.before !== undefined) {
    terms.push("id < ?");
    params.push(filter.before);
  }
  const sql = `SELECT ${COLUMNS} FROM runs WHERE ${terms.join(" AND ")} ORDER BY id DESC LIMIT ?`;
  return (await reader.all<Stored>(sql, [...params, pageLimit(filter.limit, 20)])).map(rowOf);
}

const UNFINISHED = "state IN ('requested', 'waiting', 'queued', 'running')";

/** All that are not over, oldest first: what a start finds after a crash. */
export async function liveRuns(reader: Reader): Promise<RunRow[]> {
  const sql = `SELECT ${COLUMNS} FROM runs WHERE ${UNFINISHED} ORDER BY id LIMIT 10000`;
  return (await reader.all<Stored>(sql)).map(rowOf);
}
