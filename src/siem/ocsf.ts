import { hostname } from "node:os";
import { VERSION } from "../host/self.ts";
import { type Logged, numberOf, opOf, readLogged, targetOf, userIdOf } from "./logged.ts";
import { type OcsfClass, ocsfKind } from "./ocsf-kinds.ts";

/** Later versions add to it; 1.9 deprecates `app` and a group's `user` for others, which 1.5 lacks. */
const OCSF_VERSION = "1.5.0";
const PRODUCT = { name: "sallyport", vendor_name: "sallyport", version: VERSION };
const SEVERITIES: Readonly<Record<number, string>> = {
  1: "Informational",
  3: "Medium",
  4: "High",
  5: "Critical",
};
const CATEGORIES: Readonly<Record<number, string>> = {
  1: "System Activity",
  3: "Identity & Access Management",
  4: "Network Activity",
  6: "Application Activity",
};
const OTHER = 99;
const UNLOCK = 7;

type Fields = Record<string, unknown>;

/**
 * One log entry as one line of OCSF JSON (schema.ocsf.io) with its newline. What the schema has no place for, the hash of the entry's
 * leaf among it, is under `unmapped`. `host`: of the device that it happened on.
 */
export function ocsfLine(entry: Uint8Array, sequence: number, hash: Uint8Array, host = hostname()): string {
  const e = readLogged(entry);
  const data = e.data ?? {};
  const kind = ocsfKind(e.type, data.subjectKind === "group");
  const { classUid, className, activityId, activityName } = kind;
  const category = Math.floor(classUid / 1000);
  const isDenied = e.outcome === "denied";
  const isControlled = isDenied || e.policy !== undefined;
  return `${JSON.stringify({
    activity_id: activityId,
    activity_name: activityName,
    category_uid: category,
    category_name: CATEGORIES[category],
    class_uid: classUid,
    class_name: className,
    type_uid: classUid * 100 + activityId,
    type_name: `${className}: ${activityId === OTHER ? "Other" : activityName}`,
    severity_id: e.severity,
    severity: SEVERITIES[e.severity],
    time: Date.parse(e.time),
    timezone_offset: 0,
    ...statusOf(e),
    message: e.reason ?? [e.type, opOf(e)].filter(Boolean).join(" of "),
    metadata: {
      version: OCSF_VERSION,
      product: PRODUCT,
      profiles: isControlled ? ["host", "security_control"] : ["host"],
      event_code: e.type,
      log_name: "audit",
      log_provider: "sallyport",
      original_time: e.time,
      sequence,
      uid: String(sequence),
    },
    actor: actorOf(e.actor),
    device: { type_id: 1, type: "Server", hostname: host },
    ...(isDenied
      ? { action_id: 2, action: "Denied", disposition_id: 2, disposition: "Blocked", is_alert: true }
      : {}),
    ...(e.policy === undefined ? {} : { policy: { uid: e.policy } }),
    ...FIELDS[kind.ocsfClass](e, data),
    unmapped: {
      hash: Buffer.from(hash).toString("hex"),
      ...(e.namespace === undefined ? {} : { namespace: e.namespace }),
      ...(e.op === undefined ? {} : { op: e.op }),
      ...(e.run === undefined ? {} : { run: e.run }),
      ...data,
    },
  })}\n`;
}

function statusOf({ outcome, reason }: Logged): Fields {
  const isKnown = outcome !== "unknown";
  const isGood = outcome === "success";
  return {
    status_id: isKnown ? (isGood ? 1 : 2) : 0,
    status: isKnown ? (isGood ? "Success" : "Failure") : "Unknown",
    ...(reason === undefined ? {} : { status_detail: reason }),
  };
}

