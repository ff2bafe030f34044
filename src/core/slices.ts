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
