import type { Action } from "./authorizer.ts";
import type { PolicyInfo } from "./policies.ts";
import { PreparedSets } from "./prepared-sets.ts";

/** The policies of one question. Those that only ask for something first are a part of their own, asked of an allowed run. */
export const OBLIGATIONS = "run, first";
export type Part = Action | typeof OBLIGATIONS;

/** So few are one set a part, parsed at once. */
const FEW = 200;
/** How many policies of everywhere may be there again with each namespace's own. */
const COPIES = 25_000;

type Divided = {
  all: readonly PolicyInfo[];
  everywhere: readonly PolicyInfo[];
  owned: ReadonlyMap<string, readonly PolicyInfo[]>;
};

/** Policies divided by what they can concern, since the cost of a decision grows with the sets that it is asked of. */
export class PolicyParts {
  readonly #sets: PreparedSets;
  #infos: readonly PolicyInfo[] = [];
  readonly #parts = new Map<Part, Divided>();

  /** `id`: what Cedar knows its sets by. */
  constructor(id: string) {
    this.#sets = new PreparedSets(id);
  }

  /** In place of those before. Few are parsed at once, so that no person waits for it; of very many, only what is asked for. */
  load(infos: readonly PolicyInfo[], parts: readonly Part[]): void {
    this.#infos = infos;
    this.#parts.clear();
    this.#sets.clear();
    if (infos.length <= FEW) for (const part of parts) this.setsFor(part, null);
  }

  isEmpty(part: Part): boolean {
    return this.#of(part).all.length === 0;
  }

  /** Those that can concern the namespace; null: no namespace. */
  about(part: Part, namespace: string | null): PolicyInfo[] {
    const { everywhere, owned } = this.#of(part);
    return [...everywhere, ...(owned.get(namespace ?? "") ?? [])];
  }

  /**
   * Names of the sets that hold all of these, and may hold more. A namespace's own are parsed together with those of everywhere, so
   * that one call asks both, unless that would be too many copies.
   */
  setsFor(part: Part, namespace: string | null): string[] {
    const { all, everywhere, owned } = this.#of(part);
    if (this.#infos.length <= FEW) return all.length === 0 ? [] : [this.#sets.use(part, () => all)];
    const own = owned.get(namespace ?? "") ?? [];
    if (own.length > 0 && everywhere.length * owned.size <= COPIES)
      return [this.#sets.use(`${part}/+${namespace}`, () => [...everywhere, ...own])];
    return [
      ...(everywhere.length === 0 ? [] : [this.#sets.use(part, () => everywhere)]),
      ...(own.length === 0 ? [] : [this.#sets.use(`${part}/${namespace}`, () => own)]),
    ];
  }

  #of(part: Part): Divided {
    const known = this.#parts.get(part);
    if (known !== undefined) return known;
    const all = this.#infos.filter((policy) => isPartOf(part, policy));
    const everywhere = all.filter(({ namespace }) => namespace === null);
    const own = all.filter(({ namespace }) => namespace !== null);
    const divided = { all, everywhere, owned: Map.groupBy(own, ({ namespace }) => namespace ?? "") };
    this.#parts.set(part, divided);
    return divided;
  }
}

function isPartOf(part: Part, { actions, obligation }: PolicyInfo): boolean {
  if (part === OBLIGATIONS) return obligation !== null;
  return obligation === null && (actions === null || actions.includes(part));
}
