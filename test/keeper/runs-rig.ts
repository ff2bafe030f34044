import { createAuthorizer } from "../../src/core/authorizer.ts";
import { encodeBundle, openBundle } from "../../src/core/bundle.ts";
import { manifestToJson } from "../../src/core/manifest.ts";
import type { ResourceModes } from "../../src/core/resources.ts";
import type { Secret } from "../../src/core/secret.ts";
import { Access } from "../../src/keeper/access.ts";
import { type Caller, hostCaller } from "../../src/keeper/callers.ts";
import type { RunListener, RunView } from "../../src/keeper/run-types.ts";
import { Runs } from "../../src/keeper/runs.ts";
import { Secrets } from "../../src/keeper/secrets.ts";
import { randomKey } from "../../src/keys/memory.ts";
import { addGrant } from "../../src/store/grants.ts";
import { addNamespace } from "../../src/store/namespaces.ts";
import { activateVersion, publishVersion } from "../../src/store/ops.ts";
import type { Reader, Store } from "../../src/store/store.ts";
import { addHostAccount, addUser } from "../../src/store/users.ts";
import type { Message, MessageOf } from "../../src/wire/messages.ts";
import { DEFAULTS, SCHEMA } from "../core/authorizer-rig.ts";
import { until } from "../e2e/appliance.ts";
import { HEARTBEAT, type Scratch, scratch } from "../store/scratch.ts";
import { GOOD_HOST } from "./host-facts.ts";
import { NO_VAULTS } from "./no-vaults.ts";

const UID = 1234;
const PATIENCE_MS = 20_000;

export type Watched = RunListener & { over: Promise<RunView>; problem: Promise<string> };

/** Runs on a real store behind the real gate, with a runner that does what the test says. */
export class Rig {
  readonly scratch: Scratch;
  readonly failures: unknown[] = [];
  readonly sent: Message[] = [];
  /** Binary parts of each message sent. */
  readonly parts: (Uint8Array | Secret)[][] = [];
  readonly wrapping = randomKey();
  secrets!: Secrets;
  store!: Store;
  runs!: Runs;
  access!: Access;
  /** ms since the epoch */
  now: () => number = Date.now;
  caller!: Caller;
  connected = false;
  /** Throws in place of a mutation, or lets it pass. */
  beforeMutation: () => void = () => undefined;
  /** Before each try to take a slot, while a runner is ready. */
  onSlotWanted: () => void = () => undefined;
  /** What a read of a bundle waits for. */
  bundleGate: Promise<void> = Promise.resolve();
  bundleReads = 0;

  private constructor(made: Scratch) {
    this.scratch = made;
  }

  /** `more`: lines of op.yaml; `listed`: what root lists of the host; `site`: policies beside the default ones. */
  static async make(
    t: { teardown(call: () => unknown): void },
    concurrency = 1,
    {
      more = "",
      listed = new Map(),
      site = "",
    }: { more?: string; listed?: ResourceModes; site?: string } = {},
  ): Promise<Rig> {
    const rig = new Rig(scratch(t));
    const real = await rig.scratch.open(true);
    await publish(real, concurrency, more);
    rig.caller = await hostCaller(real.read, { uid: UID, loginUid: null });
    rig.store = rig.#guarded(real);
    rig.secrets = new Secrets({ store: rig.store, wrapping: rig.wrapping, vaults: NO_VAULTS });
    const authorizer = createAuthorizer({
      schema: SCHEMA,
      policies: [...DEFAULTS, { name: "site", text: site }],
    });
    rig.access = new Access({ store: rig.store, authorizer, now: () => rig.now(), resources: listed });
    rig.runs = new Runs({
      store: rig.store,
      access: rig.access,
      peers: {
        has: () => {
          rig.onSlotWanted();
          return rig.connected;
        },
        send: (_, message, parts = []) => {
          if (rig.connected) rig.sent.push(message);
          if (rig.connected) rig.parts.push([...parts]);
          return rig.connected;
        },
      },
      secrets: rig.secrets,
      failed: (error) => rig.failures.push(error),
    });
    return rig;
  }

