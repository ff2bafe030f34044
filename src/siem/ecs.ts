import { VERSION } from "../host/self.ts";

/** The parts of a log entry that a SIEM line is made of (src/audit/entry.ts has the whole). */
export type Logged = {
  time: string;
  type: string;
  outcome: string;
  severity: number;
  actor: Record<string, unknown>;
  run?: string;
  op?: string;
  namespace?: string;
  reason?: string;
  policy?: string;
  data?: Record<string, unknown>;
};

const ECS_VERSION = "8.17.0";

/** Event category and type by the first word of our event's name (ECS field reference, event.category and event.type). */
const KINDS: Readonly<Record<string, readonly [category: string, type: string]>> = {
  appliance: ["configuration", "change"],
  authn: ["authentication", "start"],
  authz: ["api", "denied"],
  link: ["iam", "change"],
  user: ["iam", "user"],
  group: ["iam", "group"],
  role: ["process", "change"],
  namespace: ["configuration", "change"],
  network: ["network", "connection"],
  op: ["configuration", "change"],
  policy: ["configuration", "change"],
  run: ["process", "info"],
  sandbox: ["intrusion_detection", "denied"],
  secret: ["database", "access"],
  slack: ["session", "info"],
  wire: ["intrusion_detection", "denied"],
};

/**
 * One log entry as one ECS JSON line with its newline, no arrays of objects, under journald's line limit. `hash` is the entry's
 * leaf in the log's tree (RFC 6962), so that a line can be held against a checkpoint.
 */
export function entryLine(entry: Uint8Array, sequence: number, hash: Uint8Array): string {
  const e = JSON.parse(Buffer.from(entry).toString("utf8")) as Logged;
  const [category, type] = KINDS[e.type.split(".")[0] ?? ""] ?? ["host", "info"];
  const userId = userIdOf(e.actor);
  return `${JSON.stringify({
    "@timestamp": e.time,
    "ecs.version": ECS_VERSION,
    event: {
      kind: e.outcome === "denied" ? "alert" : "event",
      action: e.type,
      category: [category],
      type: [type],
      outcome: e.outcome === "denied" ? "failure" : e.outcome,
      severity: e.severity,
      id: String(sequence),
      sequence,
      hash: Buffer.from(hash).toString("hex"),
      provider: "sallyport",
      ...(e.reason === undefined ? {} : { reason: e.reason }),
    },
    ...(userId === null ? {} : { user: { id: userId }, related: { user: relatedUsers(e.actor, userId) } }),
    service: { name: "sallyport", version: VERSION },
    ...(e.run === undefined ? {} : { process: { entity_id: e.run, ...callerOf(e) } }),
    ...(e.type.startsWith("network.") ? connectionFields(e.data ?? {}) : {}),
    ...(e.policy === undefined ? {} : { rule: { id: e.policy } }),
    sallyport: {
      namespace: e.namespace ?? null,
      op: e.op ?? null,
      ...e.data,
      ...(typeof e.actor.uid === "number"
        ? { account: { uid: e.actor.uid, login_uid: e.actor.loginUid ?? null } }
        : {}),
    },
  })}\n`;
}

/** ECS names of a connection's ends: the Op is the source. Duration in nanoseconds. */
function connectionFields(data: Record<string, unknown>): Record<string, unknown> {
  const { target, address, bytesOut, bytesIn } = data;
  const [, host = "", port = ""] = /^(?:[a-z]+:\/\/)?\[?(.*?)\]?:([0-9]+)$/.exec(String(target ?? "")) ?? [];
  const isName = host !== "" && host !== address;
  return {
    destination: {
      ...(isName ? { domain: host } : {}),
      ...(port === "" ? {} : { port: Number(port) }),
      ...(typeof address === "string" ? { address, ip: address } : {}),
      bytes: bytesIn ?? 0,
    },
    source: { bytes: bytesOut ?? 0 },
    network: { direction: "egress", transport: "tcp" },
  };
}

/** Of a refused system call: the process as the run numbers it, by the name that it gave itself. */
function callerOf({ type, data }: { type: string; data?: object }): { pid?: unknown; name?: unknown } {
  if (type !== "sandbox.denied") return {};
  const { pid, process } = (data ?? {}) as { pid?: unknown; process?: unknown };
  return typeof pid === "number" ? { pid, name: process } : {};
}

function userIdOf(actor: Record<string, unknown>): string | null {
  if (actor.kind === "user") return String(actor.id);
  if (actor.kind === "host") return `uid:${String(actor.uid)}`;
  return actor.kind === "slack" ? `${String(actor.team)}/${String(actor.user)}` : null;
}

/** Also the accounts of the host, so that who acted under two names is found by either. */
function relatedUsers({ uid, loginUid }: Record<string, unknown>, userId: string): string[] {
  const accounts = [uid, loginUid].filter((id) => typeof id === "number").map((id) => `uid:${id}`);
  return [...new Set([userId, ...accounts])];
}
