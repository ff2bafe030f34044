import type { Authorizer, AuthRequest, Decision, NamespaceRow, OpRow } from "../core/authorizer.ts";
import type { Engine } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import { type Manifest, manifestFromJson } from "../core/manifest.ts";
import { targetText } from "../core/manifest-shape.ts";
import { type ResourceModes, resourceTags } from "../core/resources.ts";
import { getNamespace, listChannels } from "../store/namespaces.ts";
import { getOp, getVersion, type OpVersion } from "../store/ops.ts";
import type { RunRow } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Reader } from "../store/tx.ts";
import { getUser } from "../store/users.ts";
import { getWait } from "../store/waits.ts";
import type { Caller } from "./callers.ts";

type Resource = AuthRequest["resource"];
type Action = AuthRequest["action"];

export type ActiveOp = {
  row: OpRow;
  namespace: NamespaceRow;
  /** What starts every Op of its namespace; absent: what the manifest says, or the host's default. */
  namespaceEngine?: Engine | undefined;
  version: OpVersion;
  manifest: Manifest;
};

/**
 * The one gate (P5): every surface asks here. A refusal is logged with the policy that decided before the person hears of it.
 */
export class Access {
  readonly #store: Store;
  readonly #authorizer: Authorizer;
  readonly #now: () => number;
  /** What of the host Ops may ask for. */
  readonly resources: ResourceModes;

  constructor(o: { store: Store; authorizer: Authorizer; now: () => number; resources?: ResourceModes }) {
    this.#store = o.store;
    this.#authorizer = o.authorizer;
    this.#now = o.now;
    this.resources = o.resources ?? new Map();
  }

  /** ms since the epoch */
  now(): number {
    return this.#now();
  }

  get authorizer(): Authorizer {
    return this.#authorizer;
  }

