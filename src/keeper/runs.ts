import { asSallyportError, SallyportError } from "../core/errors.ts";
import { isFinal, newRunId } from "../core/run.ts";
import { type Secret, wipeAll } from "../core/secret.ts";
import { getBundle } from "../store/ops.ts";
import type { RunRow } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import type { Access, ActiveOp } from "./access.ts";
import { recordBreakGlass } from "./break-glass.ts";
import type { Caller } from "./callers.ts";
import { keepDecision } from "./decisions.ts";
import type { EgressClient } from "./egress.ts";
import { engineObstacle, engineOf, lateConflict } from "./engines.ts";
import type { Peers } from "./peers.ts";
import { isFirstPrint, logPrinted } from "./printed-secrets.ts";
import { admit, admitCancel, logRefusal, obstacleTo, refusedNow, waitsNoMore } from "./run-checks.ts";
import { orderOf } from "./run-order.ts";
import { RunOutput } from "./run-output.ts";
import {
  type Ending,
  endingOf,
  type Finished,
  logCancelWanted,
  logDeniedCall,
  logQueued,
  logSelfTest,
  recordEndSurely,
  recordRequest,
  recordStart,
  unrecorded,
} from "./run-record.ts";
import { RunSlots } from "./run-slots.ts";
import type { Live, RunRequest, RunView } from "./run-types.ts";
import { recordReads, type Secrets } from "./secrets.ts";
import { viewOf } from "./wait-plan.ts";
import { recordWait } from "./wait-record.ts";

/** After a start that could not be recorded. */
const RETRY_MS = 1000;
/** An Op names as many as it likes by their arguments; its run must not fill the log. */
const DENIED_ENTRIES = 64;
const CANCELED_EARLY = "Canceled before it started.";

/** From request to recorded outcome (DESIGN section 4). Every change of state is one transaction with its log entry. */
export class Runs {
  readonly #store: Store;
  readonly #access: Access;
  readonly #peers: Pick<Peers, "has" | "send">;
  readonly #egress: Pick<EgressClient, "grant" | "revoke"> | undefined;
  readonly #secrets: Pick<Secrets, "valuesFor" | "look">;
  readonly #failed: (error: unknown) => void;
  readonly #live = new Map<string, Live>();
  readonly #slots = new RunSlots();
  #ready: MessageOf<"runner.ready"> | undefined;
  #engines: MessageOf<"runner.engines"> | undefined;
  #halted: string | undefined;
  #onWaiting: (live: Live) => void = () => undefined;
  #lateCheck: (live: Live) => Promise<string | null> = async () => null;
  #retry: NodeJS.Timeout | undefined;

  constructor(o: {
    store: Store;
    access: Access;
    peers: Pick<Peers, "has" | "send">;
    egress?: Pick<EgressClient, "grant" | "revoke">;
    secrets: Pick<Secrets, "valuesFor" | "look">;
    failed: (error: unknown) => void;
  }) {
    this.#store = o.store;
    this.#access = o.access;
    this.#peers = o.peers;
    this.#egress = o.egress;
    this.#secrets = o.secrets;
    this.#failed = o.failed;
  }

  get selfTest(): MessageOf<"runner.ready"> | undefined {
    return this.#ready;
  }

