import { preparsePolicySet } from "./cedar.ts";
import { SallyportError } from "./errors.ts";
import { type PolicyInfo, textsById } from "./policies.ts";

/** About 3.5 kB each in Cedar's memory. */
const MAX_POLICIES = 50_000;

/**
 * The sets of policies that Cedar has parsed. It keeps each under its name for the whole process and never more than one a name, so
 * what was used longest ago is replaced by an empty set once they are too many together.
 */
export class PreparedSets {
  readonly #prefix: string;
  readonly #max: number;
  /** Sizes by key, the one used longest ago first. */
  readonly #sizes = new Map<string, number>();
  #total = 0;

  constructor(prefix: string, max = MAX_POLICIES) {
    this.#prefix = prefix;
    this.#max = max;
  }

  get size(): number {
    return this.#total;
  }

  /** The name that Cedar knows the set by. `policies` is called where it isn't there. Throws `policy_invalid`. */
  use(key: string, policies: () => readonly PolicyInfo[]): string {
    const name = `${this.#prefix}/${key}`;
    const known = this.#sizes.get(key);
    if (known !== undefined) {
      this.#sizes.delete(key);
      this.#sizes.set(key, known);
      return name;
    }
    const relevant = policies();
    const answer = preparsePolicySet(name, { staticPolicies: textsById(relevant) });
    if (answer.type === "failure")
      throw new SallyportError("policy_invalid", answer.errors[0]?.message ?? "The policies do not parse.");
    this.#sizes.set(key, relevant.length);
    this.#total += relevant.length;
    for (const oldest of this.#sizes.keys()) {
      if (this.#total <= this.#max || oldest === key) break;
      this.#drop(oldest);
    }
    return name;
  }

  clear(): void {
    for (const key of [...this.#sizes.keys()]) this.#drop(key);
  }

  #drop(key: string): void {
    preparsePolicySet(`${this.#prefix}/${key}`, { staticPolicies: {} });
    this.#total -= this.#sizes.get(key) ?? 0;
    this.#sizes.delete(key);
  }
}
