import { rowOf } from "./logged.ts";

/** OCSF classes that our events are of (schema 1.5; 1.9 has them too): uid, name, and the activities that they have beside 99. */
export const OCSF_CLASSES = {
  process: [1007, "Process Activity", { 1: "Launch", 2: "Terminate" }],
  log: [1008, "Event Log Activity", { 3: "Export" }],
  account: [
    3001,
    "Account Change",
    {
      1: "Create",
      2: "Enable",
      5: "Disable",
      7: "Attach Policy",
      8: "Detach Policy",
      10: "MFA Factor Enable",
      11: "MFA Factor Disable",
    },
  ],
  authentication: [3002, "Authentication", { 1: "Logon" }],
  entity: [
    3004,
    "Entity Management",
    { 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 9: "Disable", 10: "Activate" },
  ],
  group: [
    3006,
    "Group Management",
    { 1: "Assign Privileges", 2: "Revoke Privileges", 3: "Add User", 4: "Remove User", 6: "Create" },
  ],
  network: [4001, "Network Activity", { 1: "Open", 2: "Close", 4: "Fail", 5: "Refuse" }],
  app: [
    6002,
    "Application Lifecycle",
    { 1: "Install", 3: "Start", 4: "Stop", 6: "Enable", 7: "Disable", 8: "Update" },
  ],
  api: [6003, "API Activity", { 1: "Create" }],
  datastore: [6005, "Datastore Activity", { 1: "Read", 2: "Update", 6: "Create", 7: "Delete" }],
} as const satisfies Record<string, readonly [uid: number, name: string, activities: Record<number, string>]>;

export type OcsfClass = keyof typeof OCSF_CLASSES;
/** A number is an activity of the class; a text is the name of one that the class lacks, which makes it 99 (Other). */
type Row = readonly [ocsfClass: OcsfClass, activity: number | string];

const ROWS: Readonly<Record<string, Row>> = {
  appliance: ["app", "Change"],
  "appliance.initialized": ["app", 1],
  "appliance.started": ["app", 3],
  "appliance.stopped": ["app", 4],
  "appliance.unlocked": ["app", 6],
  "appliance.locked": ["app", 7],
  "appliance.unlock_undone": ["app", 7],
  "appliance.unlock_failed": ["authentication", 1],
  "appliance.unlock_throttled": ["authentication", 1],
  database: ["app", "Damage"],
  role: ["app", "Change"],
  "role.started": ["app", 3],
  "role.lost": ["app", 4],
  "role.granted": ["account", 7],
  "role.revoked": ["account", 8],
  wire: ["api", "Execute"],
  sandbox: ["process", "System Call"],
  "sandbox.selftest": ["app", "Self-Test"],
  log: ["log", "Report"],
  "log.heartbeat": ["log", "Heartbeat"],
  "log.verified": ["log", "Verify"],
  "log.exported": ["log", 3],
  "log.spool_dropped": ["log", "Drop"],
  notary: ["log", "Sign"],
  "notary.key": ["log", "New Key"],
  "notary.fork": ["log", "Fork"],
  user: ["account", "Change"],
  "user.added": ["account", 1],
  "user.enabled": ["account", 2],
  "user.disabled": ["account", 5],
  "user.host_account": ["account", "Map Host Account"],
  "user.totp_enrolled": ["account", 10],
  "user.totp_removed": ["account", 11],
  group: ["group", "Change"],
  "group.added": ["group", 6],
  "group.member_added": ["group", 3],
  "group.member_removed": ["group", 4],
  namespace: ["entity", 3],
  "namespace.added": ["entity", 1],
  policy: ["entity", 3],
  "policy.added": ["entity", 1],
  "policy.removed": ["entity", 4],
  "policy.refused": ["entity", 1],
  "policy.unreadable": ["entity", 2],
  link: ["account", "Link"],
  "link.requested": ["account", "Request Link"],
  "link.removed": ["account", "Unlink"],
  "link.failed": ["authentication", 1],
  authn: ["authentication", 1],
  authz: ["api", "Execute"],
  op: ["entity", 3],
  "op.published": ["entity", 1],
  "op.activated": ["entity", 10],
  "op.code_read": ["entity", 2],
  "op.refused": ["entity", 1],
  "op.disabled": ["entity", 9],
  "op.unreadable": ["entity", 2],
  runtime: ["entity", 3],
  "runtime.imported": ["entity", 1],
  "runtime.removed": ["entity", 4],
  secret: ["datastore", 2],
  "secret.set": ["datastore", 6],
  "secret.removed": ["datastore", 7],
  "secret.refused": ["datastore", 6],
  "secret.read": ["datastore", 1],
  "secret.expiring": ["datastore", "Expire"],
  "secret.printed": ["datastore", "Print"],
  "secret.key_added": ["entity", 1],
  "secret.key_removed": ["entity", 4],
  vault: ["entity", 3],
  "vault.login": ["entity", 1],
  "vault.logout": ["entity", 4],
  "vault.failed": ["datastore", "Fail"],
  request: ["api", "Execute"],
  "request.received": ["api", "Receive"],
  "request.abandoned": ["api", "Abandon"],
  run: ["process", "Change"],
  "run.requested": ["process", "Request"],
  "run.waiting": ["process", "Wait"],
  "run.confirmed": ["process", "Confirm"],
  "run.approved": ["process", "Approve"],
  "run.denied": ["process", "Deny"],
  "run.break_glass": ["process", "Break Glass"],
  "run.queued": ["process", "Queue"],
  "run.started": ["process", 1],
  "run.cancel_requested": ["process", "Cancel"],
  "run.finished": ["process", 2],
  resource: ["process", "Use Resource"],
  network: ["network", "Connection"],
  "network.connected": ["network", 1],
  "network.closed": ["network", 2],
  "network.refused": ["network", 5],
  "network.failed": ["network", 4],
  slack: ["network", "Connection"],
  "slack.tokens_set": ["app", 8],
  "slack.connected": ["network", 1],
  "slack.disconnected": ["network", 2],
  "slack.alarm": ["api", "Alarm"],
  "slack.post_failed": ["api", 1],
};

export type OcsfKind = {
  ocsfClass: OcsfClass;
  classUid: number;
  className: string;
  activityId: number;
  activityName: string;
};

/**
 * Class and activity of an event. `isGroup`: rights given to a group are another class than those given to a user. An event that
 * a newer program logged under a family that is not here is an act of the application.
 */
export function ocsfKind(type: string, isGroup = false): OcsfKind {
  const [found, activity] = rowOf(ROWS, type) ?? (["app", "Event"] as const);
  if (isGroup && found === "account") return kindOf("group", activity === 7 ? 1 : 2);
  return kindOf(found, activity);
}

function kindOf(ocsfClass: OcsfClass, activity: number | string): OcsfKind {
  const [classUid, className, activities] = OCSF_CLASSES[ocsfClass];
  const name = typeof activity === "string" ? activity : (activities as Record<number, string>)[activity];
  return {
    ocsfClass,
    classUid,
    className,
    activityId: typeof activity === "number" ? activity : 99,
    activityName: name ?? "Other",
  };
}
