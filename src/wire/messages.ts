import { z } from "zod";
import { ENGINES } from "../core/engines.ts";
import { VAULT_FAULTS, type VaultFault } from "../core/vault-faults.ts";
import { isVaultKey, isVaultPath, VAULT_VERSION_MAX } from "../core/vault-source.ts";
import { Document } from "./document.ts";
import { HostFacts } from "./host-facts.ts";
import { View } from "./view.ts";

/** Schemas of every message between roles. Sizes in bytes, times in milliseconds since the epoch unless said otherwise. */
const id = z.string().min(1).max(128);
const slackId = z.string().regex(/^[A-Z][A-Z0-9]{1,31}$/);
const runId = z.string().regex(/^[a-z0-9-]{4,40}$/);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const base64Hash = z.string().regex(/^[A-Za-z0-9+/]{43}=$/);
const count = z.int().min(0);
const resourceName = z.string().regex(/^[a-z][a-z0-9_-]{0,39}$/);
const token = z.string().regex(/^[0-9a-f]{32}$/);

export const SlackIdentity = z.strictObject({
  enterprise: slackId.nullable(),
  team: slackId,
  user: slackId,
});

export const SlackChannel = z.strictObject({
  id: slackId,
  kind: z.enum(["public", "private", "im", "mpim", "unknown"]),
});

/** First message of every role on its connection. `landlock`: `abi=N`, `refused=ERRNO`, or `absent`. */
const hello = z.strictObject({
  type: z.literal("role.hello"),
  version: z.string().max(40),
  pid: count,
  landlock: z.string().max(48),
});

// ---- gateway -------------------------------------------------------------------------------------------------------
/** Keeper -> gateway: parts [app token, bot token]. */
const gatewayConnect = z.strictObject({ type: z.literal("gateway.connect") });
const gatewayDisconnect = z.strictObject({ type: z.literal("gateway.disconnect") });

const slackState = z.strictObject({
  type: z.literal("slack.state"),
  connections: count.max(10),
  team: slackId.nullable(),
  enterprise: slackId.nullable(),
  botUser: slackId.nullable(),
  teamName: z.string().max(200).nullable(),
  /** Whether it is installed for the whole organisation `enterprise`. */
  org: z.boolean(),
  error: z.string().max(500).nullable(),
});

/** Something a security officer wants to hear of: a foreign connection on our app token, a malformed frame, ... */
const slackAlarm = z.strictObject({
  type: z.literal("slack.alarm"),
  kind: z.enum([
    "too_many_connections",
    "malformed_frame",
    "oversized_frame",
    "foreign_identity",
    "bot_identity",
    "unknown_envelope",
    "rate_limited",
    "auth_failed",
  ]),
  detail: z.string().max(500),
});

/**
 * One thing a person did in Slack. `id` is the gateway's handle for receipts and replies; `dedupe` is the same for a
 * redelivery, `trigger` also when it comes in another envelope (null where Slack gives none).
 */
const slackRequest = z.strictObject({
  type: z.literal("slack.request"),
  id,
  dedupe: z.string().min(1).max(200),
  trigger: z.string().min(1).max(200).nullable(),
  surface: z.enum(["slash", "button", "modal", "mention", "home"]),
  identity: SlackIdentity,
  channel: SlackChannel.nullable(),
  thread: z.string().max(40).nullable(),
  text: z.string().max(8000),
  action: z.strictObject({ id: z.string().max(255), value: z.string().max(2000) }).nullable(),
  retry: count,
  receivedAt: count,
  /** What Slack says of the person at this moment (users.info); absent or unknown means that nobody vouched. */
  standing: z.enum(["member", "guest", "bot", "foreign", "deleted", "unknown"]).optional(),
});

/** Keeper -> gateway: the receipt is durable (accepted), or why it was not taken. */
const slackReceipt = z.strictObject({
  type: z.literal("slack.receipt"),
  id,
  accepted: z.boolean(),
  duplicate: z.boolean(),
  text: z.string().max(500).nullable(),
});

/**
 * Gateway -> keeper, sent before the ack leaves for Slack: whether the receipt came within 2 s. The keeper dispatches the
 * request only on `accepted: true`, so a command that was answered with "not accepted, try again" never runs.
 */
const slackAcked = z.strictObject({ type: z.literal("slack.acked"), id, accepted: z.boolean() });

/** Private answer to the person of a request (response_url, ephemeral). */
const slackRespond = z.strictObject({ type: z.literal("slack.respond"), request: id, document: Document });