  /** Whether a run that has not ended was asked for with this root file system. */
  usesRoot(digest: string): boolean {
    return [...this.#live.values()].some((live) => live.root === digest);
  }

  get running(): number {
    return this.#slots.taken;
  }

  /** Stops new runs, for a reason that `status` shows, and ends those that wait; what is running goes on. */
  halt(reason: string): void {
    this.#halted = reason;
    void this.#startQueued().catch(this.#failed);
  }

  get halted(): string | undefined {
    return this.#halted;
  }

  /** Throws what the person has to hear; otherwise the intent is durable and the run is queued or under way. */
  async request(o: RunRequest): Promise<RunView> {
    try {
      return await this.#request(o);
    } catch (error) {
      await logRefusal(this.#store, o, asSallyportError(error));
      throw error;
    }
  }

  async #request(o: RunRequest): Promise<RunView> {
    const { caller } = o;
    const { op, args, decision, context, plan, root, secrets } = await admit(
      this.#access,
      this.#store.read,
      o,
      this.#secrets.look,
    );
    const { policies } = decision;
    const obstacle =
      this.#obstacle() ?? engineObstacle(op, this.#ready, this.#engines, this.#access.resources);
    if (obstacle !== undefined) throw obstacle;
    const id = newRunId();
    const started = plan === null && this.#takeSlot(op);
    const view: RunView = {
      row: {} as RunRow,
      manifest: op.manifest,
      requester: caller.principal.name,
      ...(plan === null ? {} : { wait: viewOf(plan, []) }),
    };
    try {
      view.row = await this.#store.mutate(async (tx) => {
        const waits = plan !== null;
        const row = await recordRequest(tx, { ...o, id, op, args, policies, root, waits });
        await keepDecision(tx, { run: id, phase: "request", caller, context, answer: decision });
        await o.recording?.(tx, id);
        if (o.breakGlass !== undefined) await recordBreakGlass(tx, { row, caller, op, decision });
        if (plan !== null) {
          await recordWait(tx, row, caller, { ...plan, run: id, slackUser: o.slackUser ?? null });
          await o.listener.waiting?.(tx, { ...view, row });
          return row;
        }
        if (started) {
          await recordReads(tx, row, secrets);
          return await recordStart(tx, id, engineOf(op, this.#ready));
        }
        logQueued(tx, row, this.queuedNow);
        return row;
      });
    } catch (error) {
      // Another run may have found the slot taken.
      if (started) this.#slots.release(op.row.name);
      if (started) this.#startSoon();
      throw error;
    }
    const live: Live = {
      view,
      op,
      caller,
      args,
      root,
      secrets,
      listener: o.listener,
      output: new RunOutput(id, op.manifest.limits.outputBytes),
      denied: new Set<string>(),
      printed: new Set<string>(),
      waiting: plan !== null,
      started,
      ending: false,
      cancelWanted: false,
    };
    this.#live.set(id, live);
    if (live.waiting) this.#awaited(live);
    else if (started) await this.#order(live);
    else await this.#startQueued();
    return live.view;
  }

  /** `late`: why one that waited may not start after all. */
  joinWaits(o: { onWaiting: (live: Live) => void; late: (live: Live) => Promise<string | null> }): void {
    this.#onWaiting = o.onWaiting;
    this.#lateCheck = o.late;
  }

  /** One that waited before this start and waits on. */
  adopt(live: Live): void {
    this.#live.set(live.view.row.id, live);
    this.#awaited(live);
  }

  #awaited(live: Live): void {
    this.#onWaiting(live);
    live.listener.waited?.(live.view);
  }

