import { parseEntry } from "../audit/event.ts";
import { parseOpRef } from "../core/identity.ts";
import type { LogRow } from "../store/log-query.ts";
import { listUsers } from "../store/users.ts";
import type { LogFilter } from "../wire/ctl.ts";
import type { Document } from "../wire/document.ts";
import type { Caller } from "./callers.ts";
import { say } from "./documents.ts";
import { findOp, visibleOps } from "./find-op.ts";
import type { Session } from "./session.ts";

/** One entry as `audit log --json` prints it: the entry itself, its leaf index, and the actor's name as it is today. */
export type LogLine = { seq: number; name: string | null; entry: ReturnType<typeof parseEntry> };

/** The log for an admin of the appliance, with filters. */
export async function adminLog(session: Session, caller: Caller, filter: LogFilter): Promise<LogLine[]> {
  await session.access.demand(caller, "read_log", { kind: "appliance" });
  const names = await namesById(session);
  const { person, before, outcome, op, ...rest } = filter;
  const actor = person === undefined ? undefined : actorKeyOf(names, person);
  const rows = await session.store.log.query({
    ...(rest as object),
    ...(before === undefined ? {} : { before }),
    ...(op === undefined ? {} : opFilter(op)),
    ...(actor === undefined ? {} : { actor }),
    ...(outcome === undefined ? {} : { outcome: outcome as "success" | "failure" | "unknown" | "denied" }),
    limit: filter.limit ?? 100,
  });
  return rows.reverse().map((row) => line(row, names));
}

const SHOWN = 15;

/** `/ops log [OP]`: the runs of what the person may read the log of, here. */
export async function runLog(session: Session, caller: Caller, rest: string): Promise<Document> {
  const ops =
    rest === ""
      ? await visibleOps(session.access, session.store.read, caller)
      : [await findOp(session.access, session.store.read, caller, rest, "read_log")];
  const readable = ops.filter((op) =>
    session.access.may(caller, "read_log", { kind: "op", op: op.row, namespace: op.namespace }),
  );
  if (rest !== "" && readable.length === 0 && ops[0] !== undefined) {
    await session.access.demand(caller, "read_log", {
      kind: "op",
      op: ops[0].row,
      namespace: ops[0].namespace,
    });
  }
  const names = await namesById(session);
  const rows: LogRow[] = [];
  for (const op of readable.slice(0, 50)) {
    rows.push(
      ...(await session.store.log.query({ op: op.version.name, namespace: op.namespace.name, limit: SHOWN })),
    );
  }
  rows.sort((a, b) => b.seq - a.seq);
  if (rows.length === 0) return say("Nothing is logged here that you may read.");
  const items = rows
    .slice(0, SHOWN)
    .reverse()
    .map((row) => {
      const { entry, name } = line(row, names);
      const state = entry.data?.state;
      return {
        title: `${entry.time} ${row.namespace}/${row.op} ${row.type}${typeof state === "string" ? ` ${state}` : ""}`,
        detail: [row.run, name ?? row.actor, entry.reason]
          .filter((s) => s !== null && s !== undefined)
          .join(" · ")
          .slice(0, 1500),
      };
    });
  return say("The last entries, oldest first:", { kind: "list", items });
}

function line(row: LogRow, names: ReadonlyMap<string, string>): LogLine {
  return { seq: row.seq, name: names.get(row.actor) ?? null, entry: parseEntry(row.entry) };
}

async function namesById(session: Session): Promise<Map<string, string>> {
  const users = await listUsers(session.store.read, { limit: 1000 });
  return new Map(users.map((user) => [`user:${user.id}`, user.name]));
}

function opFilter(typed: string): { op: string; namespace?: string } {
  const { namespace, name } = parseOpRef(typed);
  return namespace === null ? { op: name } : { op: name, namespace };
}

function actorKeyOf(names: ReadonlyMap<string, string>, person: string): string {
  for (const [key, name] of names) if (name === person) return key;
  return person;
}
