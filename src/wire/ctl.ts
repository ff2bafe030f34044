import { z } from "zod";
import { ENGINES } from "../core/engines.ts";
import type { SealState } from "./table.ts";

/** The commands of the admin socket: parameters, the states in which each is answered, and its binary parts. */
const name = z.string().min(1).max(64);
const code = z.string().min(4).max(64);
const opName = z.string().min(1).max(140);
const run = z.string().min(4).max(40);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const uid = z.int().min(0).max(0xfffffffe);
const login = z.string().regex(/^[a-z0-9_][a-z0-9_.-]{0,62}\$?$/i);
const empty = z.strictObject({});
const page = { limit: z.int().min(1).max(1000).optional(), before: z.int().min(0).optional() };

/** "any": a user of that name, else a group. */
const subject = z.strictObject({ kind: z.enum(["user", "group", "any"]), name });

export const LogFilter = z.strictObject({
  person: z.string().max(128).optional(),
  op: opName.optional(),
  namespace: name.optional(),
  run: run.optional(),
  type: z.string().max(64).optional(),
  outcome: z.string().max(20).optional(),
  since: z.int().min(0).optional(),
  until: z.int().min(0).optional(),
  ...page,
});
export type LogFilter = z.infer<typeof LogFilter>;

/** What is absent stays as it is; `expires` in ms since the epoch, null: no date. */
const vaultSource = z.strictObject({
  vault: name,
  path: z.string().max(512),
  key: z.string().max(128),
  version: z.int().min(1).nullable(),
});
const secretAbout = z.strictObject({
  namespace: name,
  name,
  description: z
    .string()
    .max(200)
    .regex(/^[^\p{C}]*$/u)
    .optional(),
  expires: z.int().min(0).max(253_402_300_799_999).nullable().optional(),
});

type CommandRule = { params: z.ZodType; states: readonly SealState[]; parts: readonly [number, number] };

const open = <P extends z.ZodType>(params: P, parts: readonly [number, number] = [0, 0]) =>
  ({ params, states: ["open"], parts }) as const;
const both = <P extends z.ZodType>(params: P, parts: readonly [number, number] = [0, 0]) =>
  ({ params, states: ["sealed", "open"], parts }) as const;

