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

/** The newest entries of what is readable, newest first: as many as there were if nobody else's stood between them. */
export async function queryReadable(
  query: (filter: LogFilter) => Promise<LogRow[]>,
  readable: readonly Readable[],
  filter: LogFilter & { limit: number },
): Promise<LogRow[]> {
  const rows: LogRow[] = [];
  for (const { namespace, own, ops } of readable) {
    const places: Partial<LogFilter>[] =
      ops === "all"
        ? [{ namespace, ...(filter.op === undefined ? {} : { op: filter.op }) }]
        : [
            ...(own && filter.op === undefined ? [{ namespace, op: null }] : []),
            ...ops.map((op) => ({ namespace, op })),
          ];
    for (const place of places) rows.push(...(await query({ ...filter, ...place })));
  }
  return rows.sort((a, b) => b.seq - a.seq).slice(0, filter.limit);
}
