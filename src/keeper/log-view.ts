import { parseEntry } from "../audit/event.ts";
import { SallyportError } from "../core/errors.ts";
import { isName, parseOpRef } from "../core/identity.ts";
import type { LogRow, LogFilter as StoredFilter } from "../store/log-query.ts";
import type { Reader } from "../store/tx.ts";
import { getUser, userByName } from "../store/users.ts";
import type { LogFilter } from "../wire/ctl.ts";
import type { Document } from "../wire/document.ts";
import type { Caller } from "./callers.ts";
import { say } from "./documents.ts";
import { findOp } from "./find-op.ts";
import { queryReadable, readableLog } from "./readable-log.ts";
import type { Session } from "./session.ts";

/** One entry as `audit log --json` prints it: the entry itself, its leaf index, and the actor's name as it is today. */
export type LogLine = { seq: number; name: string | null; entry: ReturnType<typeof parseEntry> };

const APPLIANCE = { kind: "appliance" } as const;

/**
 * What this person may read of the log, with filters, oldest first: all of it for an admin of the appliance. Throws `denied` where
 * that is nothing, and for an admin `not_found` for a person or namespace that is not there.
 */
export async function readLog(session: Session, caller: Caller, filter: LogFilter): Promise<LogLine[]> {
  const { access, store } = session;
  const { person, op: typed, namespace: inNamespace, ...rest } = filter;
  const op = typed === undefined ? undefined : parseOpRef(typed);
  const namespace = op?.namespace ?? inNamespace;
  const readsAll = access.may(caller, "read_log", APPLIANCE);
  if (readsAll && namespace !== undefined) await access.namespace(store.read, namespace);
  const actor = person === undefined ? undefined : await actorOf(store.read, person, readsAll);
  const wanted: StoredFilter & { limit: number } = {
    ...(rest as StoredFilter),
    ...(op === undefined ? {} : { op: op.name }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(actor === undefined ? {} : { actor }),
    limit: filter.limit ?? 100,
  };
  const query = (one: StoredFilter) => store.log.query(one);
  if (readsAll) return lines(store.read, (await query(wanted)).reverse());
  const readable = await readableLog(access, store.read, caller, { namespace, op: op?.name });
  if (readable.length === 0) await refuse(session, caller, op, namespace);
  return lines(store.read, (await queryReadable(query, readable, wanted)).reverse());
}

/** The same refusal and the same event for what is not there and for what this person may not read. */
async function refuse(
  { access }: Session,
  caller: Caller,
  op: { namespace: string | null; name: string } | undefined,
  namespace: string | undefined,
): Promise<never> {
  if (op !== undefined && op.namespace !== null) {
    const row = {
      name: `${op.namespace}/${op.name}`,
      channels: null,
      confirm: "none",
      disabled: false,
    } as const;
    const resource = { kind: "op", op: row, namespace: { name: op.namespace, channels: "any" } } as const;
    await access.demand(caller, "read_log", resource);
  } else if (namespace !== undefined) {
    await access.demand(caller, "read_log", {
      kind: "namespace",
      namespace: { name: namespace, channels: "any" },
    });
  }
  await access.demand(caller, "read_log", APPLIANCE);
  throw new SallyportError("not_found", "There is nothing in the log that you may read.");
}

const SHOWN = 15;

/**
 * `/ops log [OP]`: what this person may read here. What belongs to no namespace (people, unlocks, roles) is read on the host.
 */
export async function runLog(session: Session, caller: Caller, rest: string): Promise<Document> {
  const { access, store } = session;
  let only: { namespace?: string; op?: string } = {};
  if (rest !== "") {
    const op = await findOp(access, store.read, caller, rest, "read_log");
    await access.demand(caller, "read_log", { kind: "op", op: op.row, namespace: op.namespace });
    only = { namespace: op.namespace.name, op: op.version.name };
  }
  const readable = await readableLog(access, store.read, caller, only);
  const filter = { limit: SHOWN, ...only };
  const rows = await queryReadable((one) => store.log.query(one), readable, filter);
  if (rows.length === 0) return say("Nothing is logged here that you may read.");
  const shown = await lines(store.read, rows.reverse());
  const items = shown.map(({ entry, name }, i) => {
    const state = entry.data?.state;
    const what = entry.op === undefined ? entry.namespace : `${entry.namespace}/${entry.op}`;
    return {
      title: `${entry.time} ${what} ${entry.type}${typeof state === "string" ? ` ${state}` : ""}`,
      detail: [entry.run, name ?? rows[i]?.actor, entry.reason]
        .filter((s) => s !== null && s !== undefined)
        .join(" · ")
        .slice(0, 1500),
    };
  });
  return say("The last entries, oldest first:", { kind: "list", items });
}

async function lines(reader: Reader, rows: readonly LogRow[]): Promise<LogLine[]> {
  const names = new Map<string, string | null>();
  for (const { actor } of rows) {
    if (!actor.startsWith("user:") || names.has(actor)) continue;
    names.set(actor, (await getUser(reader, actor.slice("user:".length)))?.name ?? null);
  }
  return rows.map((row) => ({
    seq: row.seq,
    name: names.get(row.actor) ?? null,
    entry: parseEntry(row.entry),
  }));
}

/** By name, or as the log names who is no user: "slack:-/TEAM/USER", "host:UID". Only who reads all hears that there is no such person. */
async function actorOf(reader: Reader, person: string, readsAll: boolean): Promise<string> {
  const user = isName("user", person) ? await userByName(reader, person) : undefined;
  if (user !== undefined) return `user:${user.id}`;
  if (readsAll && !person.includes(":") && person !== "system")
    throw new SallyportError("not_found", `User ${person}.`);
  return person;
}
