import type { Args } from "./args.ts";
import type { ArgTypes, PolicyInfo } from "./policies.ts";

/**
 * Ids of the policies that read an argument whose type here is another than the one which they were validated with. Cedar holds
 * `3 == "3"` for false, not for an error, so that an Op which types an input of that name otherwise would slip past a rule about it.
 */
export function readMistyped(policies: readonly PolicyInfo[], args: Args, types: ArgTypes): string[] {
  const other = Object.keys(args).filter((name) => !fits(args[name], types[name]));
  if (other.length === 0) return [];
  return policies
    .filter((policy) => policy.args === null || policy.args.some((name) => other.includes(name)))
    .map(({ id }) => id);
}

/** A name that no type is known of is one that no policy could be validated to read. */
function fits(value: Args[string] | undefined, type: ArgTypes[string] | undefined): boolean {
  if (type === undefined || value === undefined) return true;
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}
