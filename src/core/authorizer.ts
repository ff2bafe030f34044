import type { Args } from "./args.ts";
import { type EntityUidJson, type StatefulAuthorizationCall, statefulIsAuthorized } from "./cedar.ts";
import { contextOf, entitiesOf, principalOf, resourceOf } from "./entities.ts";
import type { ChannelKind, Role, SlackIdentity } from "./identity.ts";
import { mistypedArgs, readsAny } from "./mistyped.ts";
import type { Obligation } from "./obligations.ts";
import {
  type ArgTypes,
  DEFAULT_DENY,
  NO_CONTEXT,
  type PolicyInfo,
  type PolicySource,
  readPolicies,
  schemaWith,
} from "./policies.ts";
import { OBLIGATIONS, type Part, PolicyParts } from "./policy-parts.ts";
import { defaultReason } from "./reasons.ts";

export { type ArgTypes, argTypesOf, type PolicyInfo, type PolicySource } from "./policies.ts";

export interface RoleGrant {
  readonly role: Role;
  /** A namespace's name, or "*" for all. */
  readonly namespace: string;
}
export interface UserRow {
  readonly name: string;
  readonly disabled: boolean;
  readonly roles: readonly RoleGrant[];
  readonly groups: readonly { readonly name: string; readonly roles: readonly RoleGrant[] }[];
}
export interface NamespaceRow {
  readonly name: string;
  /** Slack channel ids from which its Ops may be used; "any": all. An empty list: none. */
  readonly channels: readonly string[] | "any";
  /** Whether who published a version may not activate it; absent: they may. */
  readonly twoPersonPublish?: boolean;
}
export interface OpRow {
  /** "namespace/name" */
  readonly name: string;
  /** The manifest's `channels`; null: every channel of the namespace. */
  readonly channels: readonly string[] | null;
  readonly confirm: "none" | "totp" | "local";
  readonly disabled: boolean;
  /** The manifest's network targets, as written there without `tls://`; absent: none. */
  readonly network?: readonly string[];
  /** "name:mode" of what of the host it asks for; see core/resources. */
  readonly resources?: readonly string[];
  /** Name of the imported root file system that it asks for; absent: the host's own. */
  readonly root?: string | undefined;
  /** What starts it, where its namespace or its manifest says; absent: the host's default. */
  readonly engine?: string | undefined;
  /** Name of the local user who published the version that is asked about. */
  readonly publisher?: string | undefined;
}

/** Each action and the kinds of resource that it is asked about. */
export const ACTIONS = {
  run: ["op"],
  list: ["op"],
  activate: ["op"],
  read_code: ["op"],
  publish: ["op", "namespace"],
  show: ["op", "run"],
  read_log: ["op", "run", "namespace", "appliance"],
  approve: ["run"],
  cancel: ["run"],
  manage_secret: ["namespace"],
  grant: ["namespace", "appliance"],
  administer: ["namespace", "appliance"],
  link: ["user"],
  enrol: ["user"],
  status: ["appliance"],
  help: ["appliance"],
  whoami: ["appliance"],
  request_link: ["appliance"],
} as const satisfies Record<string, readonly Resource["kind"][]>;
export type Action = keyof typeof ACTIONS;

export type Principal =
  | { readonly kind: "user"; readonly user: UserRow }
  | { readonly kind: "unlinked"; readonly identity: SlackIdentity };

export type Resource =
  | { readonly kind: "op"; readonly op: OpRow; readonly namespace: NamespaceRow }
  | {
      readonly kind: "run";
      readonly id: string;
      /** Name of the local user who asked for the run. */
      readonly requester: string;
      /** Name of the local user who published the version that runs. */
      readonly publisher: string;
      /** The groups whose approval it waits for, or waited for. */
      readonly approvers: readonly string[];
      readonly op: OpRow;
      readonly namespace: NamespaceRow;
    }
  | { readonly kind: "namespace"; readonly namespace: NamespaceRow }
  | { readonly kind: "user"; readonly name: string }
  | { readonly kind: "appliance" };

export type OpResource = Extract<Resource, { kind: "op" }>;

