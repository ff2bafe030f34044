import { VERSION } from "../host/self.ts";
import { type Logged, numberOf, readLogged, rowOf, targetOf, userIdOf } from "./logged.ts";

const ECS_VERSION = "8.17.0";

type Kind = readonly [category: string, ...types: [string, ...string[]]];
/**
 * Event category and types (ECS field reference, event.category and event.type: each category has the types that go with it), by
 * type or by family.
 */
const KINDS: Readonly<Record<string, Kind>> = {
  appliance: ["configuration", "change"],
  "appliance.initialized": ["configuration", "creation"],
  "appliance.started": ["process", "start"],
  "appliance.stopped": ["process", "end"],
  "appliance.unlock_failed": ["authentication", "start"],
  "appliance.unlock_throttled": ["authentication", "start"],
  database: ["database", "error"],
  role: ["process", "info"],
  "role.started": ["process", "start"],
  "role.lost": ["process", "end"],
  "role.granted": ["iam", "user", "change"],
  "role.revoked": ["iam", "user", "change"],
  wire: ["intrusion_detection", "denied"],
  sandbox: ["intrusion_detection", "denied"],
  "sandbox.selftest": ["configuration", "info"],
  log: ["configuration", "info"],
  "log.exported": ["configuration", "access"],
  notary: ["intrusion_detection", "info"],
  "notary.key": ["configuration", "change"],
  user: ["iam", "user", "change"],
  "user.added": ["iam", "user", "creation"],
  group: ["iam", "group", "change"],
  "group.added": ["iam", "group", "creation"],
  namespace: ["configuration", "change"],
  "namespace.added": ["configuration", "creation"],
  policy: ["configuration", "change"],
  "policy.refused": ["configuration", "info"],
  "policy.unreadable": ["configuration", "info"],
  link: ["iam", "user", "change"],
  "link.requested": ["iam", "user", "info"],
  "link.failed": ["authentication", "start"],
  authn: ["authentication", "start"],
  authz: ["api", "denied"],
  op: ["configuration", "change"],
  "op.published": ["configuration", "creation"],
  "op.code_read": ["configuration", "access"],
  "op.refused": ["configuration", "info"],
  "op.unreadable": ["configuration", "info"],
  runtime: ["package", "change"],
  "runtime.imported": ["package", "installation"],
  "runtime.removed": ["package", "deletion"],
  secret: ["database", "change"],
  "secret.read": ["database", "access"],
  "secret.refused": ["database", "info"],
  "secret.expiring": ["database", "info"],
  "secret.printed": ["intrusion_detection", "info"],
  vault: ["configuration", "change"],
  "vault.failed": ["database", "error"],
  request: ["api", "info"],
  "request.received": ["api", "start"],
  "request.refused": ["api", "denied"],
  "request.abandoned": ["api", "end"],
  run: ["process", "info"],
  "run.started": ["process", "start"],
  "run.finished": ["process", "end"],
  "run.cancel_requested": ["process", "change"],
  "run.denied": ["api", "denied"],
  "run.break_glass": ["iam", "admin"],
  resource: ["intrusion_detection", "denied"],
  network: ["network", "connection", "info"],
  "network.connected": ["network", "connection", "start", "allowed"],
  "network.closed": ["network", "connection", "end"],
  "network.refused": ["network", "connection", "denied"],
  slack: ["session", "info"],
  "slack.tokens_set": ["configuration", "change"],
  "slack.connected": ["session", "start"],
  "slack.disconnected": ["session", "end"],
  "slack.alarm": ["intrusion_detection", "info"],
};

/** Category and types of an event; of one that a newer program logged under a family that is not here, the least that can be said. */
export function ecsKind(type: string): { category: string; types: readonly string[] } {
  const [category, ...types] = rowOf(KINDS, type) ?? ["host", "info"];
  return { category, types };
}

/**
 * One log entry as one ECS JSON line with its newline, no arrays of objects, under journald's line limit. `hash` is the entry's
 * leaf in the log's tree (RFC 6962), so that a line can be held against a checkpoint.
 */
export function entryLine(entry: Uint8Array, sequence: number, hash: Uint8Array): string {
  const e = readLogged(entry);
  const { category, types } = ecsKind(e.type);
  const userId = userIdOf(e.actor);
  const ms = numberOf(e.data?.durationMs);
  return `${JSON.stringify({
    "@timestamp": e.time,
    "ecs.version": ECS_VERSION,
    event: {
      kind: e.outcome === "denied" ? "alert" : "event",
      action: e.type,
      category: [category],
      type: types,
      outcome: e.outcome === "denied" ? "failure" : e.outcome,
      severity: e.severity,
      id: String(sequence),
      sequence,
      hash: Buffer.from(hash).toString("hex"),
      provider: "sallyport",
      ...(ms === undefined ? {} : { duration: ms * 1e6 }),
      ...(e.reason === undefined ? {} : { reason: e.reason }),
    },
    ...(userId === null ? {} : { user: { id: userId }, related: { user: relatedUsers(e.actor, userId) } }),
    service: { name: "sallyport", version: VERSION },
    ...(e.run === undefined ? {} : { process: { entity_id: e.run, ...processOf(e) } }),
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

/** ECS names of a connection's ends: the Op is the source. */
function connectionFields(data: Record<string, unknown>): Record<string, unknown> {
  const { address, bytesOut, bytesIn } = data;
  const { host, port } = targetOf(data);
  return {
    destination: {
      ...(host === undefined || host === address ? {} : { domain: host }),
      ...(port === undefined ? {} : { port }),
      ...(typeof address === "string" ? { address, ip: address } : {}),
      bytes: bytesIn ?? 0,
    },
    source: { bytes: bytesOut ?? 0 },
    network: { direction: "egress", transport: "tcp" },
  };
}

/** Of a refused system call the process as the run numbers it, by the name that it gave itself; of a run's end its exit status. */
function processOf({ type, data = {} }: Logged): Record<string, unknown> {
  const [pid, exit] = [numberOf(data.pid), numberOf(data.exit)];
  if (type === "sandbox.denied" && pid !== undefined) return { pid, name: data.process };
  return type === "run.finished" && exit !== undefined ? { exit_code: exit } : {};
}

/** Also the accounts of the host, so that who acted under two names is found by either. */
function relatedUsers({ uid, loginUid }: Record<string, unknown>, userId: string): string[] {
  const accounts = [uid, loginUid].filter((id) => typeof id === "number").map((id) => `uid:${id}`);
  return [...new Set([userId, ...accounts])];
}
