import {
  type ActionConstraint,
  type EntityUidJson,
  policySetTextToParts,
  policyToJson,
  validate,
} from "./cedar.ts";
import { SallyportError } from "./errors.ts";
import { isName } from "./identity.ts";
import type { Manifest } from "./manifest.ts";
import { type Obligation, obligationOf } from "./obligations.ts";
import { POLICY_TEXT_MAX } from "./policy-limits.ts";
import { argsReadBy, namespaceOf, opOf, opsNamedIn } from "./slices.ts";

/** Text of Cedar policies and the name a person knows it by (a file's, or a site policy's). */
export interface PolicySource {
  readonly name: string;
  readonly text: string;
}

export interface PolicyInfo {
  readonly id: string;
  readonly effect: "permit" | "forbid";
  /** The sentence for the person, from `@reason`; "" when it has none. */
  readonly reason: string;
  readonly source: string;
  readonly text: string;
  /** The actions that its scope names; null: every action. */
  readonly actions: readonly string[] | null;
  /** The one namespace that it can concern, as its scope says; null: any, or none. */
  readonly namespace: string | null;
  /** The one Op that it can concern; null: others too. */
  readonly op: string | null;
  /** The arguments that it reads; null: all of them. */
  readonly args: readonly string[] | null;
  /** The Ops that it names. */
  readonly ops: readonly string[];
  /** What it asks for before the run starts, instead of forbidding it; null: an ordinary policy. */
  readonly obligation: Obligation | null;
}

/** Input name to type, over all active Ops: what `context.args` may hold. */
export type ArgTypes = Readonly<Record<string, "string" | "integer" | "number" | "boolean">>;

export const POLICY_LIMITS = { text: POLICY_TEXT_MAX, policies: 5000 } as const;

const CEDAR_TYPES = { string: "String", integer: "Long", number: "decimal", boolean: "Bool" } as const;
const ARGS_LINE = /^type Args = \{\};$/m;

const bad = (detail: string, cause?: unknown): SallyportError =>
  new SallyportError("policy_invalid", detail, { cause });

/**
 * The union of the Ops' inputs. Two Ops may type one name differently: the one that comes first counts, and a
 * policy that meets the other type fails to evaluate, which is a refusal.
 */
export function argTypesOf(manifests: Iterable<Manifest>): ArgTypes {
  const types = new Map<string, ArgTypes[string]>();
  for (const { inputs } of manifests) {
    for (const { name, type } of inputs) if (!types.has(name)) types.set(name, type);
  }
  return Object.fromEntries(types);
}

/** The schema with `Args` filled in. */
export function schemaWith(schema: string, argTypes: ArgTypes): string {
  if (!ARGS_LINE.test(schema)) throw bad("The schema lacks its line: type Args = {};");
  const members = Object.entries(argTypes).map(([name, type]) => {
    if (!isName("input", name)) throw bad(`${JSON.stringify(name)} is no input's name.`);
    return `  "${name}"?: ${CEDAR_TYPES[type]},`;
  });
  return schema.replace(ARGS_LINE, () => `type Args = {\n${members.join("\n")}\n};`);
}

/** Splits the texts, asks each policy for an `@id` of its own, and validates all against the schema. */
export function readPolicies(schema: string, sources: readonly PolicySource[]): PolicyInfo[] {
  const found: PolicyInfo[] = [];
  for (const source of sources) found.push(...readSource(source));
  if (found.length > POLICY_LIMITS.policies)
    throw bad(`There are more than ${POLICY_LIMITS.policies} policies.`);
  const byId = new Map<string, PolicyInfo>();
  for (const policy of found) {
    const other = byId.get(policy.id);
    if (other !== undefined) {
      throw bad(`${policy.source}: the id "${policy.id}" is used already, in ${other.source}.`);
    }
    byId.set(policy.id, policy);
  }
  const answer = validate({ schema, policies: { staticPolicies: textsById(found) } });
  if (answer.type === "failure") throw bad(sentence("", answer.errors[0]));
  // Cedar tells of them in any order.
  const faults = new Map(answer.validationErrors.map((fault) => [fault.policyId, fault]));
  const fault = faults.get(found.find(({ id }) => faults.has(id))?.id ?? "") ?? answer.validationErrors[0];
  if (fault !== undefined) {
    throw bad(sentence(`${byId.get(fault.policyId)?.source ?? "?"}, policy ${fault.policyId}`, fault.error));
  }
  return found;
}

export function textsById(policies: readonly PolicyInfo[]): Record<string, string> {
  return Object.fromEntries(policies.map(({ id, text }) => [id, text]));
}

/** The policies of one text, not validated against the schema. Throws `policy_invalid`. */
export function readSource({ name, text }: PolicySource): PolicyInfo[] {
  if (text.length > POLICY_LIMITS.text)
    throw bad(`${name}: is longer than ${POLICY_LIMITS.text} characters.`);
  const parts = policySetTextToParts(text);
  if (parts.type === "failure") throw bad(sentence(name, parts.errors[0]));
  if (parts.policy_templates.length > 0)
    throw bad(`${name}: templates (?principal, ?resource) are not used here.`);
  return parts.policies.map((policyText) => {
    const answer = policyToJson(policyText);
    if (answer.type === "failure") throw bad(sentence(name, answer.errors[0]));
    const { effect, annotations, action } = answer.json;
    const namespace = namespaceOf(answer.json);
    const id = annotations?.id;
    if (id === undefined) throw bad(`${name}: a policy lacks its @id("...").`);
    if (!isName("policy", id))
      throw bad(`${name}: ${JSON.stringify(id)} is no policy id (a-z, 0-9, '-', '_').`);
    if (RESERVED.includes(id)) throw bad(`${name}: the id "${id}" is reserved.`);
    const actions = actionsOf(action);
    const obligation = obligationOf(`${name}, policy ${id}`, id, annotations ?? {});
    // Read without its annotations it still refuses.
    if (obligation !== null && !(effect === "forbid" && actions?.length === 1 && actions[0] === "run"))
      throw bad(
        `${name}, policy ${id}: what asks for an approval or a confirmation is a forbid of Action::"run" alone.`,
      );
    return {
      id,
      effect,
      reason: annotations?.reason ?? "",
      source: name,
      text: policyText,
      actions,
      namespace,
      op: opOf(answer.json),
      args: argsReadBy(answer.json),
      ops: opsNamedIn(answer.json),
      obligation,
    };
  });
}

function actionsOf(scope: ActionConstraint): string[] | null {
  if (scope.op === "All") return null;
  if (scope.op === "==") return "entity" in scope ? [idOf(scope.entity)] : null;
  return "entities" in scope ? scope.entities.map(idOf) : [idOf(scope.entity)];
}

const idOf = (entity: EntityUidJson): string => ("__entity" in entity ? entity.__entity.id : entity.id);

/** Ids that a decision names where no policy decided. */
export const DEFAULT_DENY = "default-deny";
export const NO_CONTEXT = "no-context";
const RESERVED: readonly string[] = [DEFAULT_DENY, NO_CONTEXT];

function sentence(where: string, error: { message: string; help: string | null } | undefined): string {
  const text = `${error?.message ?? "unknown fault"}${error?.help ? ` (${error.help})` : ""}`;
  const line = text.replace(/\s+/g, " ").slice(0, 300);
  return where === "" ? line : `${where}: ${line}`;
}
