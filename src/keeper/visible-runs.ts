import { SallyportError } from "../core/errors.ts";
import { listRuns, type RunFilter, type RunRow } from "../store/runs.ts";
import type { Reader } from "../store/tx.ts";
import type { Access, ActiveOp } from "./access.ts";
import type { Caller } from "./callers.ts";
import { readableOp } from "./find-op.ts";
import { readableLog } from "./readable-log.ts";
import type { Runs } from "./runs.ts";

const APPLIANCE = { kind: "appliance" } as const;
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

/** The newest runs that somebody may see, before the run `before`: a whole page where there are so many. */
export async function visibleRuns(
  o: { access: Access; reader: Reader; runs: Pick<Runs, "waiting"> },
  caller: Caller,
  page: { limit: number; before?: string | undefined },
): Promise<RunRow[]> {
  const { access, reader } = o;
  const before = page.before === undefined ? {} : { before: page.before };
  const ops = new Map<string, Promise<ActiveOp | undefined>>();
  const opOf = ({ namespace, op: name }: RunRow) => {
    const key = `${namespace}/${name}`;
    const known = ops.get(key) ?? readableOp(access, reader, { namespace, name });
    ops.set(key, known);
    return known;
  };
  const seesAll = access.may(caller, "read_log", APPLIANCE);
  const filters: RunFilter[] = seesAll
    ? [{}]
    : [
        { requester: caller.id },
        ...(await readableLog(access, reader, caller)).flatMap(({ namespace, ops: names }) =>
          names === "all" ? [{ namespace }] : names.map((op) => ({ namespace, op })),
        ),
      ];
  const sources: Source[] = filters.map((filter) => ({
    filter: { ...filter, ...before },
    rows: [],
    done: false,
  }));
  // What waits may wait for this person, who need not be able to run it.
  const waiting = o.runs
    .waiting()
    .map(({ view }) => view.row)
    .filter(({ id }) => page.before === undefined || id < page.before)
    .sort((a, b) => (a.id < b.id ? 1 : -1));
  if (!seesAll) sources.push({ filter: {}, rows: waiting, done: true });
  const size = Math.min(PAGE, page.limit);
  const seen: RunRow[] = [];
  let last = "";
  for (let looked = 0; seen.length < page.limit && looked < MAX_LOOKED_AT; looked++) {
    let newest: Source | undefined;
    for (const source of sources) {
      await fill(reader, source, size);
      if (source.rows[0] !== undefined && (newest === undefined || source.rows[0].id > newest.rows[0]!.id))
        newest = source;
    }
    const row = newest?.rows.shift();
    if (row === undefined) break;
    if (row.id === last) continue;
    last = row.id;
    if (await mayShow(access, reader, caller, row, await opOf(row))) seen.push(row);
  }
  return seen;
}

async function fill(reader: Reader, source: Source, size: number): Promise<void> {
  if (source.done || source.rows.length > 0) return;
  source.rows = await listRuns(reader, { ...source.filter, limit: size });
  const last = source.rows.at(-1);
  source.done = source.rows.length < size;
  if (last !== undefined) source.filter = { ...source.filter, before: last.id };
}