  #guarded(real: Store): Store {
    const gated = async (sql: string): Promise<void> => {
      if (!sql.startsWith("SELECT bytes FROM bundles")) return;
      this.bundleReads++;
      await this.bundleGate;
    };
    const read: Reader = {
      get: (sql, params) => gated(sql).then(() => real.read.get(sql, params)),
      all: (sql, params) => gated(sql).then(() => real.read.all(sql, params)),
    };
    return {
      read,
      log: real.log,
      mutate: async (fn) => {
        this.beforeMutation();
        return real.mutate(fn);
      },
      status: () => real.status(),
      integrity: (kind) => real.integrity(kind),
      finish: () => real.finish(),
      close: () => real.close(),
    };
  }

  /** The runner joins and reports its self-test. */
  join(ok = true, more: Partial<MessageOf<"runner.ready">> = {}): void {
    this.connected = true;
    const checks = [{ name: "mounts", ok, detail: ok ? "" : "it got out" }];
    this.runs.receive(
      { type: "runner.ready", ok, checks, cgroup: "none", degraded: [], facts: GOOD_HOST, ...more },
      [],
    );
  }

  leave(): Promise<void> {
    this.connected = false;
    return this.runs.runnerLost();
  }

  request(listener: RunListener = {}, recording: () => Promise<void> = async () => {}): Promise<RunView> {
    return this.runs.request({ caller: this.caller, op: "web/restart", args: [], listener, recording });
  }

  finish(run: string, change: Partial<MessageOf<"run.finished">> = {}): void {
    const message: MessageOf<"run.finished"> = {
      type: "run.finished",
      run,
      outcome: "exited",
      exit: 0,
      signal: null,
      detail: null,
      durationMs: 1,
      cpuMs: 1,
      userMs: 0,
      systemMs: 0,
      peakMemoryBytes: 1,
      processes: 1,
      limitedBy: "cgroup v2",
      outputBytes: 0,
      truncated: false,
      denied: [],
      ...change,
    };
    this.runs.receive(message, []);
  }

  orders(): string[] {
    return this.sent.flatMap((message) => (message.type === "run.order" ? [message.run] : []));
  }

  until(test: () => boolean | Promise<boolean>): Promise<void> {
    return until(test, PATIENCE_MS, () => String(this.failures.at(-1)));
  }

  async state(run: string): Promise<{ state: string; reason: string | null } | undefined> {
    return this.store.read.get("SELECT state, reason FROM runs WHERE id = ?", [run]);
  }
}

async function publish(store: Store, concurrency: number, more: string): Promise<void> {
  const yaml = `op: web/restart\nsummary: test\nrun: ["/bin/true"]\nconcurrency: ${concurrency}\n${more}`;
  const bundle = encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(yaml) }]);
  const { digest, manifest } = openBundle(bundle);
  await store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    const user = await addUser(tx, { name: "ada" });
    await addHostAccount(tx, { uid: UID, login: "ada", userId: user.id });
    await addNamespace(tx, { name: "web" });
    await addGrant(tx, { role: "runner", namespace: "web", subject: { kind: "user", id: user.id } });
    const { number } = await publishVersion(tx, {
      namespace: "web",
      name: "restart",
      digest,
      manifest: manifestToJson(manifest),
      bundle,
      publisher: user.id,
      uid: UID,
      loginUid: null,
    });
    const by = { userId: user.id, uid: UID, loginUid: null };
    await activateVersion(tx, { namespace: "web", name: "restart", number, ...by });
  });
}

/** A listener whose ends can be awaited. */
export function watch(more: RunListener = {}): Watched {
  const over = Promise.withResolvers<RunView>();
  const problem = Promise.withResolvers<string>();
  return {
    ...more,
    over: over.promise,
    problem: problem.promise,
    ended: over.resolve,
    unrecorded: (_, error) => problem.resolve(error.message),
  };
}
