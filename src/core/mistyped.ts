import type { Args } from "./args.ts";
import type { ArgTypes, PolicyInfo } from "./policies.ts";

/**
 * The arguments whose type here is another than the one that policies were validated with. Cedar holds `3 == "3"` for false, not for
 * an error, so that an Op which types an input of that name otherwise would slip past a rule about it.
 */
export function mistypedArgs(args: Args, types: ArgTypes): string[] {
  return Object.keys(args).filter((name) => !fits(args[name], types[name]));
}

export const readsAny = (policy: Pick<PolicyInfo, "args">, names: readonly string[]): boolean =>
  policy.args === null || policy.args.some((name) => names.includes(name));

/** A name that no type is known of is one that no policy could be validated to read. */
function fits(value: Args[string] | undefined, type: ArgTypes[string] | undefined): boolean {
  if (type === undefined || value === undefined) return true;
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}