  waiting(): Live[] {
    return [...this.#live.values()].filter((live) => live.waiting && !live.ending);
  }

  /** Throws why the run can be neither confirmed, approved nor denied. */
  notWaiting(caller: Caller, id: string): Promise<never> {
    return waitsNoMore(this.#access, this.#store.read, caller, id);
  }

  /** It waits for nobody any more; `row` says queued. */
  async proceed(live: Live, row: RunRow): Promise<void> {
    live.view.row = row;
    live.waiting = false;
    live.listener.queued?.(live.view);
    await this.#startQueued();
  }

  async endWaiting(live: Live, ending: Ending): Promise<SallyportError | undefined> {
    return live.waiting ? this.#end(live, ending) : undefined;
  }

  get queuedNow(): number {
    return this.#queued().length;
  }

  /** Ends a run that is queued or running. The outcome is recorded when the runner reports that nothing of it is left. */
  async cancel(caller: Caller, id: string): Promise<void> {
    const live = this.#live.get(id);
    const { row, op } = await admitCancel(this.#access, this.#store.read, { caller, id, live });
    if (isFinal(row.state) || live === undefined)
      throw new SallyportError("conflict", `Run ${id} has ended: ${row.state}.`);
    await this.#store.mutate((tx) => logCancelWanted(tx, { id, op, caller }));
    live.cancelWanted = true;
    if (live.started) {
      this.#peers.send("runner", { type: "run.cancel", run: id, reason: "canceled" });
      return;
    }
    const problem = await this.#end(live, { state: "canceled", reason: CANCELED_EARLY });
    if (problem !== undefined) throw problem;
  }

  /**
   * What somebody who is not served any more has asked for: what waits for its turn ends, and with `kill` what runs too. Gives
   * back how many of each; what waits for people is for Waits to withdraw.
   */
  async endOf(
    requester: string,
    o: { by: Caller; kill: boolean; reason: string },
  ): Promise<{ ended: number; killed: number }> {
    const theirs = [...this.#live.values()].filter(
      (live) => live.view.row.requester === requester && !live.waiting && !live.ending,
    );
    const queued = theirs.filter((live) => !live.started);
    await Promise.all(queued.map((live) => this.#end(live, { state: "canceled", reason: o.reason })));
    const running = o.kill ? theirs.filter((live) => live.started) : [];
    for (const live of running) {
      const { id } = live.view.row;
      await this.#store.mutate((tx) => logCancelWanted(tx, { id, op: live.op, caller: o.by }));
      live.cancelWanted = true;
      live.cancelReason = o.reason;
      this.#peers.send("runner", { type: "run.cancel", run: id, reason: "canceled" });
    }
    return { ended: queued.length, killed: running.length };
  }

  /** Messages of the runner. */
  receive(message: Message, parts: Buffer[]): void {
    if (message.type === "runner.ready") this.#runnerReady(message);
    if (message.type === "runner.engines") this.#engines = message;
    if (!("run" in message) || typeof message.run !== "string") return;
    const live = this.#live.get(message.run);
    if (live === undefined) return;
    if (message.type === "run.output") this.#output(live, message.stream, parts[0]!);
    else if (message.type === "run.progress") live.listener.progress?.(message.text, message.percent);
    else if (message.type === "run.denied") this.#denied(live, message);
    else if (message.type === "run.secret_seen") this.#printed(live, message);
    else if (message.type === "run.finished") void this.#end(live, endingOf(message, live), message);
  }

  /** The runner's process is gone and with it every process of its runs. */
  async runnerLost(): Promise<void> {
    this.#ready = this.#engines = undefined;
    const reason = "The runner's process ended; nothing of the run is left.";
    // All at once: a run that waits for the one before it to be recorded could be handed to the next runner meanwhile.
    const started = [...this.#live.values()].filter((live) => live.started);
    await Promise.all(started.map((live) => this.#end(live, { state: "lost", reason })));
  }

  /** Kills every run and waits until the runner says so, at most `ms`. `keepWaiting`: what waits for people does so after the next unlock. */
  async stopAll(ms: number, o: { keepWaiting: boolean }): Promise<void> {
    if (o.keepWaiting)
      for (const live of this.waiting())
        if (live.caller.source === "slack") this.#live.delete(live.view.row.id);
    this.halt("The appliance is being locked or stopped.");
    const until = Date.now() + ms;
    const reason = "The appliance was locked or stopped.";
    for (const [id, live] of [...this.#live]) {
      live.cancelWanted = true;
      if (live.started) this.#peers.send("runner", { type: "run.cancel", run: id, reason: "lock" });
      else void this.#end(live, { state: "canceled", reason });
    }
    const pause = () => new Promise((resolve) => setTimeout(resolve, 10));
    while (this.#live.size > 0 && Date.now() < until) await pause();
    for (const live of [...this.#live.values()]) void this.#end(live, { state: "lost", reason });
    while (this.#live.size > 0 && Date.now() < until + ms) await pause();
  }

  #obstacle(): SallyportError | undefined {
    return obstacleTo(this.#halted, this.#ready);
  }

  #takeSlot(op: ActiveOp): boolean {
    return (
      this.#halted === undefined &&
      this.#ready?.ok === true &&
      this.#peers.has("runner") &&
      this.#slots.take(op.row.name, op.manifest.concurrency)
    );
  }

  #runnerReady(message: MessageOf<"runner.ready">): void {
    // A test that was asked for and says what the last one said is no news.
    const isNews = JSON.stringify(message) !== JSON.stringify(this.#ready);
    this.#ready = message;
    // What waits is looked at also when this entry can't be written: each start has one of its own.
    void (isNews ? this.#store.mutate((tx) => logSelfTest(tx, message)) : Promise.resolve())
      .catch(this.#failed)
      .then(() => this.#startQueued())
      .catch(this.#failed);
  }

  /** Starts what waits and has a slot now; where no run may start, what waits ends with the reason. */
  async #startQueued(): Promise<void> {
    const queued = this.#queued();
    const obstacle = this.#obstacle();
    if (obstacle !== undefined) {
      const ending = { state: "canceled", reason: obstacle.message } as const;
      await Promise.all(queued.map((live) => this.#end(live, ending)));
      return;
    }
    for (const live of queued) {
      if (live.started || live.ending || !this.#takeSlot(live.op)) continue;
      live.started = true;
      try {
        await this.#start(live);
      } catch (error) {
        if (!live.ending) {
          live.started = false;
          this.#slots.release(live.op.row.name);
        }
        this.#failed(error);
        this.#startSoon();
      }
    }
  }

  #queued(): Live[] {
    return [...this.#live.values()].filter((live) => !live.started && !live.waiting && !live.ending);
  }

  #startSoon(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      void this.#startQueued().catch(this.#failed);
    }, RETRY_MS);
    this.#retry.unref();
  }

  /** Holds its slot. What it throws leaves the run queued. */
  async #start(live: Live): Promise<void> {
    const checked = live.cancelWanted
      ? CANCELED_EARLY
      : (lateConflict(live.op, this.#ready, this.#access.resources) ??
        (await this.#lateCheck(live)) ??
        (await refusedNow(this.#access, this.#store, live)));
    if (live.ending) return;
    if (typeof checked === "string") {
      await this.#end(live, { state: "canceled", reason: checked });
      return;
    }
    live.view.row = await this.#store.mutate(async (tx) => {
      await checked(tx);
      return recordStart(tx, live.view.row.id, engineOf(live.op, this.#ready));
    });
    await this.#order(live);
  }

  /** The run is recorded as running: whatever goes wrong from here on is its outcome. */
  async #order(live: Live): Promise<void> {
    const { view, op, args, root } = live;
    let secrets: Secret[] = [];
    try {
      const bundle = await getBundle(this.#store.read, op.version.digest);
      const egress = live.ending ? undefined : await this.#egress?.grant(live);
      if (!live.ending) secrets = await this.#values(live);
      // Its end may be recorded by now, as the runner is gone or all is being stopped: after that it must not run (P14).
      if (live.ending) return;
      const refused = live.cancelWanted ? (live.cancelReason ?? CANCELED_EARLY) : this.#obstacle()?.message;
      if (refused !== undefined) {
        await this.#end(live, { state: "canceled", reason: refused });
        return;
      }
      const order = orderOf(view.row.id, op.manifest, op.version.digest, args, {
        root,
        engine: engineOf(op, this.#ready),
      });
      if (egress !== undefined) order.egress = egress;
      // A runner that has joined since and was not tested yet gets nothing (P11).
      const sent = this.#ready !== undefined && this.#peers.send("runner", order, [bundle, ...secrets]);
      // The connection wipes what it has taken, once it is written.
      if (sent) secrets = [];
      if (sent) live.listener.started?.(view);
      else
        await this.#end(live, {
          state: "lost",
          reason: "The runner's process ended before it took the order.",
        });
    } catch (error) {
      this.#failed(error);
      const reason = `It could not be handed to the runner: ${asSallyportError(error).message}`;
      await this.#end(live, { state: "failed", reason });
    } finally {
      wipeAll(secrets);
    }
  }

  #values({ view, op, caller, secrets: bound }: Live): Promise<Secret[]> {
    return this.#secrets.valuesFor(view.row.id, op.manifest, { bound, actor: caller.actor });
  }

  #output(live: Live, stream: "stdout" | "stderr", bytes: Buffer): void {
    const kept = live.output.take(stream === "stdout" ? "out" : "err", bytes);
    if (kept.length === 0) return;
    live.listener.output?.(stream, kept);
    live.output.flush(this.#store).catch(this.#failed);
  }

  /** The first refusal of each call is an entry at once, of so many calls; the rest are counted in the outcome. */
  #denied(live: Live, message: MessageOf<"run.denied">): void {
    if (live.denied.has(message.call) || live.denied.size >= DENIED_ENTRIES) return;
    live.denied.add(message.call);
    this.#store.mutate((tx) => logDeniedCall(tx, live, message)).catch(this.#failed);
  }

  #printed(live: Live, message: MessageOf<"run.secret_seen">): void {
    if (isFirstPrint(live, message))
      this.#store.mutate((tx) => logPrinted(tx, live, message)).catch(this.#failed);
  }

  /**
   * The first end counts. It never throws, so that one run's end can't keep another's from being recorded: whoever waits hears
   * through the listener, also that the outcome could not be recorded, which is returned too.
   */
  async #end(live: Live, ending: Ending, result?: Finished): Promise<SallyportError | undefined> {
    if (live.ending) return undefined;
    live.ending = true;
    this.#egress?.revoke(live.view.row.id);
    const { id } = live.view.row;
    let problem: SallyportError | undefined;
    try {
      live.view.row = await recordEndSurely(this.#store, live, ending, this.#failed, result);
    } catch (error) {
      problem = unrecorded(id, error);
    }
    this.#live.delete(id);
    if (live.started) this.#slots.release(live.op.row.name);
    try {
      if (problem === undefined) live.listener.ended?.(live.view);
      else live.listener.unrecorded?.(live.view, problem);
    } catch (error) {
      this.#failed(error);
    }
    await this.#startQueued();
    return problem;
  }
}
