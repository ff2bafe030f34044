import {
  type ArgTypes,
  type Authorizer,
  type AuthorizerOptions,
  argTypesOf,
  createAuthorizer,
  type PolicyInfo,
  type PolicySource,
} from "../core/authorizer.ts";
import { asSallyportError, SallyportError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { activeByAge, type OpVersion } from "../store/ops.ts";
import { addPolicy, type PolicyRow, policiesInForce, removePolicy } from "../store/policies.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { tryManifest } from "./access.ts";
import { lockedOutBy } from "./admins.ts";
import { Turns } from "./turns.ts";

export const SITE = "site/";

/** What counts where a site's own policies can't be read: none of them may be taken for one that allows. */
const UNREADABLE: PolicySource = {
  name: "sallyport",
  text: `
@id("policies-unreadable")
@reason("The site's own policies can't be read by this version, so nothing is allowed but to mend that on the host: sallyport policy list")
forbid (principal, action, resource)
unless { context.source == "tty" && principal is User && principal in Role::"*/admin" };
@id("policies-unreadable-run")
@reason("The site's own policies can't be read by this version, so no Op runs. An admin mends that on the host: sallyport policy list")
forbid (principal, action in [Action::"run", Action::"approve", Action::"publish", Action::"activate"], resource);`,
};

/** The policies that count: those that ship, and what the site added. Changes go one after the other. */
export class SitePolicies {
  readonly #store: Store;
  readonly #authorizer: Authorizer;
  readonly #options: AuthorizerOptions;
  readonly #now: () => number;
  readonly #turns = new Turns();
  #unreadable: string | null = null;
  /** Those that ship, alone. */
  readonly shipped: Authorizer;

  /** `options`: the schema and the policies that ship. */
  constructor(o: { store: Store; authorizer: Authorizer; options: AuthorizerOptions; now: () => number }) {
    this.#store = o.store;
    this.#authorizer = o.authorizer;
    this.#options = o.options;
    this.#now = o.now;
    this.shipped = createAuthorizer({ ...o.options, name: "shipped" });
  }

  /** Why the site's own policies don't count; null: they do. */
  get unreadable(): string | null {
    return this.#unreadable;
  }

  /** At an unlock. Gives back the Ops whose stored manifest this version no longer accepts. */
  async load(): Promise<OpVersion[]> {
    const { manifests, unreadable } = await this.#manifests();
    const argTypes = argTypesOf(manifests);
    try {
      const policies = this.#with(await policiesInForce(this.#store.read));
      this.#authorizer.replace({ policies, argTypes });
      this.#unreadable = null;
    } catch (error) {
      const { code, detail } = asSallyportError(error);
      if (code !== "policy_invalid") throw error;
      this.#unreadable = detail;
      this.#authorizer.replace({ policies: [...this.#options.policies, UNREADABLE], argTypes });
      await this.#store.mutate((tx) => {
        tx.log({
          type: "policy.unreadable",
          outcome: "failure",
          actor: { kind: "system" },
          reason: detail.slice(0, 1000),
        });
      });
    }
    return unreadable;
  }

  /** Puts it in force. Throws `policy_invalid` for what would not count, `conflict` for what would lock every admin out. */
  add(
    made: Pick<PolicyRow, "name" | "text" | "author"> & { replace: boolean },
    record: (tx: Tx, row: PolicyRow) => void,
  ): Promise<{ row: PolicyRow; policies: PolicyInfo[] }> {
    return this.#turns.take(async () => {
      const inForce = await policiesInForce(this.#store.read);
      const others = inForce.filter(({ name }) => name !== made.name);
      if (!made.replace && others.length < inForce.length)
        throw new SallyportError(
          "conflict",
          `There is a policy named ${made.name}; --replace puts this in its place.`,
        );
      const policies = this.#with([...others, made]);
      const candidate = await this.#candidate(policies);
      const own = candidate.policies().filter(({ source }) => source === `${SITE}${made.name}`);
      if (own.length === 0) throw new SallyportError("policy_invalid", "The file holds no policy.");
      await this.#keepsAnAdmin(candidate);
      const row = await this.#store.mutate(async (tx) => {
        if (others.length < inForce.length) await removePolicy(tx, made.name);
        const added = await addPolicy(tx, made);
        record(tx, added);
        return added;
      });
      await this.#use(policies);
      return { row, policies: own };
    });
  }

  /** What is left must count, and leave an admin. */
  remove(name: string, record: (tx: Tx, row: PolicyRow) => void): Promise<PolicyRow> {
    return this.#turns.take(async () => {
      const left = (await policiesInForce(this.#store.read)).filter((row) => row.name !== name);
      const row = await this.#store.mutate(async (tx) => {
        const removed = await removePolicy(tx, name);
        record(tx, removed);
        return removed;
      });
      await this.#use(this.#with(left));
      return row;
    });
  }

  /**
   * `change` while no policy changes. `manifest`: the Op as it would be active. Throws `policy_invalid` where the site's policies
   * could not be read with its inputs, before anything is changed.
   */
  activating<T>(manifest: Manifest, change: () => Promise<T>): Promise<T> {
    return this.#turns.take(async () => {
      const { manifests } = await this.#manifests();
      const before = argTypesOf(manifests);
      const at = manifests.findIndex(({ op }) => op === manifest.op);
      if (at === -1) manifests.push(manifest);
      else manifests[at] = manifest;
      const argTypes = argTypesOf(manifests);
      const use = this.#prepared({ argTypes }, (detail) => {
        const what = `With the inputs of ${manifest.op} the site's policies could not be read: ${detail.replace(/\.?$/, ".")}`;
        return `${what} ${retyped(before, argTypes, manifests)}Give the input another name or type, or let an admin change the policy.`;
      });
      const done = await change();
      use();
      return done;
    });
  }

  /** Throws `policy_invalid`, in the words of `say`. */
  #prepared(change: { argTypes: ArgTypes }, say: (detail: string) => string): () => void {
    try {
      return this.#authorizer.prepare(change);
    } catch (error) {
      const { code, detail } = asSallyportError(error);
      throw code === "policy_invalid" ? new SallyportError(code, say(detail)) : error;
    }
  }

  /** What is in force now. One that could not be read may have been the only one, and is gone or replaced. */
  async #use(policies: readonly PolicySource[]): Promise<void> {
    if (this.#unreadable === null) this.#authorizer.replace({ policies });
    else await this.load();
  }

  #with(rows: readonly Pick<PolicyRow, "name" | "text">[]): PolicySource[] {
    return [...this.#options.policies, ...rows.map(({ name, text }) => ({ name: `${SITE}${name}`, text }))];
  }

  async #candidate(policies: readonly PolicySource[]): Promise<Authorizer> {
    const argTypes = argTypesOf((await this.#manifests()).manifests);
    return createAuthorizer({ ...this.#options, policies, argTypes, name: "candidate" });
  }

  /** Of those who could undo it one must be left: enabled, with a host account, and allowed by all policies together. */
  async #keepsAnAdmin(candidate: Authorizer): Promise<void> {
    const refusals = await lockedOutBy(candidate, this.#store.read, this.#now());
    if (refusals === null) return;
    throw new SallyportError(
      "conflict",
      `With it no admin could administer the appliance any more (policy ${[...refusals].join(", ")}). Leave them out: unless { principal in Role::"*/admin" && context.source == "tty" }`,
    );
  }

  /** Of all Ops with an active version, the first published first: which of two types an argument has does not change by the next. */
  async #manifests(): Promise<{ manifests: Manifest[]; unreadable: OpVersion[] }> {
    const versions = await activeByAge(this.#store.read);
    const read = versions.map((version) => ({ version, manifest: tryManifest(version) }));
    return {
      manifests: read.flatMap(({ manifest }) => (manifest === null ? [] : [manifest])),
      unreadable: read.flatMap(({ version, manifest }) => (manifest === null ? [version] : [])),
    };
  }
}

const MOST_TOLD = 5;

/** The inputs whose types change, each with the Op that has the new one. */
function retyped(before: ArgTypes, after: ArgTypes, manifests: readonly Manifest[]): string {
  const changes = Object.keys(before).flatMap((name) => {
    const op = manifests.find(({ inputs }) => inputs.some((input) => input.name === name))?.op;
    return op === undefined || before[name] === after[name]
      ? []
      : [`The input ${name}, ${before[name]} until now, would be ${after[name]} as ${op} has it. `];
  });
  return changes.slice(0, MOST_TOLD).join("");
}
