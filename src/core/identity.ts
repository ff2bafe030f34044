import { SallyportError } from "./errors.ts";

/**
 * Who somebody is in Slack: the ids alone. A display name, handle or e-mail is never part of it, because the
 * person can set those. `team` is the person's own workspace, which on a shared channel differs from ours; within an Enterprise
 * organisation it tells where they were seen, since `enterprise` and `user` say there who they are, and where Slack names no
 * workspace it is the organisation's id.
 */
export interface SlackIdentity {
  readonly enterprise: string | null;
  readonly team: string;
  readonly user: string;
}

export const ROLES = ["admin", "coder", "runner"] as const;
export type Role = (typeof ROLES)[number];
/** A role in "*" counts in every namespace; admin in "*" is the admin of the appliance. */
export const ANY_NAMESPACE = "*";

export type ChannelKind = "channel" | "dm" | "group";

const ID_TAIL = "[A-Z0-9]{2,31}";
const TEAM = new RegExp(`^T${ID_TAIL}$`);
const SLACK_USER = new RegExp(`^[UW]${ID_TAIL}$`);
const ENTERPRISE = new RegExp(`^E${ID_TAIL}$`);
const CHANNEL = new RegExp(`^[CDG]${ID_TAIL}$`);

const is = (form: RegExp, value: unknown): value is string => typeof value === "string" && form.test(value);
export const isTeamId = (value: unknown): value is string => is(TEAM, value);
export const isSlackUserId = (value: unknown): value is string => is(SLACK_USER, value);
const isEnterpriseId = (value: unknown): value is string => is(ENTERPRISE, value);
export const isChannelId = (value: unknown): value is string => is(CHANNEL, value);

/** By the id's first letter; C is a channel (private ones too), G an older private channel or a group message. */
export function channelKindOf(id: string): ChannelKind {
  if (!isChannelId(id)) throw new SallyportError("input_invalid", `${show(id)} is not a Slack channel id.`);
  return id.startsWith("D") ? "dm" : id.startsWith("G") ? "group" : "channel";
}

/** `enterprise` may be absent, null or "" (Slack sends all three); `team` and `user` must be ids. */
export function parseSlackIdentity(value: unknown): SlackIdentity {
  if (typeof value !== "object" || value === null) {
    throw new SallyportError("input_invalid", "A Slack identity needs a team and a user id.");
  }
  const { enterprise, team, user } = value as Record<string, unknown>;
  const outer = enterprise === undefined || enterprise === null || enterprise === "" ? null : enterprise;
  if (outer !== null && !isEnterpriseId(outer)) {
    throw new SallyportError("input_invalid", `${show(outer)} is not a Slack enterprise id (E...).`);
  }
  if (!isTeamId(team) && !(team === outer && isEnterpriseId(team)))
    throw new SallyportError("input_invalid", `${show(team)} is not a Slack team id (T...).`);
  if (!isSlackUserId(user)) {
    throw new SallyportError("input_invalid", `${show(user)} is not a Slack user id (U... or W...).`);
  }
  return { enterprise: outer, team, user };
}

/** The three ids in one word. No id can hold "/" or be "-", so two identities never share a key. */
export function identityKey(identity: SlackIdentity): string {
  const { enterprise, team, user } = parseSlackIdentity(identity);
  return `${enterprise ?? "-"}/${team}/${user}`;
}

const NAMES = {
  user: [/^[a-z][a-z0-9._-]{0,31}$/, "a-z, 0-9, '.', '_' or '-', at most 32, the first a letter"],
  group: [/^[a-z][a-z0-9_-]{0,39}$/, "a-z, 0-9, '_' or '-', at most 40, the first a letter"],
  namespace: [/^[a-z][a-z0-9_-]{0,39}$/, "a-z, 0-9, '_' or '-', at most 40, the first a letter"],
  op: [/^[a-z][a-z0-9_-]{0,39}$/, "a-z, 0-9, '_' or '-', at most 40, the first a letter"],
  resource: [/^[a-z][a-z0-9_-]{0,39}$/, "a-z, 0-9, '_' or '-', at most 40, the first a letter"],
  runtime: [/^[a-z][a-z0-9._-]{0,39}$/, "a-z, 0-9, '.', '_' or '-', at most 40, the first a letter"],
  policy: [/^[a-z][a-z0-9_-]{0,63}$/, "a-z, 0-9, '_' or '-', at most 64, the first a letter"],
  secret: [/^[A-Z][A-Z0-9_]{0,63}$/, "A-Z, 0-9 or '_', at most 64, the first a letter"],
  input: [/^[a-z][a-z0-9_]{0,31}$/, "a-z, 0-9 or '_', at most 32, the first a letter"],
} as const satisfies Record<string, readonly [RegExp, string]>;

export type NameKind = keyof typeof NAMES;

export function isName(kind: NameKind, value: unknown): value is string {
  return is(NAMES[kind][0], value);
}

/** Returns the name, or throws `input_invalid` saying which form it should have. */
export function checkName(kind: NameKind, value: unknown): string {
  if (isName(kind, value)) return value;
  throw new SallyportError(
    "input_invalid",
    `${show(value)} is no ${kind} name; it is made of ${NAMES[kind][1]}.`,
  );
}

/** "web/restart", or "restart" alone, whose namespace the caller has to find. */
export function parseOpRef(value: unknown): { namespace: string | null; name: string } {
  if (typeof value !== "string") throw new SallyportError("input_invalid", "An Op is named NAMESPACE/OP.");
  const parts = value.split("/");
  if (parts.length > 2)
    throw new SallyportError("input_invalid", `${show(value)} names no Op; write NAMESPACE/OP.`);
  const [first, second] = parts;
  if (second === undefined) return { namespace: null, name: checkName("op", first) };
  return { namespace: checkName("namespace", first), name: checkName("op", second) };
}

// What is refused is quoted back, so it must be short and unable to act where it is shown.
function show(value: unknown): string {
  const text = typeof value === "string" ? value : value === undefined ? "nothing" : typeof value;
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text).replace(
    /[^\x20-\x7e]/gu,
    (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`,
  );
}