/** Opens a form for the person of a request, which Slack allows once and within 3 s: else they are told to ask again. */
const slackView = z.strictObject({ type: z.literal("slack.view"), request: id, view: View });

/**
 * chat.postMessage. The gateway posts a nonce once and answers it again from memory; that memory ends with its process, and
 * what was under way then is in doubt. `request` lets it fall back to that request's response_url; where `channel` is the
 * id of that request's person, the post is for that person alone.
 */
const slackPost = z.strictObject({
  type: z.literal("slack.post"),
  nonce: id,
  channel: slackId,
  thread: z.string().max(40).nullable(),
  request: id.nullable(),
  document: Document,
});

const slackUpdate = z.strictObject({
  type: z.literal("slack.update"),
  nonce: id,
  channel: slackId,
  ts: z.string().max(40),
  document: Document,
});

/** Outcome of slack.post and slack.update. `channel` is where it went (a DM may differ from what was asked). */
const slackPosted = z.strictObject({
  type: z.literal("slack.posted"),
  nonce: id,
  ok: z.boolean(),
  channel: slackId.nullable(),
  ts: z.string().max(40).nullable(),
  error: z.string().max(200).nullable(),
});

// ---- runner --------------------------------------------------------------------------------------------------------
export const SelfTestCheck = z.strictObject({
  name: z.string().max(80),
  ok: z.boolean(),
  detail: z.string().max(500),
});

/** Keeper -> runner: test the sandbox again; runs go on meanwhile. The answer is a runner.ready, also of a test under way. */
const runnerTest = z.strictObject({ type: z.literal("runner.test") });

const runnerReady = z.strictObject({
  type: z.literal("runner.ready"),
  ok: z.boolean(),
  checks: z.array(SelfTestCheck).max(256),
  cgroup: z.enum(["v2", "v1", "none"]),
  /** What the host does not give Ops' sandboxes; for people. */
  degraded: z.array(z.string().max(300)).max(10),
  facts: HostFacts,
  /** What starts an Op that names no engine (sallyport.yaml); absent: native. */
  engine: z.enum(ENGINES).optional(),
});

/** Runner -> keeper, once its tries with each OCI runtime of the host have ended. */
const runnerEngines = z.strictObject({
  type: z.literal("runner.engines"),
  engines: z
    .array(
      z.strictObject({
        engine: z.enum(ENGINES),
        path: z.string().max(100).nullable(),
        version: z.string().max(100),
        ok: z.boolean(),
        detail: z.string().max(500),
      }),
    )
    .max(8),
});

export const Limits = z.strictObject({
  timeMs: count,
  memoryBytes: count,
  pids: count,
  diskBytes: count,
  outputBytes: count,
  cpu: z.number().min(0.01).max(1024),
});

/** Keeper -> runner. Parts: [bundle archive, secret values in the order of `secrets`]. */
const runOrder = z.strictObject({
  type: z.literal("run.order"),
  run: runId,
  op: z.string().max(140),
  digest,
  argv: z
    .array(z.string().max(32 * 1024))
    .min(1)
    .max(256),
  env: z.record(z.string().max(128), z.string().max(32 * 1024)),
  input: z.string().max(64 * 1024),
  limits: Limits,
  /** Absent: native. */
  engine: z.enum(ENGINES).optional(),
  /** A shipped profile's name, or a .json file of the bundle. */
  seccomp: z.string().max(256),
  network: z.array(z.string().max(300)).max(32),
  /** Names of what root listed; the runner alone knows what they stand for. */
  resources: z.array(resourceName).max(32).optional(),
  /** Of an imported root file system; absent: the host's own. */
  root: digest.optional(),
  /** Where the run hands over its listeners, and by which token it is known there; only with `network`. */
  egress: z.strictObject({ socket: z.string().max(107), token }).optional(),
  secrets: z.array(z.strictObject({ name: z.string().max(64), as: z.enum(["file", "env"]) })).max(32),
});

/** Keeper -> runner: would this profile of a bundle do? Part: its text. */
const profileCheck = z.strictObject({ type: z.literal("profile.check"), id: count });
/** `notes`: what the ceiling takes from it, as the compiler says it ("narrowed clone"). */
const profileChecked = z.strictObject({
  type: z.literal("profile.checked"),
  id: count,
  ok: z.boolean(),
  reason: z.string().max(500),
  notes: z.array(z.string().max(80)).max(100),
});

