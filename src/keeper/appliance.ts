import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import type { Actor, AuditEvent } from "../audit/event.ts";
import { createAuthorizer } from "../core/authorizer.ts";
import { asSallyportError, SallyportError } from "../core/errors.ts";
import type { ResourceModes } from "../core/resources.ts";
import { assetNames, assetText } from "../host/asset.ts";
import { VERSION } from "../host/self.ts";
import type { SinkStatus } from "../host/sink.ts";
import { subkey } from "../keys/envelope.ts";
import { writeDurably } from "../keys/file.ts";
import { Kdf } from "../keys/kdf.ts";
import { openKeyring } from "../keys/keyring.ts";
import { wipe } from "../keys/memory.ts";
import { openStore, type Store } from "../store/store.ts";
import type { Role, SealState } from "../wire/table.ts";
import { Attempts } from "./attempts.ts";
import type { HostAccount } from "./callers.ts";
import { hostActor } from "./callers.ts";
import { ROLE_NAMES, type RoleName } from "./doctor-checks.ts";
import { EGRESS_SOCKET } from "./egress.ts";
import { LogLines } from "./log-lines.ts";
import { openSession } from "./open-session.ts";
import { Peers } from "./peers.ts";
import { SelfTests } from "./self-tests.ts";
import type { Session } from "./session.ts";
import { SitePolicies } from "./site-policies.ts";
import { Spool } from "./spool.ts";
import { joinSpool } from "./spool-join.ts";
import { STATE_FILES } from "./state-dir.ts";

const STOP_RUNS_MS = 500;
const LOCK_STEP_MS = 1000;
/** For what egress has to tell of the runs that were ended. */
const LAST_CONNECTIONS_MS = 300;

const ROLES = ["gateway", "runner", "notary", "egress", "courier"] as const;

export type Dirs = { state: string; log: string; run: string };
/** How the lines to standard output and error fare. */
type Outputs = Record<string, SinkStatus>;

/** Sealed or open, and the way between: the root key exists only inside `unlock`, and sealing is the end of the process. */
export class Appliance {
  readonly peers: Peers;
  readonly selfTests: SelfTests;
  readonly dirs: Dirs;
  readonly #log: Logger;
  readonly #kdf = new Kdf();
  readonly #attempts = new Attempts();
  readonly #spool: Spool;
  readonly #resources: ResourceModes;
  /** Name to address, of sallyport.yaml. */
  readonly #vaults: ReadonlyMap<string, string>;
  readonly #emit: (entry: Buffer, seq: number) => void;
  #session: Session | undefined;
  #lines: LogLines | undefined;
  #opening = false;
  #ending: Promise<void> | undefined;
  readonly #refused = new Set<number>();
  readonly #throttled = new Set<number>();
  /** The notary is asked while the session is being built. */
  #peersOpen = false;

  readonly #outputs: () => Outputs;