export const COMMANDS = {
  status: both(empty),
  /** Part: the passphrase or recovery code. `slot` names the person's slot; without it every slot of the kind is tried. */
  unlock: both(z.strictObject({ kind: z.enum(["passphrase", "recovery"]), slot: name.optional() }), [1, 1]),
  lock: both(empty),
  doctor: both(empty),

  /** Parts: app token, bot token. */
  "slack.connect": open(empty, [2, 2]),
  "slack.status": both(empty),

  /** `login`: the account's name, for people to read. */
  "user.add": open(z.strictObject({ name, hostUid: uid.optional(), login: login.optional() })),
  "user.list": open(empty),
  "user.show": open(z.strictObject({ name })),
  /** What of theirs is running: goes on (`finish`, also where absent) or is canceled. */
  "user.disable": open(z.strictObject({ name, runs: z.enum(["finish", "kill"]).optional() })),
  "user.enable": open(z.strictObject({ name })),
  "user.host-account": open(
    z.discriminatedUnion("action", [
      z.strictObject({ action: z.literal("add"), name, uid, login }),
      /** `login`: as it was added, or the uid: the host may not have the account any more. */
      z.strictObject({ action: z.literal("remove"), name, login }),
    ]),
  ),
  /** What a link code stands for, to be compared with the person's own member id before `link`. Without a user: the caller's own. */
  "link.show": open(z.strictObject({ code, user: name.optional() })),
  link: open(z.strictObject({ code, user: name })),
  unlink: open(z.strictObject({ team: z.string().max(32).optional(), slackUser: z.string().max(32) })),

  /** Answers with the new secret as bytes, which counts for nothing before a code proved it. */
  "user.totp": open(z.strictObject({ name })),
  "user.totp.prove": open(z.strictObject({ name, code: z.string().max(40) })),
  "user.totp.remove": open(z.strictObject({ name })),

  "group.add": open(z.strictObject({ name })),
  "group.list": open(empty),
  "group.member": open(z.strictObject({ action: z.enum(["add", "remove"]), group: name, user: name })),
  "role.grant": open(
    z.strictObject({ role: z.enum(["admin", "coder", "runner"]), namespace: name, subject }),
  ),
  "role.revoke": open(
    z.strictObject({ role: z.enum(["admin", "coder", "runner"]), namespace: name, subject }),
  ),
  "role.list": open(z.strictObject({ namespace: name.optional() })),
  "namespace.add": open(z.strictObject({ name })),
  "namespace.list": open(empty),
  "namespace.channel": open(
    z.strictObject({ action: z.enum(["add", "remove"]), namespace: name, channel: z.string().max(32) }),
  ),
  "namespace.two-person": open(z.strictObject({ namespace: name, on: z.boolean() })),
  "namespace.engine": open(z.strictObject({ namespace: name, engine: z.enum(ENGINES).nullable() })),

  /** Part: the text. */
  "policy.add": open(z.strictObject({ name, replace: z.boolean() }), [1, 1]),
  "policy.remove": open(z.strictObject({ name })),
  "policy.list": open(empty),
  "policy.show": open(z.strictObject({ name })),
  /** May this person do that there? Nothing is done. */
  "policy.check": open(
    z.strictObject({
      user: name,
      op: opName,
      action: z.enum(["run", "list", "show", "read_log", "publish", "activate", "approve"]),
      /** Whose run would be approved. */
      requester: name.optional(),
      tokens: z.array(z.string().max(32 * 1024)).max(256),
      source: z.enum(["slack", "tty", "schedule"]),
      standing: z.enum(["member", "guest", "bot", "foreign", "deleted", "unknown"]).optional(),
      channel: z.string().max(32).optional(),
      confirmed: z.enum(["none", "totp", "local"]).optional(),
      at: z.int().min(0).optional(),
    }),
  ),
  "policy.explain": open(z.strictObject({ run })),

  /** Part: the secret id, or the token that it is wrapped in. */
  "vault.login": open(
    z.strictObject({ vault: name, roleId: z.string().min(1).max(512), wrapped: z.boolean() }),
    [1, 1],
  ),
  "vault.logout": open(z.strictObject({ vault: name })),
  "vault.list": open(empty),
  /** Would a run get it? The value goes no further than the keeper. */
  "vault.check": open(vaultSource),

  /** Part: the bundle archive. */
  "op.publish": open(
    z.strictObject({
      activate: z.boolean(),
      /** Why what looks like a credential in it is none that matters. */
      allowSecret: z.string().trim().min(3).max(500).optional(),
    }),
    [1, 1],
  ),
  "op.list": open(empty),
  "op.show": open(z.strictObject({ op: opName, version: z.int().min(1).optional() })),
  "op.versions": open(z.strictObject({ op: opName })),
  "op.activate": open(z.strictObject({ op: opName, version: z.int().min(1) })),
  "op.rollback": open(z.strictObject({ op: opName, version: z.int().min(1).optional() })),
  /** Answered with the bundle archive of the version. */
  "op.code": open(z.strictObject({ op: opName, version: z.int().min(1).optional() })),
  "op.disable": open(z.strictObject({ op: opName })),

  /** Part: the value. */
  "secret.set": open(secretAbout, [1, 1]),
  "secret.rotate": open(secretAbout, [1, 1]),
  /** As set, or with `rotate` as rotate: the value stays in an outside vault. */
  "secret.source": open(secretAbout.extend({ rotate: z.boolean(), source: vaultSource })),
  "secret.describe": open(secretAbout),
  "secret.list": open(z.strictObject({ namespace: name.optional() })),
  "secret.versions": open(z.strictObject({ namespace: name, name })),
  "secret.remove": open(z.strictObject({ namespace: name, name })),
  "namespace.rotate-key": open(z.strictObject({ namespace: name })),

  "runtime.set": open(z.strictObject({ name, digest, bytes: z.int().min(0), files: z.int().min(0) })),
  "runtime.list": open(empty),
  "runtime.unused": open(z.strictObject({ digest })),
  "runtime.remove": open(z.strictObject({ name })),

  /** Tokens as typed after the Op's name; output follows as ctl.output, then the reply. */
  run: open(
    z.strictObject({
      op: opName,
      tokens: z.array(z.string().max(32 * 1024)).max(256),
      /** Why it has to go without its approvals. */
      breakGlass: z.string().trim().min(3).max(500).optional(),
    }),
  ),
  /** What a run waits for, and what would run: shown before it is approved. */
  "run.waiting": open(z.strictObject({ run })),
  /** `digest`: what the person was shown. */
  "run.approve": open(z.strictObject({ run, digest })),
  "run.deny": open(z.strictObject({ run })),
  "run.cancel": open(z.strictObject({ run })),
  /** `before`: a run's id; only older ones. */
  "run.list": open(z.strictObject({ limit: page.limit, before: run.optional() })),
  "run.show": open(z.strictObject({ run })),

  "audit.log": open(LogFilter),
  "audit.verify": open(empty),
  "audit.checkpoint": open(empty),
  /** The log up to its newest checkpoint is going to be taken out; `format` for the log. */
  "audit.export": open(z.strictObject({ format: z.enum(["tiles", "jsonl", "ecs", "ocsf", "cef"]) })),
  /** Entries [from, to) as a bundle, at most 256. */
  "audit.entries": open(z.strictObject({ from: z.int().min(0), to: z.int().min(1) })),
  /** Answered with the entry's bytes. */
  "audit.prove": open(z.strictObject({ index: z.int().min(0) })),
} as const satisfies Record<string, CommandRule>;

export type Command = keyof typeof COMMANDS;
export type CommandParams<C extends Command> = z.infer<(typeof COMMANDS)[C]["params"]>;
