import { CATALOGUE, type EventRow, type EventType } from "../../src/audit/catalogue.ts";
import { type AuditEvent, makeEntry } from "../../src/audit/event.ts";

/** One example of each event in the catalogue, with every field that it may have. */

const DIGEST = `sha256:${"5a".repeat(32)}`;
const VALUES: Readonly<Record<string, string | number | boolean>> = {
  target: "api.example:443",
  address: "192.0.2.7",
  digest: DIGEST,
  replaced: "sallyport.example/log+0a1b2c3d+AQID",
  vkey: "sallyport.example/log+0a1b2c3d+AQID",
  role: "runner",
  subject: "u-2",
  subjectKind: "user",
  user: "u-2",
  group: "g-1",
  team: "T1",
  enterprise: "E1",
  slackUser: "U2",
  surface: "slash",
  source: "slack",
  channel: "C1",
  command: "run",
  action: "run",
  resource: 'Op::"web/restart"',
  secret: "web/DEPLOY_KEY",
  policy: "nights",
  ids: "nights.no_prod",
  code: "input_invalid",
  uid: 1000,
  at: "2026-11-25T10:00:00.000Z",
  count: 3,
  port: 443,
  pid: 4,
  exit: 1,
  state: "failed",
  call: "socket(AF_PACKET)",
  process: "main.sh",
  kind: "too_many_connections",
  stream: "stdout",
  expires: "2026-12-01",
  confirm: "local",
  approvals: "1 of leads",
  engine: "native",
  runtime: "debian",
  limitedBy: "memory",
  network: "api.example:443",
};

/** Only these types are logged as denied: what was asked for was refused. */
const DENIED: ReadonlySet<EventType> = new Set<EventType>([
  "authn.denied",
  "authn.code_throttled",
  "authz.denied",
  "network.refused",
  "op.refused",
  "policy.refused",
  "request.refused",
  "resource.refused",
  "sandbox.denied",
  "secret.refused",
  "slack.alarm",
  "wire.violation",
]);
const FAILED = /failed|fork|refused|damaged|unreadable|lost$|dropped|abandoned|undone|throttled|disconnected/;
/** Sallyport itself, not a person, is what these are of. */
const OWN = /^(log|notary|role\.(started|lost)|sandbox|slack\.(con|dis|al|po)|appliance\.st|database|wire)/;

export function exampleOf(type: EventType): AuditEvent {
  const { fields } = CATALOGUE[type] as EventRow;
  const data = Object.fromEntries(
    Object.entries(fields).map(([name, kind]) => [
      name,
      typeof VALUES[name] === kind ? VALUES[name] : { string: "x", number: 1, boolean: true }[kind],
    ]),
  );
  const outcome = DENIED.has(type) ? "denied" : FAILED.test(type) ? "failure" : "success";
  const inNamespace = /^(op|run|secret|namespace|authz|network|resource|sandbox\.denied)/.test(type);
  const ofRun = /^(run|network|resource|sandbox\.denied|secret\.(read|printed))/.test(type);
  return {
    type,
    outcome,
    actor: OWN.test(type) ? { kind: "system" } : actorOf(type),
    ...(inNamespace ? { namespace: "web" } : {}),
    ...(ofRun || /^(op|authz)/.test(type) ? { op: "restart" } : {}),
    ...(ofRun ? { run: "r-7" } : {}),
    ...(outcome === "denied" ? { policy: "default-deny", reason: "No policy allows it." } : {}),
    data,
  } as AuditEvent;
}

function actorOf(type: EventType): AuditEvent["actor"] {
  if (/^(authn\.denied|link\.requested)/.test(type))
    return { kind: "slack", enterprise: "E1", team: "T1", user: "U2" };
  if (/^appliance\.(un)?lock/.test(type)) return { kind: "host", uid: 1000, loginUid: 1000 };
  return { kind: "user", id: "u-1", name: "Ada", account: { uid: 1000, loginUid: 1000 } };
}

/** An entry as the log has it, at a time that does not change. */
export function entryOf(event: AuditEvent, at = "2026-11-25T10:11:12.345Z"): { bytes: Buffer; leaf: Buffer } {
  const { bytes, leaf } = makeEntry(event, { now: new Date(at), nonce: new Uint8Array(16) });
  return { bytes, leaf: Buffer.from(leaf) };
}