const runCancel = z.strictObject({
  type: z.literal("run.cancel"),
  run: runId,
  reason: z.enum(["canceled", "lock"]),
});
const runStarted = z.strictObject({ type: z.literal("run.started"), run: runId });
/** One part: redacted bytes. */
const runOutput = z.strictObject({
  type: z.literal("run.output"),
  run: runId,
  stream: z.enum(["stdout", "stderr"]),
});
const runProgress = z.strictObject({
  type: z.literal("run.progress"),
  run: runId,
  text: z.string().max(500),
  percent: z.number().min(0).max(100).nullable(),
});
const callText = z.string().regex(/^[ -~]{1,64}$/);
const deniedCall = z.strictObject({ call: callText, count });
const runDenied = z.strictObject({
  type: z.literal("run.denied"),
  run: runId,
  call: callText,
  /** As the run numbers it, and the name that it gave itself, without secrets; null where the host does not tell. */
  process: z.strictObject({ pid: count, name: z.string().regex(/^[ -~]{0,160}$/) }).nullable(),
});
/** By namespace/NAME; `process`: in the name that a process gave itself. */
const printedSecret = {
  secret: z.string().regex(/^[a-z][a-z0-9_-]{0,39}\/[A-Z][A-Z0-9_]{0,63}$/),
  stream: z.enum(["stdout", "stderr", "progress", "detail", "process"]),
  count: count.min(1),
};
/** The first time that a run's secret was taken out there. */
const runSecretSeen = z.strictObject({ type: z.literal("run.secret_seen"), run: runId, ...printedSecret });
const runFinished = z.strictObject({
  type: z.literal("run.finished"),
  run: runId,
  outcome: z.enum(["exited", "signaled", "timed_out", "canceled", "launch_failed"]),
  exit: z.int().min(0).max(255).nullable(),
  signal: z.string().max(20).nullable(),
  /** Launcher step and errno, or what the runner refused, when outcome is launch_failed. */
  detail: z.string().max(500).nullable(),
  durationMs: z.number().min(0),
  cpuMs: z.number().min(0),
  userMs: z.number().min(0),
  systemMs: z.number().min(0),
  peakMemoryBytes: count,
  /** Processes and threads at once, at most. */
  processes: count,
  /** By which means the run was limited; null when nothing ran. */
  limitedBy: z.enum(["cgroup v2", "cgroup v1", "best-effort"]).nullable(),
  outputBytes: count,
  truncated: z.boolean(),
  denied: z.array(deniedCall).max(64),
  /** How often each secret was taken out in all. */
  printed: z.array(z.strictObject(printedSecret)).max(160).optional(),
  /** The resource of the host for which the launch failed. */
  resource: resourceName.optional(),
});

// ---- notary --------------------------------------------------------------------------------------------------------
/** Keeper -> notary. Part: the keeper's half of the key-wrapping key. */
const notaryOpen = z.strictObject({ type: z.literal("notary.open"), origin: z.string().max(200) });
const notaryOpened = z.strictObject({
  type: z.literal("notary.opened"),
  vkey: z.string().max(400),
  size: count,
  root: base64Hash,
  fresh: z.boolean(),
});
const notarySign = z.strictObject({
  type: z.literal("notary.sign"),
  fromSize: count,
  size: count,
  root: base64Hash,
  consistency: z.array(base64Hash).max(64),
});
const notarySigned = z.strictObject({
  type: z.literal("notary.signed"),
  size: count,
  checkpoint: z.string().max(4000),
});
const notaryRefused = z.strictObject({
  type: z.literal("notary.refused"),
  size: count,
  kind: z.enum(["history", "state", "unusable"]),
  reason: z.string().max(500),
});

// ---- egress --------------------------------------------------------------------------------------------------------
export const NetworkTarget = z.strictObject({
  scheme: z.enum(["tls", "ssh"]),
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65535),
  private: z.boolean(),
});
/** Keeper -> egress, before the order leaves for the runner. */
const egressGrant = z.strictObject({
  type: z.literal("egress.grant"),
  run: runId,
  token,
  targets: z.array(NetworkTarget).min(1).max(32),
});
const egressGranted = z.strictObject({ type: z.literal("egress.granted"), run: runId });
/** Ends every connection of the run; `revoked` comes after the last of them was told of. */
const egressRevoke = z.strictObject({ type: z.literal("egress.revoke"), run: runId });
const egressRevoked = z.strictObject({ type: z.literal("egress.revoked"), run: runId });
/** One connection, or `count` alike of a run that makes very many; `ms` from its acceptance. */
const egressConnection = z.strictObject({
  type: z.literal("egress.connection"),
  run: runId,
  outcome: z.enum(["connected", "closed", "refused", "failed"]),
  target: z.string().max(300),
  address: z.string().max(64).nullable(),
  bytesOut: count,
  bytesIn: count,
  ms: count,
  reason: z.string().max(400).nullable(),
  count,
});