  /** `landlock`: as confineRole() tells of this process. */
  constructor(o: {
    dirs: Dirs;
    log: Logger;
    landlock: string;
    resources: ResourceModes;
    vaults: ReadonlyMap<string, string>;
    emit: (entry: Buffer, seq: number) => void;
    outputs: () => Outputs;
  }) {
    this.#outputs = o.outputs;
    this.dirs = o.dirs;
    this.#log = o.log;
    this.#emit = o.emit;
    this.#resources = o.resources;
    this.#vaults = o.vaults;
    this.#spool = new Spool(join(o.dirs.state, "sealed-spool.jsonl"));
    for (const record of this.#spool.read())
      if (record.code === "unlock_failed") this.#attempts.failed(`uid:${record.uid}`, record.time);
    this.peers = new Peers({
      state: () => this.state,
      violated: (role, what) => this.violation(role, what),
      failed: (role, error) => this.#log.error({ err: error, role }, "a message could not be dealt with"),
      landlock: o.landlock,
    });
    this.selfTests = new SelfTests(this.peers);
  }

  get state(): SealState {
    return this.#session === undefined && !this.#peersOpen ? "sealed" : "open";
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Throws `sealed`. */
  open(): Session {
    if (this.#session === undefined) throw new SallyportError("sealed");
    return this.#session;
  }

  /** The roles that there are: without a vault in sallyport.yaml no courier. */
  get roles(): readonly RoleName[] {
    return ROLE_NAMES.filter((role) => role !== "courier" || this.#vaults.size > 0);
  }

  get outputs(): Outputs {
    return this.#outputs();
  }

  /** Events of the sealed time that found no room on the disk. */
  get lostWhileSealed(): number {
    return this.#spool.lost;
  }

  get failedUnlocks(): number {
    return this.#attempts.failures;
  }

  /** A peer sent what it may not send: its connection is gone already; this is the event. */
  violation(role: Role, what: string): void {
    this.#log.error({ role, what }, "wire violation");
    if (this.#session === undefined) {
      this.#spool.add({ time: Date.now(), uid: process.getuid?.() ?? 0, code: "wire_violation" });
      return;
    }
    this.#session.store
      .mutate((tx) => {
        tx.log({
          type: "wire.violation",
          outcome: "denied",
          actor: { kind: "system" },
          reason: what,
          data: { role },
        });
      })
      .catch((error: unknown) => this.#log.error({ err: error }, "wire violation not logged"));
  }

  /** While sealed, a host account that is not heard asked for something: one event an account, so that it can't fill the spool. */
  refusedCaller(account: HostAccount): void {
    if (this.#refused.has(account.uid)) return;
    this.#refused.add(account.uid);
    this.#log.warn({ uid: account.uid }, "refused at the admin socket while sealed");
    this.#spool.add({ time: Date.now(), uid: account.uid, code: "denied" });
  }

  /** Opens the store with a passphrase or the recovery code; wipes `secret`. Throws `unlock_failed`, `slow_down`, damage. */
  async unlock(
    account: HostAccount,
    secret: Buffer,
    how: { kind: "passphrase" | "recovery"; slot?: string },
  ): Promise<{ slot: string }> {
    const caller = `uid:${account.uid}`;
    try {
      this.#mayTry(account, caller);
    } catch (error) {
      wipe(secret);
      throw error;
    }
    this.#opening = true;
    let root: Buffer | undefined;
    try {
      const opened = await openKeyring({
        file: join(this.dirs.state, STATE_FILES.keyring),
        kdf: this.#kdf,
        with:
          how.kind === "passphrase"
            ? {
                kind: "passphrase",
                passphrase: secret,
                ...(how.slot === undefined ? {} : { slot: how.slot }),
              }
            : { kind: "recovery", code: secret },
      });
      root = opened.root;
      this.#attempts.succeeded(caller);
      await this.#openStore(root, account, opened.slot.name);
      // A person was here: a later start may unlock as configured again.
      rmSync(join(this.dirs.state, "locked"), { force: true });
      return { slot: opened.slot.name };
    } catch (error) {
      if (error instanceof SallyportError && error.code === "unlock_failed") {
        this.#attempts.failed(caller, Date.now());
        this.#report(account, "unlock_failed");
      }
      throw error;
    } finally {
      wipe(secret, root);
      this.#opening = false;
    }
  }

  /** Throws `already_unlocked`, `slow_down`. */
  #mayTry(account: HostAccount, caller: string): void {
    if (this.#session !== undefined) throw new SallyportError("already_unlocked");
    const wait = this.#attempts.wait(caller, Date.now());
    if (wait > 0) {
      this.#report(account, "slow_down");
      throw new SallyportError("slow_down", `Try again in ${Math.ceil(wait / 1000)} s.`);
    }
    if (this.#opening) throw new SallyportError("slow_down", "Another unlock is under way.");
  }

  async #openStore(root: Buffer, account: HostAccount, slot: string): Promise<void> {
    const key = subkey(root, "database");
    let store: Store;
    try {
      store = await openStore({ file: join(this.dirs.state, STATE_FILES.database), key, create: false });
    } finally {
      wipe(key);
    }
    const half = subkey(root, "notaryHalf");
    const wrapping = subkey(root, "dataKeyWrap");
    this.#peersOpen = true;
    this.#lines = new LogLines({
      log: store.log,
      emit: this.#emit,
      failed: (error) => this.#log.error({ err: error }, "a log entry could not be handed on"),
    });
    try {
      await joinSpool(store, this.#spool);
      // Before anything has an effect: tokens go out and posts are owed only by an unlock that is in the log.
      await store.mutate((tx) => {
        const data = { version: VERSION, schema: store.status().schema };
        tx.log({ type: "appliance.started", outcome: "success", actor: { kind: "system" }, data });
        tx.log({ type: "appliance.unlocked", outcome: "success", actor: hostActor(account), data: { slot } });
      });
      const options = {
        schema: assetText("policies/authorization/sallyport.cedarschema"),
        policies: assetNames("policies/authorization/")
          .filter((name) => name.endsWith(".cedar"))
          .map((name) => ({ name, text: assetText(name) })),
      };
      const authorizer = createAuthorizer(options);
      this.#session = await openSession({
        store,
        peers: this.peers,
        authorizer,
        policies: new SitePolicies({ store, authorizer, options, now: Date.now }),
        half,
        wrapping,
        logDir: this.dirs.log,
        egressSocket: join(this.dirs.run, EGRESS_SOCKET),
        resources: this.#resources,
        vaults: this.#vaults,
        openedBy: slot,
        log: this.#log,
      });
    } catch (error) {
      // Nothing of it stays: sealed is sealed.
      for (const role of ROLES) this.peers.on(role, {});
      this.peers.send("gateway", { type: "gateway.disconnect" });
      await this.#logEnd(store, {
        type: "appliance.unlock_undone",
        outcome: "failure",
        actor: { kind: "system" },
        reason: asSallyportError(error).message,
      });
      await this.#closeStore(store);
      throw error;
    } finally {
      this.#peersOpen = false;
      wipe(half, wrapping);
    }
    // What was seen meanwhile; it can wait for the next unlock too.
    await joinSpool(store, this.#spool).catch((error: unknown) =>
      this.#log.error({ err: error }, "what happened while sealed is not in the log yet"),
    );
  }

  /** The last entry before the store closes; a disk that does not take it must not keep it open. */
  async #logEnd(store: Store, event: AuditEvent): Promise<void> {
    try {
      await store.mutate((tx) => {
        tx.log(event);
      });
    } catch (error) {
      this.#log.error({ err: error, type: event.type }, "not logged");
    }
  }

