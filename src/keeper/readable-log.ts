import type { LogFilter, LogRow } from "../store/log-query.ts";
import { listNamespaces } from "../store/namespaces.ts";
import type { Reader } from "../store/tx.ts";
import type { Access } from "./access.ts";
import type { Caller } from "./callers.ts";
import { readableOps } from "./find-op.ts";

/** Of one namespace: every entry, or those of some of its Ops and, for its admin, those that name no Op. */
export type Readable = { namespace: string; own: boolean; ops: "all" | readonly string[] };

/**
 * What of the log somebody may read where they ask: that of each Op that they may run, and of a namespace that they administer
 * all. Decided by the policies, Op by Op; `only` narrows before anything is decided.
 */
export async function readableLog(
  access: Access,
  reader: Reader,
  caller: Caller,
  only: { namespace?: string | undefined; op?: string | undefined } = {},
): Promise<Readable[]> {
  const found: Readable[] = [];
  const readable = await readableOps(access, reader, caller);
  for (const { name } of await listNamespaces(reader)) {
    if (only.namespace !== undefined && name !== only.namespace) continue;
    const namespace = await access.namespace(reader, name);
    const own = access.may(caller, "read_log", { kind: "namespace", namespace });
    if (own && caller.channel === null) {
      found.push({ namespace: name, own, ops: "all" });
      continue;
    }
    // In Slack an Op's manifest may keep it out of this channel, whoever asks.
    const ops = readable
      .filter(({ version }) => version.namespace === name && (only.op ?? version.name) === version.name)
      .map(({ version }) => version.name);
    if (own || ops.length > 0) found.push({ namespace: name, own, ops });
  }
  return found;
}

/** How much of the log is looked through before each place is asked for its own: one read of it (store/log-query.ts), twice. */
const PAGE = 1000;
const PAGES = 2;

/** The newest entries of what is readable, newest first: as many as there were if nobody else's stood between them. */
export async function queryReadable(
  query: (filter: LogFilter) => Promise<LogRow[]>,
  readable: readonly Readable[],
  filter: LogFilter & { limit: number },
): Promise<LogRow[]> {
  const isReadable = readableBy(readable);
  const found: LogRow[] = [];
  let before = filter.before;
  // Who may read much of it has a page soon; who may read little has few places.
  for (let page = 0; page < PAGES; page++) {
    const rows = await query({ ...filter, limit: PAGE, ...(before === undefined ? {} : { before }) });
    found.push(...rows.filter(isReadable));
    if (found.length >= filter.limit || rows.length < PAGE) return found.slice(0, filter.limit);
    before = rows.at(-1)?.seq;
  }
  const rest = { ...filter, limit: filter.limit - found.length, ...(before === undefined ? {} : { before }) };
  const rows: LogRow[] = [];
  for (const place of placesOf(readable, filter)) rows.push(...(await query({ ...rest, ...place })));
  return [...found, ...rows.sort((a, b) => b.seq - a.seq).slice(0, rest.limit)];
}

function readableBy(readable: readonly Readable[]): (row: LogRow) => boolean {
  const places = new Map(
    readable.map(({ namespace, own, ops }) => [namespace, { own, ops: ops === "all" ? ops : new Set(ops) }]),
  );
  return ({ namespace, op }) => {
    const place = namespace === null ? undefined : places.get(namespace);
    if (place === undefined) return false;
    return op === null ? place.own : place.ops === "all" || place.ops.has(op);
  };
}

/** Each narrow enough that an index finds its last entries. */
function placesOf(readable: readonly Readable[], { op: wanted }: LogFilter): Partial<LogFilter>[] {
  return readable.flatMap(({ namespace, own, ops }) =>
    ops === "all"
      ? [{ namespace, ...(wanted === undefined ? {} : { op: wanted }) }]
      : [
          ...(own && wanted === undefined ? [{ namespace, op: null }] : []),
          ...ops.map((op) => ({ namespace, op })),
        ],
  );
}