  decide(
    caller: Caller,
    action: Action,
    resource: Resource,
    extra: Partial<AuthRequest["context"]> = {},
  ): Decision {
    return this.#authorizer.authorize({
      principal: { kind: "user", user: caller.principal },
      action,
      resource,
      context: {
        source: caller.source,
        standing: caller.standing,
        channel: caller.channel,
        time: this.#now(),
        ...extra,
      },
    });
  }

  may(caller: Caller, action: Action, resource: Resource): boolean {
    return this.decide(caller, action, resource).allow;
  }

  /** Those of the Ops about which the caller may do it. */
  allowed(caller: Caller, action: Action, ops: readonly ActiveOp[]): ActiveOp[] {
    const { source, standing, channel, principal: user } = caller;
    const asked = ops.map((active) => ({ op: active.row, namespace: active.namespace, active }));
    const context = { source, standing, channel, time: this.#now() };
    return this.#authorizer
      .allowedOps({ principal: { kind: "user", user }, action, context }, asked)
      .map(({ active }) => active);
  }

  /** Throws `denied` with the policy's reason, after the refusal is durable in the log. Returns the deciding policies. */
  async demand(
    caller: Caller,
    action: Action,
    resource: Resource,
    extra: Partial<AuthRequest["context"]> = {},
  ): Promise<string[]> {
    return (await this.demandDecision(caller, action, resource, extra)).policies;
  }

  /** As `demand`, with what the policies ask for first. */
  async demandDecision(
    caller: Caller,
    action: Action,
    resource: Resource,
    extra: Partial<AuthRequest["context"]> = {},
  ): Promise<Decision> {
    const decision = this.decide(caller, action, resource, extra);
    return decision.allow ? decision : this.refuse(caller, action, resource, decision);
  }

  /** Throws `denied` with the reason and the policies, after the refusal is durable in the log. */
  async refuse(caller: Caller, action: Action, resource: Resource, decision: Decision): Promise<never> {
    await this.refused(caller, action, resource, decision);
    throw new SallyportError("denied", `${decision.reason} (policy ${decision.policies.join(", ")})`);
  }

  /** As `demand`; a namespace that is not there is asked for as one without rules, so that only who may hears that it is missing. */
  async demandNamespace(
    caller: Caller,
    action: "administer" | "grant" | "publish" | "manage_secret",
    name: string,
  ): Promise<void> {
    const missing: NamespaceRow = { name, channels: "any" };
    const there = await this.namespace(this.#store.read, name).catch(() => undefined);
    await this.demand(caller, action, { kind: "namespace", namespace: there ?? missing });
    if (there === undefined) await this.namespace(this.#store.read, name);
  }

  /** Throws what somebody hears who may not see the Op, when there is none of that name: the same refusal, and the same event. */
  async missingOp(
    caller: Caller,
    action: "run" | "show" | "read_log",
    namespace: string,
    name: string,
  ): Promise<never> {
    const there = await this.namespace(this.#store.read, namespace).catch(() => undefined);
    const op = { name: `${namespace}/${name}`, channels: null, confirm: "none", disabled: false } as const;
    const resource = { kind: "op", op, namespace: there ?? { name: namespace, channels: "any" } } as const;
    if (!this.may(caller, "list", resource)) await this.demand(caller, action, resource);
    throw new SallyportError("not_found", `No active Op is named ${op.name}.`);
  }

  /** Something that is not there, or that the caller may not see: the log has who asked for what. */
  async hidden(caller: Caller, action: Action, what: string): Promise<void> {
    await this.#store.mutate((tx) => {
      tx.log({
        type: "authz.denied",
        outcome: "denied",
        actor: caller.actor,
        reason: "not there, or not to be seen by this person",
        policy: "hidden",
        data: { action, resource: what, source: caller.source, channel: caller.channel?.id ?? null },
      });
    });
  }

  async refused(caller: Caller, action: Action, resource: Resource, decision: Decision): Promise<void> {
    await this.#store.mutate((tx) => {
      tx.log({
        type: "authz.denied",
        outcome: "denied",
        actor: caller.actor,
        reason: decision.reason,
        policy: decision.policies.join(","),
        ...about(resource),
        data: {
          action,
          resource: describe(resource),
          source: caller.source,
          channel: caller.channel?.id ?? null,
        },
      });
    });
  }

  async namespace(reader: Reader, name: string): Promise<NamespaceRow> {
    const row = await getNamespace(reader, name);
    if (row === undefined)
      throw new SallyportError(
        "not_found",
        `Namespace ${name}. Add it with: sallyport namespace add ${name}`,
      );
    const channels = await listChannels(reader, name);
    return {
      name,
      channels: row.anyChannel || channels.length === 0 ? "any" : channels,
      twoPersonPublish: row.twoPersonPublish,
    };
  }

  /** The Op and its active version; undefined when there is none that could run. Throws `manifest_invalid` for one that this version's rules don't accept. */
  async activeOp(reader: Reader, namespace: string, name: string): Promise<ActiveOp | undefined> {
    const op = await getOp(reader, namespace, name);
    const version = op === undefined ? undefined : await getVersion(reader, namespace, name, "active");
    return op === undefined || version === undefined
      ? undefined
      : this.activeVersion(reader, version, op.disabled);
  }

  /** As `activeOp`, of the active version's row. */
  async activeVersion(reader: Reader, version: OpVersion, disabled: boolean): Promise<ActiveOp> {
    const { namespace } = version;
    const manifest = readManifest(version);
    const namespaceEngine = (await getNamespace(reader, namespace))?.engine ?? undefined;
    return {
      row: await this.opRow(reader, manifest, disabled, version.publisher),
      namespace: await this.namespace(reader, namespace),
      namespaceEngine,
      version,
      manifest,
    };
  }

  /** What policies see of a run. `op`: as it is now, which channels and namespace rules go by. */
  async runResource(
    reader: Reader,
    run: Pick<RunRow, "id" | "namespace" | "op" | "version" | "requester">,
    op: Pick<ActiveOp, "row" | "namespace">,
  ): Promise<Extract<Resource, { kind: "run" }>> {
    const version = await getVersion(reader, run.namespace, run.op, run.version);
    const needs = (await getWait(reader, run.id))?.needs ?? [];
    const groups = needs.flatMap(({ approval }) => (approval?.group == null ? [] : [approval.group]));
    return {
      kind: "run",
      id: run.id,
      requester: (await getUser(reader, run.requester))?.name ?? "",
      publisher: (await getUser(reader, version?.publisher ?? ""))?.name ?? "",
      approvers: [...new Set(groups)],
      op: op.row,
      namespace: op.namespace,
    };
  }

  /** What policies see of an Op: the same whatever it is that is asked about it. `publisherId`: of the version. */
  async opRow(reader: Reader, manifest: Manifest, disabled: boolean, publisherId: string): Promise<OpRow> {
    const { op: name, channels, confirm, root } = manifest;
    return {
      name,
      channels,
      confirm,
      disabled,
      network: manifest.network.map(targetText),
      resources: resourceTags(manifest, this.resources),
      root,
      engine: (await getNamespace(reader, manifest.namespace))?.engine ?? manifest.engine,
      publisher: (await getUser(reader, publisherId))?.name,
    };
  }
}

/** Reading one costs more than a decision, and what was published never changes. */
const MAX_READ = 5000;
const MAX_READ_TEXT = 8192;
const read = new Map<string, Manifest>();

/** An Op that was published under other rules is refused by itself; it keeps nothing else from working. */
export function readManifest(version: OpVersion): Manifest {
  const { manifest: text } = version;
  const known = read.get(text);
  if (known !== undefined) return known;
  try {
    const manifest = manifestFromJson(text);
    if (read.size >= MAX_READ) read.clear();
    if (text.length <= MAX_READ_TEXT) read.set(text, manifest);
    return manifest;
  } catch (cause) {
    throw new SallyportError(
      "manifest_invalid",
      `${version.namespace}/${version.name} was published under rules that this version no longer accepts; publish it again.`,
      { cause },
    );
  }
}

/** Null where `readManifest` throws. */
export function tryManifest(version: OpVersion): Manifest | null {
  try {
    return readManifest(version);
  } catch {
    return null;
  }
}

function about(resource: Resource): { op?: string; namespace?: string; run?: string } {
  if (resource.kind === "op") return { op: resource.op.name, namespace: resource.namespace.name };
  if (resource.kind === "run")
    return { op: resource.op.name, namespace: resource.namespace.name, run: resource.id };
  return resource.kind === "namespace" ? { namespace: resource.namespace.name } : {};
}

function describe(resource: Resource): string {
  if (resource.kind === "op") return `op ${resource.op.name}`;
  if (resource.kind === "run") return `run ${resource.id}`;
  if (resource.kind === "namespace") return `namespace ${resource.namespace.name}`;
  return resource.kind === "user" ? `user ${resource.name}` : "appliance";
}
