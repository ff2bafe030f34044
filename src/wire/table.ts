import type { MessageType } from "./messages.ts";

export type Role = "keeper" | "gateway" | "runner" | "notary" | "egress" | "courier" | "ctl";
export type SealState = "sealed" | "open";

/** Who may send a message to whom, in which state of the keeper, with how many binary parts of which size. */
export type Rule = {
  from: Role | "role";
  to: Role;
  states: readonly SealState[];
  parts: readonly [min: number, max: number];
  partBytes: number;
};

const BOTH = ["sealed", "open"] as const;
const OPEN = ["open"] as const;
const KIB = 1024;
const MIB = 1024 * KIB;

const none = (from: Rule["from"], to: Role, states: readonly SealState[]): Rule => ({
  from,
  to,
  states,
  parts: [0, 0],
  partBytes: 0,
});

/** What is not in this table ends the connection and is a security event (the model is OpenSSH's monitor dispatch table). */
export const TABLE: Readonly<Record<MessageType, Rule>> = {
  "role.hello": none("role", "keeper", BOTH),

  "gateway.connect": { from: "keeper", to: "gateway", states: OPEN, parts: [2, 2], partBytes: 4 * KIB },
  "gateway.disconnect": none("keeper", "gateway", OPEN),
  "slack.state": none("gateway", "keeper", OPEN),
  "slack.alarm": none("gateway", "keeper", OPEN),
  "slack.request": none("gateway", "keeper", OPEN),
  "slack.receipt": none("keeper", "gateway", OPEN),
  "slack.acked": none("gateway", "keeper", OPEN),
  "slack.respond": { from: "keeper", to: "gateway", states: OPEN, parts: [0, 8], partBytes: 64 * KIB },
  "slack.view": none("keeper", "gateway", OPEN),
  "slack.post": { from: "keeper", to: "gateway", states: OPEN, parts: [0, 8], partBytes: 64 * KIB },
  "slack.update": { from: "keeper", to: "gateway", states: OPEN, parts: [0, 8], partBytes: 64 * KIB },
  "slack.posted": none("gateway", "keeper", OPEN),

  "runner.test": none("keeper", "runner", BOTH),
  "runner.ready": none("runner", "keeper", BOTH),
  "runner.engines": none("runner", "keeper", BOTH),
  "run.order": { from: "keeper", to: "runner", states: OPEN, parts: [1, 33], partBytes: 16 * MIB },
  "profile.check": { from: "keeper", to: "runner", states: OPEN, parts: [1, 1], partBytes: 256 * KIB },
  "profile.checked": none("runner", "keeper", OPEN),
  "run.cancel": none("keeper", "runner", OPEN),
  "run.started": none("runner", "keeper", OPEN),
  "run.output": { from: "runner", to: "keeper", states: OPEN, parts: [1, 1], partBytes: 64 * KIB },
  "run.progress": none("runner", "keeper", OPEN),
  "run.denied": none("runner", "keeper", OPEN),
  "run.secret_seen": none("runner", "keeper", OPEN),
  "run.finished": none("runner", "keeper", OPEN),

  "notary.open": { from: "keeper", to: "notary", states: OPEN, parts: [1, 1], partBytes: 64 },
  "notary.opened": none("notary", "keeper", OPEN),
  "notary.sign": none("keeper", "notary", OPEN),
  "notary.signed": none("notary", "keeper", OPEN),
  "notary.refused": none("notary", "keeper", OPEN),

  "egress.grant": none("keeper", "egress", OPEN),
  "egress.revoke": none("keeper", "egress", OPEN),
  // A run's last connections are told of when it has ended, which may be while a lock is under way.
  "egress.granted": none("egress", "keeper", BOTH),
  "egress.revoked": none("egress", "keeper", BOTH),
  "egress.connection": none("egress", "keeper", BOTH),

  "courier.login": { from: "keeper", to: "courier", states: OPEN, parts: [1, 1], partBytes: 4 * KIB },
  "courier.logout": none("keeper", "courier", OPEN),
  "courier.fetch": none("keeper", "courier", OPEN),
  "courier.look": none("keeper", "courier", OPEN),
  // What was asked before a lock may be answered while it is under way.
  "courier.logged_in": { from: "courier", to: "keeper", states: BOTH, parts: [0, 1], partBytes: 4 * KIB },
  "courier.fetched": { from: "courier", to: "keeper", states: BOTH, parts: [1, 1], partBytes: 64 * KIB },
  "courier.looked": none("courier", "keeper", BOTH),
  "courier.failed": none("courier", "keeper", BOTH),

  "ctl.request": { from: "ctl", to: "keeper", states: BOTH, parts: [0, 2], partBytes: 16 * MIB },
  "ctl.reply": { from: "keeper", to: "ctl", states: BOTH, parts: [0, 2], partBytes: 16 * MIB },
  "ctl.output": { from: "keeper", to: "ctl", states: OPEN, parts: [1, 1], partBytes: 64 * KIB },
};

/** Why a message may not be sent, or null when it may. `state` is null where the receiver can't know the keeper's state. */
export function refusal(
  type: MessageType,
  from: Role,
  to: Role,
  state: SealState | null,
  parts: readonly { length: number }[],
): string | null {
  const rule = TABLE[type];
  const fromRole = rule.from === "role" ? from !== "ctl" && from !== "keeper" : rule.from === from;
  if (!fromRole || rule.to !== to) return `${from} may not send ${type} to ${to}`;
  if (state !== null && !rule.states.includes(state)) return `${type} is not allowed while ${state}`;
  if (parts.length < rule.parts[0] || parts.length > rule.parts[1])
    return `${type} with ${parts.length} parts`;
  for (const part of parts)
    if (part.length > rule.partBytes) return `${type} with a part of ${part.length} bytes`;
  return null;
}