export interface AuthContext {
  readonly source: "slack" | "tty" | "schedule";
  /** What Slack says of the person (users.info); "host" outside Slack. */
  readonly standing: "host" | "member" | "guest" | "bot" | "foreign" | "deleted" | "unknown";
  readonly channel: { readonly id: string; readonly kind: ChannelKind } | null;
  readonly args?: Args;
  readonly confirmation?: "none" | "totp" | "local";
  /** true for the check just before a run starts, when its confirmation must have been reached. */
  readonly launch?: boolean;
  /** true where an admin asks for a run without the approvals that it needs. */
  readonly breakGlass?: boolean;
  /** Unix time in ms. */
  readonly time: number;
}

export interface AuthRequest {
  readonly principal: Principal;
  readonly action: Action;
  readonly resource: Resource;
  readonly context: AuthContext;
}

export interface Decision {
  readonly allow: boolean;
  /** What decided, never empty: policy ids, or "default-deny", or "no-context" where the request itself was wrong. */
  readonly policies: string[];
  /** The sentence for the person; "" when allowed. */
  readonly reason: string;
  /** What policies ask for before a run that is allowed starts, in the order of the policies; never for another action. */
  readonly obligations: readonly Obligation[];
}

export interface Authorizer {
  /** Never throws: whatever goes wrong is a refusal. */
  authorize(request: AuthRequest): Decision;
  /** Those of the Ops for which `authorize` would allow it. Ops that no policy can tell apart are decided once. */
  allowedOps<T extends Pick<OpResource, "op" | "namespace">>(
    request: Omit<AuthRequest, "resource">,
    ops: readonly T[],
  ): T[];
  /** Other policies or argument types, validated; they count once the answer is called. Throws `policy_invalid`. */
  prepare(change: { policies?: readonly PolicySource[]; argTypes?: ArgTypes }): () => void;
  /** As `prepare`, at once: all or nothing. */
  replace(change: { policies?: readonly PolicySource[]; argTypes?: ArgTypes }): void;
  policies(): readonly PolicyInfo[];
}

export interface AuthorizerOptions {
  /** Text of sallyport.cedarschema. */
  readonly schema: string;
  readonly policies: readonly PolicySource[];
  readonly argTypes?: ArgTypes;
  /** One that is made again under the same name takes the place, and the memory, of the one before it. */
  readonly name?: string;
}

const NOT_ASKED = "The policies could not be asked, so the answer is no. An admin finds more in the log.";
const ACTION_NAMES = Object.keys(ACTIONS) as Action[];

// Cedar keeps what it has parsed under a name, for the whole process.
let created = 0;