  /** Every entry leaves for its sinks before the store that it is read from closes. */
  async #closeStore(store: Store): Promise<void> {
    await store.finish();
    await this.#lines?.end();
    this.#lines = undefined;
    await store.close();
  }

  #report(account: HostAccount, code: "unlock_failed" | "slow_down"): void {
    // One record a wait: who tries on and on must not fill the spool, where the tries that follow belong.
    if (code === "slow_down" && this.#throttled.has(account.uid)) return;
    if (code === "slow_down") this.#throttled.add(account.uid);
    else this.#throttled.delete(account.uid);
    this.#log.warn({ uid: account.uid, code }, "unlock refused");
    this.#spool.add({ time: Date.now(), uid: account.uid, code });
  }

  /**
   * Ends every run, records the lock, remembers it (after it only a person unlocks) and closes the store. The caller ends the
   * process afterwards: that is what makes keys unreachable.
   */
  async lock(actor: Actor): Promise<void> {
    const session = this.open();
    // The emergency brake must work on a full disk too: each step is tried, none keeps the next from being taken.
    const steps: readonly [string, () => unknown][] = [
      ["mark", () => writeDurably(join(this.dirs.state, "locked"), Buffer.alloc(0))],
      ["end the runs", () => session.runs.stopAll(STOP_RUNS_MS, { keepWaiting: false })],
      [
        "log",
        () =>
          session.store.mutate((tx) => {
            tx.log({ type: "appliance.locked", outcome: "success", actor });
          }),
      ],
      ["close", () => this.#end()],
    ];
    for (const [step, take] of steps) {
      try {
        await within(LOCK_STEP_MS, take());
      } catch (error) {
        this.#log.error({ err: error, step }, "lock: this step failed; locked all the same");
      }
    }
  }

  /** Ends without a lock: a stop of the service. */
  async close(): Promise<void> {
    await this.#end({ type: "appliance.stopped", outcome: "success", actor: { kind: "system" } });
  }

  #end(last?: AuditEvent): Promise<void> {
    this.#ending ??= this.#session === undefined ? Promise.resolve() : this.#endSession(this.#session, last);
    return this.#ending;
  }

  async #endSession(session: Session, last: AuditEvent | undefined): Promise<void> {
    session.end();
    await session.runs.stopAll(STOP_RUNS_MS, { keepWaiting: true });
    await session.egress.settled(LAST_CONNECTIONS_MS);
    if (last !== undefined) await this.#logEnd(session.store, last);
    await session.checkpoints.stop();
    this.#session = undefined;
    session.secrets.end();
    // Who leaves from here on leaves because we end.
    for (const role of ROLES) this.peers.on(role, {});
    await this.#closeStore(session.store);
  }
}

/** Throws `timeout` when the work is not done by then; it goes on all the same. */
async function within(ms: number, work: unknown): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new SallyportError("timeout", `Not done within ${ms} ms.`)), ms);
  try {
    await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
