/**
 * Every event that the log may hold. An event or a field that is not here is refused when it is logged, and the type
 * checker refuses it before. `owasp` is the name in OWASP's Logging Vocabulary where that has one. Severity as in OCSF:
 * 1 informational, 3 medium, 4 high, 5 critical. No field holds a person's name, an argument's value or a secret:
 * the hashed part can never be taken back.
 */
export type FieldKind = "string" | "number" | "boolean";
export type Severity = 1 | 3 | 4 | 5;
export type EventRow = {
  owasp: string | null;
  when: string;
  severity: Severity;
  fields: Readonly<Record<string, FieldKind>>;
};

const row = <const F extends Record<string, FieldKind>>(
  owasp: string | null,
  severity: Severity,
  when: string,
  fields: F,
): { owasp: string | null; severity: Severity; when: string; fields: F } => ({
  owasp,
  severity,
  when,
  fields,
});

const S = "string";
const N = "number";
const B = "boolean";
const SUBJECT = { subject: S, subjectKind: S } as const;
const CONNECTION = { target: S, address: S, bytesOut: N, bytesIn: N, durationMs: N, count: N } as const;
const CODE = { purpose: S, source: S, channel: S } as const;
const SLACK_USER = { team: S, enterprise: S, slackUser: S } as const;

