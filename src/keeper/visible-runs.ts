import { SallyportError } from "../core/errors.ts";
import { listRuns, type RunFilter, type RunRow } from "../store/runs.ts";
import type { Reader } from "../store/tx.ts";
import type { Access, ActiveOp } from "./access.ts";
import type { Caller } from "./callers.ts";
import { readableOp } from "./find-op.ts";
import { readableLog } from "./readable-log.ts";
import type { Runs } from "./runs.ts";

const APPLIANCE = { kind: "appliance" } as const;
/** How many of the newest runs are looked through before each place is asked for its own. */
const LOOKED_THROUGH = 1000;
/** Rows that one page is looked for in, whatever policies leave of them. */
const MAX_LOOKED_AT = 20_000;
const PAGE = 100;

/** Whether somebody may see a run where they ask. */
export async function mayShow(
  access: Access,
  reader: Reader,
  caller: Caller,
  row: RunRow,
  op: ActiveOp | undefined,
): Promise<boolean> {
  if (op !== undefined) return access.may(caller, "show", await access.runResource(reader, row, op));
  // Of an Op that no policy can be asked about any more, for whoever reads all of its namespace.
  const namespace = await access.namespace(reader, row.namespace);
  return access.may(caller, "read_log", { kind: "namespace", namespace });
}

/** Whether what a run printed is theirs to read too: who only approves it sees what it would do, and how it ended. */
export async function mayReadOutput(
  access: Access,
  reader: Reader,
  caller: Caller,
  row: RunRow,
  op: ActiveOp | undefined,
): Promise<boolean> {
  if (op === undefined || row.requester === caller.id) return true;
  return access.may(caller, "read_log", await access.runResource(reader, row, op));
}

/** Throws the same answer for a run that is not there and for one that this person may see nowhere, after the same event. */
export async function demandKnown(
  access: Access,
  caller: Caller,
  action: "show" | "cancel" | "approve",
  id: string,
  resource: Awaited<ReturnType<Access["runResource"]>> | undefined,
): Promise<void> {
  if (resource !== undefined) {
    if (access.may(caller, action, resource)) return;
    // Whoever sees it elsewhere is told why not here.
    const onHost = { ...caller, source: "tty", standing: "host", channel: null } as const;
    if (access.may(onHost, "show", resource)) return;
  }
  await access.demand(caller, "help", APPLIANCE);
  await access.hidden(caller, action, `run ${id.slice(0, 40)}`);
  throw new SallyportError("not_found", `Run ${id}.`);
}

/** One kind of runs that somebody may see some of, read page by page, newest first. */
type Source = { filter: RunFilter; rows: RunRow[]; done: boolean };
type Deps = { access: Access; reader: Reader; runs: Pick<Runs, "waiting"> };

/** The newest runs that somebody may see, before the run `before`: a whole page where there are so many. */
export async function visibleRuns(
  o: Deps,
  caller: Caller,
  page: { limit: number; before?: string | undefined },
): Promise<RunRow[]> {
  const { access, reader } = o;
  const ops = new Map<string, Promise<ActiveOp | undefined>>();
  const isVisible = (row: RunRow) => {
    const key = keyOf(row);
    const op = ops.get(key) ?? readableOp(access, reader, { namespace: row.namespace, name: row.op });
    ops.set(key, op);
    return op.then((active) => mayShow(access, reader, caller, row, active));
  };
  const { filters, waiting, mayBe } = await candidates(o, caller);
  const seen: RunRow[] = [];
  // Who may see many of them has a page soon; who may see few has few places.
  let before = page.before;
  for (let looked = 0; looked < LOOKED_THROUGH; looked += PAGE) {
    const rows = await listRuns(reader, { ...(before === undefined ? {} : { before }), limit: PAGE });
    for (const row of rows) {
      if (mayBe(row) && (await isVisible(row))) seen.push(row);
      if (seen.length === page.limit) return seen;
    }
    if (rows.length < PAGE) return seen;
    before = rows.at(-1)?.id;
  }
  const from = before;
  const sources: Source[] = [
    ...filters.map((filter) => ({
      filter: { ...filter, ...(from === undefined ? {} : { before: from }) },
      rows: [],
      done: false,
    })),
    { filter: {}, rows: waiting.filter(({ id }) => from === undefined || id < from), done: true },
  ];
  let looked = 0;
  for await (const row of merged(reader, sources)) {
    if (await isVisible(row)) seen.push(row);
    if (seen.length === page.limit || ++looked === MAX_LOOKED_AT) break;
  }
  return seen;
}

/** What may be visible, by the Op, who asked for it or who has to approve it; whether it is the policies say. */
async function candidates(
  { access, reader, runs }: Deps,
  caller: Caller,
): Promise<{ filters: RunFilter[]; waiting: RunRow[]; mayBe: (row: RunRow) => boolean }> {
  if (access.may(caller, "read_log", APPLIANCE)) return { filters: [{}], waiting: [], mayBe: () => true };
  const readable = await readableLog(access, reader, caller);
  const filters: RunFilter[] = [
    { requester: caller.id },
    ...readable.flatMap(({ namespace, ops }) =>
      ops === "all" ? [{ namespace }] : ops.map((op) => ({ namespace, op })),
    ),
  ];
  const whole = new Set(readable.flatMap(({ namespace, ops }) => (ops === "all" ? [namespace] : [])));
  const some = new Set(
    readable.flatMap(({ namespace, ops }) =>
      ops === "all" ? [] : ops.map((op) => keyOf({ namespace, op })),
    ),
  );
  // What waits may wait for this person, who need not be able to run it.
  const waiting = runs
    .waiting()
    .map(({ view }) => view.row)
    .sort((a, b) => (a.id < b.id ? 1 : -1));
  const waits = new Set(waiting.map(({ id }) => id));
  const mayBe = (row: RunRow) =>
    row.requester === caller.id || whole.has(row.namespace) || some.has(keyOf(row)) || waits.has(row.id);
  return { filters, waiting, mayBe };
}

const keyOf = ({ namespace, op }: { namespace: string; op: string }): string => `${namespace}/${op}`;

/** Of several sources one sequence, newest first, each run once. */
async function* merged(reader: Reader, sources: readonly Source[]): AsyncGenerator<RunRow> {
  let last = "";
  for (;;) {
    let newest: Source | undefined;
    for (const source of sources) {
      await fill(reader, source);
      if (source.rows[0] !== undefined && (newest === undefined || source.rows[0].id > newest.rows[0]!.id))
        newest = source;
    }
    const row = newest?.rows.shift();
    if (row === undefined) return;
    if (row.id !== last) yield row;
    last = row.id;
  }
}

async function fill(reader: Reader, source: Source): Promise<void> {
  if (source.done || source.rows.length > 0) return;
  source.rows = await listRuns(reader, { ...source.filter, limit: PAGE });
  const last = source.rows.at(-1);
  source.done = source.rows.length < PAGE;
  if (last !== undefined) source.filter = { ...source.filter, before: last.id };
}