/** The class's own fields. */
const FIELDS: Readonly<Record<OcsfClass, (e: Logged, data: Fields) => Fields>> = {
  process: (e, data) => {
    const [pid, exit] = [numberOf(data.pid), numberOf(data.exit)];
    const name = typeof data.process === "string" ? data.process : opOf(e);
    return {
      process: {
        ...(name === undefined ? {} : { name }),
        uid: e.run ?? "unknown",
        ...(pid === undefined ? {} : { pid }),
      },
      ...(exit === undefined ? {} : { exit_code: exit }),
      ...durationOf(data),
    };
  },
  log: () => ({ log_name: "audit", log_provider: "sallyport" }),
  account: (e, data) => ({ user: aboutUser(e, data) }),
  authentication: (e) => ({
    user: userOf(e.actor) ?? { name: "unknown", type_id: 0 },
    service: { name: "sallyport" },
    src_endpoint: sourceOf(e),
    ...(e.type.startsWith("appliance.")
      ? { logon_type_id: UNLOCK, logon_type: "Unlock" }
      : { logon_type_id: OTHER, logon_type: "Command" }),
    ...(e.type.startsWith("authn.code_") ? { is_mfa: true } : {}),
  }),
  entity: (e, data) => ({ entity: entityOf(e, data) }),
  group: (_, data) => ({
    group: { uid: String(data.group ?? data.subject ?? "unknown") },
    ...(typeof data.user === "string" ? { user: { uid: data.user, type_id: 1, type: "User" } } : {}),
    ...(typeof data.role === "string" ? { privileges: [data.role] } : {}),
  }),
  network: (e, data) => connectionOf(e, data),
  app: (_, data) => ({
    app: typeof data.role === "string" ? { ...PRODUCT, feature: { name: data.role } } : PRODUCT,
  }),
  api: (e, data) => ({
    api: {
      operation: String(data.action ?? data.command ?? data.kind ?? e.type),
      service: { name: "sallyport" },
    },
    src_endpoint: sourceOf(e),
  }),
  datastore: (e) => ({
    src_endpoint: sourceOf(e),
    databucket: { name: e.namespace ?? "sallyport", type_id: OTHER, type: "Namespace" },
    type_id: 2,
    type: "Databucket",
  }),
};

function userOf(actor: Fields): Fields | null {
  const uid = userIdOf(actor);
  if (uid === null) return null;
  const alt = actor.kind === "user" && typeof actor.uid === "number" ? { uid_alt: `uid:${actor.uid}` } : {};
  return { uid, ...alt, type_id: 1, type: "User" };
}

function actorOf(actor: Fields): Fields {
  const user = userOf(actor);
  return user === null ? { app_name: "sallyport" } : { user };
}

/** Whose account it is about; where the event does not say, of who acted. */
function aboutUser(e: Logged, data: Fields): Fields {
  const uid = data.user ?? data.subject;
  if (typeof uid === "string") return { uid, type_id: 1, type: "User" };
  return userOf(e.actor) ?? { name: "unknown", type_id: 0 };
}

function entityOf(e: Logged, data: Fields): Fields {
  const version = data.version === undefined ? {} : { version: String(data.version) };
  const [family = ""] = e.type.split(".");
  if (family === "policy") return { name: String(data.policy ?? "unknown"), type_id: 5, type: "Policy" };
  const [type, name] = {
    namespace: ["Namespace", e.namespace],
    runtime: ["Root File System", data.runtime],
    secret: ["Key", data.key],
    vault: ["Vault", data.vault],
  }[family] ?? ["Op", opOf(e)];
  return { name: String(name ?? "unknown"), type_id: OTHER, type, ...version };
}

/** Where the request came from: Slack, or the host itself. Addresses are not known. */
function sourceOf({ actor, data = {} }: Logged): Fields {
  const isHost = typeof actor.uid === "number" || data.source === "tty" || data.surface === "tty";
  if (isHost) return { svc_name: "terminal" };
  return { svc_name: actor.kind === "system" ? "sallyport" : "slack" };
}

function connectionOf(e: Logged, data: Fields): Fields {
  const outbound = { direction_id: 2, direction: "Outbound", protocol_num: 6, protocol_name: "tcp" };
  if (e.type.startsWith("slack."))
    return {
      src_endpoint: { svc_name: "sallyport" },
      dst_endpoint: { svc_name: "slack" },
      connection_info: outbound,
    };
  const { host, port } = targetOf(data);
  const [ip, bytesIn, bytesOut] = [data.address, numberOf(data.bytesIn), numberOf(data.bytesOut)];
  return {
    src_endpoint: { svc_name: opOf(e) ?? "unknown" },
    dst_endpoint: {
      ...(host === undefined || host === ip ? {} : { hostname: host }),
      ...(typeof ip === "string" ? { ip } : {}),
      ...(port === undefined ? {} : { port }),
      ...(host === undefined && typeof ip !== "string" ? { name: "unknown" } : {}),
    },
    connection_info: outbound,
    traffic: { bytes_in: bytesIn ?? 0, bytes_out: bytesOut ?? 0 },
    ...durationOf(data),
  };
}

function durationOf({ durationMs }: Fields): Fields {
  return typeof durationMs === "number" ? { duration: durationMs } : {};
}