/** Parses and validates everything once. Throws `policy_invalid`, naming the source and the policy. */
export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const id = options.name ?? `sallyport-${created++}`;
  let sources = options.policies;
  let argTypes = options.argTypes ?? {};
  let infos: PolicyInfo[] = [];
  let order = new Map<string, number>();

  const parts = new PolicyParts(id);

  const prepare: Authorizer["prepare"] = (change) => {
    const nextSources = change.policies ?? sources;
    const nextTypes = change.argTypes ?? argTypes;
    const next = readPolicies(schemaWith(options.schema, nextTypes), nextSources);
    return () => {
      infos = next;
      order = new Map(next.map((policy, i) => [policy.id, i]));
      sources = nextSources;
      argTypes = nextTypes;
      parts.load(next, [...ACTION_NAMES, OBLIGATIONS]);
    };
  };
  prepare({})();

  const mistyped = (part: Part, { resource, context }: AuthRequest): string[] => {
    if (!("op" in resource) || context.args === undefined) return [];
    const { op, namespace } = resource;
    const other = mistypedArgs(context.args, argTypes);
    if (other.length === 0) return [];
    return parts
      .about(part, namespace.name)
      .filter((policy) => (policy.op === null || policy.op === op.name) && readsAny(policy, other))
      .map(({ id }) => id);
  };

  const decide = (request: AuthRequest): Decision => {
    const { action, resource } = request;
    if (!(ACTIONS[action] as readonly string[] | undefined)?.includes(resource.kind)) {
      return deny([NO_CONTEXT], `${action} is nothing that can be asked about this.`);
    }
    if ((resource.kind === "op" || resource.kind === "run") && !belongs(resource)) {
      return deny([NO_CONTEXT], "The Op does not belong to the namespace that it was asked with.");
    }
    const uid = (type: string, name: string): EntityUidJson => ({ type, id: name });
    const call = {
      principal: principalOf(request.principal),
      action: uid("Action", action),
      resource: resourceOf(resource),
      context: contextOf(request.context, argTypes),
      entities: entitiesOf(request),
      validateRequest: false,
    };
    const namespace = "namespace" in resource ? resource.namespace.name : null;
    const answer = askAll(call, parts.setsFor(action, namespace));
    if (answer === null) return deny([NO_CONTEXT], NOT_ASKED);
    const inOrder = (ids: string[]) => ids.toSorted((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
    if (answer.forbids.length > 0) {
      const decided = inOrder(answer.forbids);
      const reason = infos[order.get(decided[0] ?? "") ?? -1]?.reason ?? "";
      return deny(decided, reason === "" ? `The policy ${decided[0]} forbids it.` : reason);
    }
    const failed = [...answer.failed, ...mistyped(action, request)];
    if (failed.length > 0) return denyFailed(failed);
    const decided = inOrder(answer.permits);
    if (decided.length === 0) return deny([DEFAULT_DENY], defaultReason(request));
    if (action !== "run" || parts.isEmpty(OBLIGATIONS))
      return { allow: true, policies: decided, reason: "", obligations: [] };
    const first = askAll(call, parts.setsFor(OBLIGATIONS, namespace));
    if (first === null) return deny([NO_CONTEXT], NOT_ASKED);
    const unasked = [...first.failed, ...mistyped(OBLIGATIONS, request)];
    if (unasked.length > 0) return denyFailed(unasked);
    const matched = new Set(first.forbids);
    const obligations = infos.flatMap((policy) =>
      policy.obligation !== null && matched.has(policy.id) ? [policy.obligation] : [],
    );
    return { allow: true, policies: decided, reason: "", obligations };
  };

  const authorize = (request: AuthRequest): Decision => {
    try {
      return decide(request);
    } catch {
      return deny([NO_CONTEXT], "The request could not be put to the policies, so the answer is no.");
    }
  };

  return {
    authorize,
    allowedOps: (request, ops) => {
      const named = new Set(infos.flatMap((policy) => policy.ops));
      const known = new Map<string, boolean>();
      return ops.filter(({ op, namespace }) => {
        const alike = belongs({ op, namespace }) && !named.has(op.name);
        const key = JSON.stringify([namespace, alike ? { ...op, name: "" } : op]);
        const before = known.get(key);
        if (before !== undefined) return before;
        const { allow } = authorize({ ...request, resource: { kind: "op", op, namespace } });
        known.set(key, allow);
        return allow;
      });
    },
    prepare,
    replace: (change) => prepare(change)(),
    policies: () => infos,
  };
}

type Question = Omit<StatefulAuthorizationCall, "preparsedPolicySetId">;

/** The answers of several sets as one set of all their policies would answer; null where Cedar could not be asked. */
function askAll(
  call: Question,
  sets: readonly string[],
): Record<"forbids" | "permits" | "failed", string[]> | null {
  const all = { forbids: [] as string[], permits: [] as string[], failed: [] as string[] };
  for (const preparsedPolicySetId of sets) {
    const answer = statefulIsAuthorized({ ...call, preparsedPolicySetId });
    if (answer.type === "failure") return null;
    const { decision, diagnostics } = answer.response;
    (decision === "allow" ? all.permits : all.forbids).push(...diagnostics.reason);
    all.failed.push(...diagnostics.errors.map(({ policyId }) => policyId));
  }
  return all;
}

// A caller that pairs an Op with another namespace's row would have that namespace's roles decide.
const belongs = ({ op, namespace }: { op: OpRow; namespace: NamespaceRow }): boolean =>
  op.name.startsWith(`${namespace.name}/`);

const deny = (policies: string[], reason: string): Decision => ({
  allow: false,
  policies,
  reason,
  obligations: [],
});

/** Cedar leaves out a policy that fails to evaluate, a forbid as well; here it is a refusal. */
function denyFailed(ids: readonly string[]): Decision {
  const failed = [...new Set(ids)].sort();
  return deny(failed, `The policy ${failed[0]} could not be evaluated, so the answer is no.`);
}
