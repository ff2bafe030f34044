import { randomBytes } from "node:crypto";
import { canonicalJson } from "../core/canonical.ts";
import { SallyportError } from "../core/errors.ts";
import { CATALOGUE, type DataOf, type EventRow, type EventType, isEventType } from "./catalogue.ts";
import {
  ENTRY_BYTES,
  type HostAccount,
  type LogEntry,
  type LoggedActor,
  type Outcome,
  type Scalar,
} from "./entry.ts";
import { type Hash, leafHash } from "./merkle.ts";

export { type HostAccount, type LogEntry, type Outcome, parseEntry } from "./entry.ts";

/**
 * Who did it. A user's name is for the caller's convenience; only the id goes into the log. `account`: of the host, for what a
 * user did there: `loginUid` tells who logged in where `uid` is a shared account's or root's.
 */
export type Actor =
  | { kind: "user"; id: string; name: string; account?: HostAccount }
  | { kind: "slack"; enterprise: string | null; team: string; user: string }
  | { kind: "host"; uid: number; loginUid: number | null }
  | { kind: "system" };

type Common = {
  outcome: Outcome;
  actor: Actor;
  run?: string | undefined;
  /** "name" with `namespace`, or "namespace/name". */
  op?: string | undefined;
  namespace?: string | undefined;
  reason?: string | undefined;
  policy?: string | undefined;
};

/** What callers hand to the log: the type decides which data it may carry. */
export type AuditEvent = {
  [T in EventType]: Common & { type: T; data?: DataOf<T> | undefined };
}[EventType];

/** Columns beside the bytes, for queries; all of them can be derived from the bytes. `time` is ms since the epoch. */
export type EntryRow = {
  time: number;
  type: EventType;
  outcome: Outcome;
  actor: string;
  namespace: string | null;
  op: string | null;
  run: string | null;
};
export type Entry = { bytes: Buffer; leaf: Hash; row: EntryRow };

const REASON_CHARS = 1000;
/** Tried in turn: an entry that is too large loses the ends of its texts. It must never be what stops an action. */
const TEXT_CHARS = [2000, 500, 100];
const NONCE_BYTES = 16;

/** "user:ID", "slack:ENTERPRISE/TEAM/USER" (- for none), "host:UID", "system". */
export function actorKey(actor: Actor | LoggedActor): string {
  switch (actor.kind) {
    case "user":
      return `user:${actor.id}`;
    case "slack":
      return `slack:${actor.enterprise ?? "-"}/${actor.team}/${actor.user}`;
    case "host":
      return `host:${actor.uid}`;
    case "system":
      return "system";
  }
}

const refuse = (what: string): SallyportError => new SallyportError("internal", `Log entry: ${what}.`);

/** Text from outside may be long or hold lone surrogates, which have no canonical form; the log takes it all the same. */
function clip(text: string, limit: number): string {
  const cut = text.length <= limit ? text : `${text.slice(0, limit - 1)}\u2026`;
  return cut.toWellFormed();
}

function loggedActor(actor: Actor): LoggedActor {
  switch (actor.kind) {
    case "user":
      return { kind: "user", id: actor.id, ...actor.account };
    case "slack":
      return { kind: "slack", enterprise: actor.enterprise, team: actor.team, user: actor.user };
    case "host":
      return { kind: "host", uid: actor.uid, loginUid: actor.loginUid };
    case "system":
      return { kind: "system" };
  }
}

function loggedData(event: AuditEvent, limit: number): Record<string, Scalar> | undefined {
  const { fields } = CATALOGUE[event.type] as EventRow;
  const data: Record<string, Scalar> = {};
  for (const [name, value] of Object.entries(event.data ?? {}) as [string, Scalar | undefined][]) {
    const kind = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (kind === undefined) throw refuse(`${event.type} has no field ${name}`);
    if (value === undefined || value === null) continue;
    if (typeof value !== kind) throw refuse(`${event.type}.${name} is not a ${kind}`);
    data[name] = typeof value === "string" ? clip(value, limit) : value;
  }
  return Object.keys(data).length === 0 ? undefined : data;
}

function place(event: AuditEvent, limit: number): { namespace?: string; op?: string } {
  const slash = event.op?.indexOf("/") ?? -1;
  const namespace = event.namespace ?? (slash > 0 ? event.op?.slice(0, slash) : undefined);
  const op = event.op?.slice(slash + 1);
  return {
    ...(namespace === undefined ? {} : { namespace: clip(namespace, limit) }),
    ...(op === undefined ? {} : { op: clip(op, limit) }),
  };
}

/**
 * The entry of an event: canonical JSON (RFC 8785) of at most 32 KiB and its leaf hash. The nonce keeps a short entry
 * from being guessed from its hash, which is public. Throws `internal` for a type or field that the catalogue lacks.
 */
export function makeEntry(event: AuditEvent, options: { now?: Date; nonce?: Uint8Array } = {}): Entry {
  if (!isEventType(event.type)) throw refuse(`no event type ${String((event as { type: unknown }).type)}`);
  const now = options.now ?? new Date();
  const nonce = Buffer.from(options.nonce ?? randomBytes(NONCE_BYTES)).toString("base64");
  for (const limit of TEXT_CHARS) {
    const entry = toEntry(event, now, nonce, limit);
    const bytes = Buffer.from(canonicalJson(entry), "utf8");
    if (bytes.length > ENTRY_BYTES) continue;
    const { type, outcome, namespace = null, op = null, run = null } = entry;
    const row = {
      time: now.getTime(),
      type: type as EventType,
      outcome,
      actor: actorKey(event.actor),
      namespace,
      op,
      run,
    };
    return { bytes, leaf: leafHash(bytes), row };
  }
  throw refuse(`${event.type} is larger than ${ENTRY_BYTES} bytes`);
}

function toEntry(event: AuditEvent, now: Date, nonce: string, limit: number): LogEntry {
  const data = loggedData(event, limit);
  return {
    v: 1,
    time: now.toISOString(),
    nonce,
    type: event.type,
    outcome: event.outcome,
    severity: CATALOGUE[event.type].severity,
    actor: loggedActor(event.actor),
    ...place(event, limit),
    ...(event.run === undefined ? {} : { run: event.run }),
    ...(event.reason === undefined ? {} : { reason: clip(event.reason, Math.min(limit, REASON_CHARS)) }),
    ...(event.policy === undefined ? {} : { policy: clip(event.policy, limit) }),
    ...(data === undefined ? {} : { data }),
  };
}
