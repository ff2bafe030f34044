import { readFileSync } from "node:fs";
import {
  type Action,
  type ArgTypes,
  type AuthContext,
  type Authorizer,
  type AuthRequest,
  createAuthorizer,
  type NamespaceRow,
  type OpRow,
  type PolicySource,
  type Resource,
  type RoleGrant,
  type UserRow,
} from "../../src/core/authorizer.ts";

const file = (name: string): string =>
  readFileSync(new URL(`../../policies/authorization/${name}`, import.meta.url), "utf8");
export const SCHEMA = file("sallyport.cedarschema");
export const DEFAULTS: PolicySource[] = ["limits.cedar", "roles.cedar"].map((name) => ({
  name,
  text: file(name),
}));

export const withPolicies = (text: string, argTypes: ArgTypes = {}): Authorizer =>
  createAuthorizer({ schema: SCHEMA, policies: [...DEFAULTS, { name: "site", text }], argTypes });

export const WEB: NamespaceRow = { name: "web", channels: ["C0WEB", "C0WEB2"] };
export const OP: OpRow = { name: "web/restart", channels: null, confirm: "none", disabled: false };
export const TIME = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

export function user(name: string, roles: RoleGrant[] = [], more: Partial<UserRow> = {}): UserRow {
  return { name, disabled: false, roles, groups: [], ...more };
}

export const SLACK: AuthContext = {
  source: "slack",
  standing: "member",
  channel: { id: "C0WEB", kind: "channel" },
  time: TIME,
};
export const TTY: AuthContext = { source: "tty", standing: "host", channel: null, time: TIME };

export const RESOURCES: Readonly<Record<string, Resource>> = {
  op: { kind: "op", op: OP, namespace: WEB },
  run: {
    kind: "run",
    id: "r-0000000000000000",
    requester: "zoe",
    publisher: "cody",
    approvers: [],
    op: OP,
    namespace: WEB,
  },
  ownRun: {
    kind: "run",
    id: "r-0000000000000001",
    requester: "pat",
    publisher: "cody",
    approvers: [],
    op: OP,
    namespace: WEB,
  },
  namespace: { kind: "namespace", namespace: WEB },
  user: { kind: "user", name: "zoe" },
  self: { kind: "user", name: "pat" },
  appliance: { kind: "appliance" },
};

export function ask(
  who: UserRow,
  action: Action,
  resource: Resource,
  context: Partial<AuthContext> = {},
): AuthRequest {
  return { principal: { kind: "user", user: who }, action, resource, context: { ...SLACK, ...context } };
}
