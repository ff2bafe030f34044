import type { PolicyJson } from "./cedar.ts";

/**
 * The namespace that a policy can concern at all, as its scope says; null: any. A decision about another namespace can leave the
 * policy out, since its scope can't match there: an Op, a run and a namespace are in that namespace alone.
 */
export function namespaceOf({ resource }: Pick<PolicyJson, "resource">): string | null {
  if (resource.op === "All") return null;
  const entity = resource.op === "==" ? ("entity" in resource ? resource.entity : null) : inEntity(resource);
  if (entity === null) return null;
  const { type, id } = "__entity" in entity ? entity.__entity : entity;
  if (type === "Namespace") return id;
  return type === "Op" ? (id.split("/")[0] ?? null) : null;
}

function inEntity(resource: Exclude<PolicyJson["resource"], { op: "All" } | { op: "==" }>) {
  if (resource.op === "in") return "entity" in resource ? resource.entity : null;
  return resource.in !== undefined && "entity" in resource.in ? resource.in.entity : null;
}

/** The Ops that a policy names, in its scope or its conditions: only for these can it tell one Op from another that has the same attributes. */
export function opsNamedIn(policy: PolicyJson): string[] {
  const named = new Set<string>();
  const look = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if ("type" in value && value.type === "Op" && "id" in value && typeof value.id === "string")
      named.add(value.id);
    for (const inner of Object.values(value)) look(inner);
  };
  look(policy);
  return [...named];
}

/** The one Op that a policy's scope names with `==`; null: it can concern others too. */
export function opOf({ resource }: Pick<PolicyJson, "resource">): string | null {
  if (resource.op !== "==" || !("entity" in resource)) return null;
  const { type, id } = "__entity" in resource.entity ? resource.entity.__entity : resource.entity;
  return type === "Op" ? id : null;
}

/** The arguments that a policy's conditions read; null: any, since it takes all of them, or the whole context, as one value. */
export function argsReadBy({ conditions }: Pick<PolicyJson, "conditions">): string[] | null {
  const names = new Set<string>();
  let all = false;
  // What `value` takes an attribute of, with its name: {"." or "has": {left, attr}}.
  const member = (value: object): { left: unknown; attr: unknown } | null => {
    const [key, inner] = Object.entries(value)[0] ?? [];
    return (key === "." || key === "has") && typeof inner === "object" && inner !== null && "attr" in inner
      ? { left: "left" in inner ? inner.left : null, attr: inner.attr }
      : null;
  };
  const isContext = (value: unknown) =>
    typeof value === "object" && value !== null && "Var" in value && value.Var === "context";
  const isArgs = (value: unknown): boolean => {
    if (typeof value !== "object" || value === null) return false;
    const read = member(value);
    return read !== null && read.attr === "args" && isContext(read.left);
  };
  const look = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    const read = member(value);
    if (read !== null && isArgs(read.left)) names.add(String(read.attr));
    else if (isArgs(value) || isContext(value)) all = true;
    else if (read !== null && isContext(read.left)) return;
    else for (const inner of Object.values(value)) look(inner);
  };
  look(conditions);
  return all ? null : [...names];
}