export const CATALOGUE = {
  // Appliance
  "appliance.initialized": row("sys_startup", 4, "init made keyring, database and the first admin", {
    keyring: S,
    version: S,
  }),
  "appliance.started": row("sys_startup", 1, "the keeper opened the database after an unlock", {
    version: S,
    schema: N,
  }),
  "appliance.stopped": row("sys_shutdown", 3, "the keeper ended in an orderly way", {}),
  "appliance.unlocked": row("authn_login_success", 4, "a key slot was opened", { slot: S, slotKind: S }),
  "appliance.unlock_failed": row("authn_login_fail", 4, "a passphrase or recovery code opened no slot", {
    code: S,
    uid: N,
    at: S,
    count: N,
  }),
  "appliance.unlock_throttled": row(
    "excess_rate_limit_exceeded",
    4,
    "an unlock was refused because of too many failures",
    {
      code: S,
      uid: N,
      at: S,
      count: N,
    },
  ),
  "appliance.unlock_undone": row(
    "sys_shutdown",
    4,
    "a key slot was opened, but the unlock failed after that; sealed as before",
    {},
  ),
  "appliance.locked": row("sys_shutdown", 4, "someone locked the appliance; runs are ended", { runs: N }),
  "database.damaged": row("sys_crash", 5, "the database failed a check", { problem: S }),

  // Processes
  "role.started": row("sys_startup", 1, "a role connected to the keeper", { role: S, pid: N, version: S }),
  "role.lost": row("sys_crash", 4, "a role's process or connection ended by itself", {
    role: S,
    restarts: N,
  }),
  "wire.violation": row("input_validation_fail", 5, "a peer sent what it may not send; it was disconnected", {
    role: S,
  }),
  "sandbox.selftest": row(
    "sys_monitor_enabled",
    3,
    "the runner tried to break out of its own sandbox, and what it read of the host",
    {
      checks: N,
      failed: S,
      cgroup: S,
      degraded: S,
      kernel: S,
      vulnerable: S,
      smt: S,
      lockdown: S,
      yama: S,
      landlock: S,
      auditd: S,
    },
  ),

  // Log
  "log.heartbeat": row(null, 1, "every five minutes, so that a gap shows", { uptimeMs: N }),
  "log.verified": row(null, 1, "the whole log was verified", { size: N, problem: S }),
  "log.exported": row("sensitive_read", 3, "the log, or a part of it, was taken out", { format: S, size: N }),
  "log.spool_dropped": row("sys_monitor_disabled", 4, "what happened while sealed outgrew its bound", {
    dropped: N,
  }),
  "notary.key": row(
    "crypt_key_created",
    4,
    "the notary has a new key; checkpoints from here on are under it",
    {
      vkey: S,
      replaced: S,
      size: N,
    },
  ),
  "notary.refused": row("malicious_direct_reference", 5, "the notary refused to sign; runs stop", {
    size: N,
    signedSize: N,
  }),
  "notary.fork": row("malicious_direct_reference", 5, "the log is not what the notary signed earlier", {
    size: N,
    signedSize: N,
    signedRoot: S,
  }),

  // People and rights
  "user.added": row("user_created", 3, "a user was added", { user: S }),
  "user.disabled": row("user_archived", 3, "a user was disabled", { user: S }),
  "user.enabled": row("user_updated", 3, "a user was enabled", { user: S }),
  "user.host_account": row("user_updated", 3, "a host account was mapped to a user or taken away", {
    user: S,
    uid: N,
    removed: B,
  }),
  "group.added": row("user_created", 3, "a group was added", { group: S }),
  "group.member_added": row("privilege_permissions_changed", 3, "a user joined a group", {
    group: S,
    user: S,
  }),
  "group.member_removed": row("privilege_permissions_changed", 3, "a user left a group", {
    group: S,
    user: S,
  }),
  "namespace.added": row("sensitive_create", 3, "a namespace was added", { anyChannel: B }),
  "namespace.two_person_publish": row(
    "privilege_permissions_changed",
    4,
    "whether who publishes a version in a namespace may also activate it was changed",
    { on: B },
  ),
  "namespace.changed": row("sensitive_update", 3, "a namespace's channels or engine were changed", {
    anyChannel: B,
    channel: S,
    engine: S,
    change: S,
  }),
  "role.granted": row("privilege_permissions_changed", 3, "a role was granted", { role: S, ...SUBJECT }),
  "role.revoked": row("privilege_permissions_changed", 3, "a role was taken away", { role: S, ...SUBJECT }),
  "policy.added": row("authz_admin", 4, "a policy of the site's own was put in force", {
    policy: S,
    number: N,
    digest: S,
    ids: S,
  }),
  "policy.removed": row("authz_admin", 4, "a policy of the site's own was taken away", {
    policy: S,
    number: N,
    digest: S,
  }),
  "policy.refused": row("input_validation_fail", 3, "a policy could not be put in force as it was", {
    policy: S,
    code: S,
  }),
  "policy.unreadable": row(
    "authz_fail",
    5,
    "the site's own policies can't be read by this version; nothing is allowed but to mend that",
    {},
  ),
  "link.requested": row("authn_token_created", 1, "a Slack account asked for a link code", SLACK_USER),
  "link.confirmed": row("authn_token_created", 3, "a Slack account was linked to a user", {
    user: S,
    ...SLACK_USER,
  }),
  "link.failed": row("authn_login_fail", 4, "a link code was wrong, used, expired or out of tries", {
    code: S,
    tries: N,
  }),
  "link.removed": row("authn_token_revoked", 3, "a Slack account was unlinked", { user: S, ...SLACK_USER }),
  "authn.denied": row(
    "authn_login_fail",
    3,
    "a request of an unlinked, disabled, guest, bot or foreign account",
    {
      surface: S,
      command: S,
      channel: S,
      standing: S,
      count: N,
      ...SLACK_USER,
    },
  ),
  "user.totp_enrolled": row("authn_token_created", 3, "an authenticator for one-time codes was enrolled", {
    user: S,
    replaced: B,
  }),
  "user.totp_removed": row("authn_token_revoked", 3, "a user's authenticator was taken away", { user: S }),
  "authn.code_accepted": row("authn_login_success", 1, "a one-time code was right", CODE),
  "authn.code_refused": row("authn_login_fail", 4, "a one-time code was wrong, used or of nobody enrolled", {
    failures: N,
    ...CODE,
  }),
  "authn.code_throttled": row(
    "excess_rate_limit_exceeded",
    4,
    "a one-time code was not looked at because of too many wrong ones",
    { seconds: N, count: N, ...CODE },
  ),
  "authz.denied": row("authz_fail", 3, "a policy refused a request", {
    action: S,
    resource: S,
    source: S,
    channel: S,
    surface: S,
  }),

  // Ops
  "op.published": row("sensitive_create", 3, "a version of an Op was stored", {
    version: N,
    digest: S,
    bytes: N,
  }),
  "op.activated": row("sensitive_update", 3, "a version became the one that runs", {
    version: N,
    digest: S,
    previous: N,
    publisher: S,
  }),
  "op.code_read": row("sensitive_read", 1, "somebody was given the code of a version", {
    version: N,
    digest: S,
  }),
  "op.refused": row("input_validation_fail", 3, "an Op could not be published as it was", { code: S }),
  "op.secret_allowed": row(
    "sensitive_create",
    4,
    "an Op was published although something in it looks like a credential",
    { rules: S, files: N, digest: S },
  ),
  "op.disabled": row("sensitive_update", 3, "an Op was disabled", {}),
  "op.unreadable": row(
    null,
    4,
    "an active Op was stored under rules that this version does not accept; it can't run",
    {},
  ),

  // Outside vaults
  "vault.login": row("authn_token_created", 4, "an AppRole credential of an outside vault was entered", {
    vault: S,
    wrapped: B,
    fault: S,
  }),
  "vault.logout": row("authn_token_revoked", 3, "the credential of an outside vault was taken away", {
    vault: S,
  }),
  "vault.failed": row(null, 3, "an outside vault did not give what was asked of it", {
    vault: S,
    fault: S,
    detail: S,
  }),

  // Root file systems
  "runtime.imported": row("sensitive_create", 3, "a root file system for Ops was imported under a name", {
    runtime: S,
    digest: S,
    previous: S,
    bytes: N,
    files: N,
  }),
  "runtime.removed": row("sensitive_delete", 3, "the name of a root file system for Ops was taken away", {
    runtime: S,
    digest: S,
  }),

  // Secrets, by name; of a value nothing is told, not even its length
  "secret.set": row(
    "sensitive_create",
    3,
    "a secret was set for the first time, or again after its removal",
    {
      source: S,
      secret: S,
      version: N,
    },
  ),
  "secret.rotated": row("sensitive_update", 3, "a secret got another value", {
    source: S,
    secret: S,
    version: N,
  }),
  "secret.changed": row("sensitive_update", 3, "a secret's description or expiry date was changed", {
    secret: S,
    expires: S,
  }),
  "secret.removed": row("sensitive_delete", 3, "a secret was removed; no run gets it any more", {
    secret: S,
    version: N,
  }),
  "secret.refused": row("input_validation_fail", 3, "a value could not be kept as a secret", { secret: S }),
  "secret.read": row("sensitive_read", 1, "a secret was decrypted for a run", {
    source: S,
    secret: S,
    version: N,
  }),
  "secret.expiring": row(null, 3, "a secret expires soon, or has expired; told once a day", {
    secret: S,
    expires: S,
    days: N,
  }),
  "secret.key_added": row("crypt_key_created", 4, "a namespace's secrets are encrypted under a new key", {
    key: S,
    previous: S,
  }),
  "secret.key_removed": row("sensitive_delete", 4, "nothing is encrypted under an old key; it is gone", {
    key: S,
  }),

  // Requests and runs
  "request.received": row(null, 1, "a command arrived and its receipt is durable", {
    request: S,
    surface: S,
    channel: S,
    command: S,
    source: S,
  }),
  "request.refused": row(
    "input_validation_fail",
    1,
    "a request was malformed or its arguments were refused",
    {
      request: S,
      surface: S,
      channel: S,
      code: S,
    },
  ),
  "request.abandoned": row("sequence_fail", 3, "a command was accepted but never taken up", { request: S }),
  "run.requested": row("process_requested", 1, "the intent to run an Op", {
    source: S,
    channel: S,
    version: N,
    digest: S,
    args: N,
    request: S,
    root: S,
    network: S,
    resources: S,
  }),
  "run.waiting": row("process_queued", 1, "a run waits to be confirmed or approved", {
    confirm: S,
    approvals: S,
    digest: S,
    expires: N,
  }),
  "run.confirmed": row("authn_login_success", 1, "who asked for a run confirmed it", {
    confirm: S,
    source: S,
  }),
  "run.approved": row("authz_change", 3, "somebody approved a run", {
    confirm: S,
    source: S,
    channel: S,
    digest: S,
    missing: N,
  }),
  "run.denied": row("authz_fail", 3, "somebody who was asked to approve a run denied it", {
    source: S,
    channel: S,
    digest: S,
  }),
  "run.break_glass": row("authz_change", 5, "an admin ran an Op without the approvals that it needs", {
    approvals: S,
    digest: S,
    told: N,
  }),
  "run.queued": row("process_queued", 1, "a run waits for its turn", { ahead: N }),
  "run.started": row("process_started", 1, "an order went to the runner", {
    digest: S,
    version: N,
    pid: N,
    engine: S,
  }),
  "run.cancel_requested": row("process_cancelled", 3, "someone asked to end a run", {
    source: S,
    channel: S,
  }),
  "run.finished": row("process_ended", 1, "a run reached its final state", {
    state: S,
    exit: N,
    signal: S,
    durationMs: N,
    cpuMs: N,
    peakMemoryBytes: N,
    processes: N,
    limitedBy: S,
    outputBytes: N,
    truncated: B,
    denied: S,
    code: S,
    printed: S,
  }),
  "secret.printed": row(null, 4, "an Op wrote a secret to its output, where it was replaced by its name", {
    secret: S,
    stream: S,
    count: N,
  }),
  "sandbox.denied": row(
    "malicious_direct_reference",
    4,
    "an Op made a system call that its profile refuses",
    {
      call: S,
      process: S,
      pid: N,
    },
  ),
  "resource.refused": row(
    "authz_fail",
    4,
    "a resource of the host was not what root had listed, so the run got nothing",
    {
      resource: S,
    },
  ),

  // Network of runs. `count`: of a run that makes very many connections, so many alike.
  "network.connected": row("session_created", 1, "an Op's connection was let through", CONNECTION),
  "network.closed": row("session_expired", 1, "an Op's connection ended", CONNECTION),
  "network.refused": row("malicious_direct_reference", 4, "an Op's connection was refused", CONNECTION),
  "network.failed": row(null, 3, "an Op's connection could not be made", CONNECTION),

  // Slack
  "slack.tokens_set": row("authn_token_created", 4, "the Slack tokens were entered", { app: S, team: S }),
  "slack.connected": row("session_created", 1, "the gateway is connected", {
    team: S,
    enterprise: S,
    connections: N,
  }),
  "slack.disconnected": row("session_expired", 3, "the gateway lost its last connection", {
    team: S,
    enterprise: S,
    connections: N,
  }),
  "slack.alarm": row(
    "malicious_extraneous",
    4,
    "the gateway saw something that a security officer wants to hear of",
    {
      kind: S,
      count: N,
    },
  ),
  "slack.post_failed": row("sys_crash", 3, "a message could not be delivered", {
    channel: S,
    kind: S,
    error: S,
  }),
} as const satisfies Record<string, EventRow>;

export type EventType = keyof typeof CATALOGUE;

type ValueOf<K> = (K extends "string" ? string : K extends "number" ? number : boolean) | null;
/** The data that an event of this type may carry; a missing field and null say the same. */
export type DataOf<T extends EventType> = {
  readonly [F in keyof (typeof CATALOGUE)[T]["fields"]]?:
    | ValueOf<(typeof CATALOGUE)[T]["fields"][F]>
    | undefined;
};

export function isEventType(type: string): type is EventType {
  return Object.hasOwn(CATALOGUE, type);
}