// ---- courier -------------------------------------------------------------------------------------------------------
/** A vault is named as in sallyport.yaml: where it is, the courier was told at its start, and not by the keeper. */
const vaultName = z.string().min(1).max(40);
const vaultVersion = z.int().min(1).max(VAULT_VERSION_MAX);
const vaultSource = {
  vault: vaultName,
  path: z.string().refine(isVaultPath),
  key: z.string().refine(isVaultKey),
  version: vaultVersion.nullable(),
};
/** Part: the secret id, or with `wrapped` a token that unwraps to it. `now`: it is tried before it counts. */
const courierLogin = z.strictObject({
  type: z.literal("courier.login"),
  id: count,
  vault: vaultName,
  roleId: z.string().min(1).max(512),
  wrapped: z.boolean(),
  now: z.boolean(),
});
/** The credential is forgotten and the token revoked. */
const courierLogout = z.strictObject({ type: z.literal("courier.logout"), vault: vaultName });
const courierFetch = z.strictObject({ type: z.literal("courier.fetch"), id: count, ...vaultSource });
/** Which version would a fetch give? */
const courierLook = z.strictObject({ type: z.literal("courier.look"), id: count, ...vaultSource });
/** Part: the secret id that was unwrapped, where one was. */
const courierLoggedIn = z.strictObject({ type: z.literal("courier.logged_in"), id: count });
/** Part: the value. */
const courierFetched = z.strictObject({
  type: z.literal("courier.fetched"),
  id: count,
  version: vaultVersion,
});
const courierLooked = z.strictObject({ type: z.literal("courier.looked"), id: count, version: vaultVersion });
const courierFailed = z.strictObject({
  type: z.literal("courier.failed"),
  id: count,
  fault: z.enum(Object.keys(VAULT_FAULTS) as [VaultFault, ...VaultFault[]]),
  /** An error's code or an HTTP status. */
  detail: z
    .string()
    .regex(/^[A-Za-z0-9_ -]{1,64}$/)
    .nullable(),
});

// ---- ctl -----------------------------------------------------------------------------------------------------------
/** `params` is validated against the command's own schema (ctl.ts) before anything looks at it. */
const ctlRequest = z.strictObject({
  type: z.literal("ctl.request"),
  id: count,
  command: z.string().max(64),
  params: z.record(z.string().max(64), z.unknown()),
});
/** An answer's data is the first part, as JSON; bytes that are no JSON (a run's output) are the second. */
const ctlReply = z.strictObject({
  type: z.literal("ctl.reply"),
  id: count,
  ok: z.boolean(),
  code: z.string().max(64).nullable(),
  detail: z.string().max(4000),
});
/** Live output of `sallyport run`, and what sallyport itself has to say meanwhile. One part. */
const ctlOutput = z.strictObject({
  type: z.literal("ctl.output"),
  id: count,
  stream: z.enum(["stdout", "stderr", "notice"]),
});

export const Message = z.discriminatedUnion("type", [
  hello,
  gatewayConnect,
  gatewayDisconnect,
  slackState,
  slackAlarm,
  slackRequest,
  slackReceipt,
  slackAcked,
  slackRespond,
  slackView,
  slackPost,
  slackUpdate,
  slackPosted,
  runnerTest,
  runnerReady,
  runnerEngines,
  runOrder,
  profileCheck,
  profileChecked,
  runCancel,
  runStarted,
  runOutput,
  runProgress,
  runDenied,
  runSecretSeen,
  runFinished,
  notaryOpen,
  notaryOpened,
  notarySign,
  notarySigned,
  notaryRefused,
  egressGrant,
  egressGranted,
  egressRevoke,
  egressRevoked,
  egressConnection,
  courierLogin,
  courierLogout,
  courierFetch,
  courierLook,
  courierLoggedIn,
  courierFetched,
  courierLooked,
  courierFailed,
  ctlRequest,
  ctlReply,
  ctlOutput,
]);

export type Message = z.infer<typeof Message>;
export type MessageType = Message["type"];
export type MessageOf<T extends MessageType> = Extract<Message, { type: T }>;
