import { parseArgs, tokenize } from "../core/args.ts";
import { asSallyportError, SallyportError } from "../core/errors.ts";
import { isFinal, newRunId } from "../core/run.ts";
import { getBundle } from "../store/ops.ts";
import { getRun, liveRuns, type RunRow } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { getUser } from "../store/users.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import type { Access, ActiveOp } from "./access.ts";
import type { Caller } from "./callers.ts";
import { findOp } from "./find-op.ts";
import type { Peers } from "./peers.ts";
import { logRefusal, refusedNow } from "./run-checks.ts";
import { checkArgsSize, orderOf, refuseUngrantable } from "./run-order.ts";
import { RunOutput } from "./run-output.ts";
import {
  type Ending,
  endingOf,
  type Finished,
  recordEnd,
  recordEndSurely,
  recordRequest,
  recordStart,
} from "./run-record.ts";
import { RunSlots } from "./run-slots.ts";
import type { Live, RunRequest, RunView } from "./run-types.ts";

/** From request to recorded outcome (DESIGN section 4). Every change of state is one transaction with its log entry. */
export class Runs {
  readonly #store: Store;
  readonly #access: Access;
  readonly #peers: Peers;
  readonly #failed: (error: unknown) => void;
  readonly #live = new Map<string, Live>();
  readonly #slots = new RunSlots();
  #ready: MessageOf<"runner.ready"> | undefined;
  #halted: string | undefined;

  constructor(o: { store: Store; access: Access; peers: Peers; failed: (error: unknown) => void }) {
    this.#store = o.store;
    this.#access = o.access;
    this.#peers = o.peers;
    this.#failed = o.failed;
  }

  get selfTest(): MessageOf<"runner.ready"> | undefined {
    return this.#ready;
  }

  get running(): number {
    return this.#slots.taken;
  }

  /** Stops new runs, for a reason that `status` shows; live ones go on. */
  halt(reason: string): void {
    this.#halted = reason;
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
    const op = await findOp(this.#access, this.#store.read, caller, o.op);
    const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
    // Whoever may not even see the Op hears that, and not what its inputs are.
    if (!this.#access.may(caller, "list", resource)) await this.#access.demand(caller, "run", resource);
    const tokens = typeof o.args === "string" ? tokenize(o.args, { slack: true }) : o.args;
    const args = parseArgs(op.manifest, tokens);
    const policies = await this.#access.demand(caller, "run", resource, { args, confirmation: "none" });
    checkArgsSize(op.manifest, args);
    refuseUngrantable(op.manifest);
    this.#refuseUnrunnable();
    const id = newRunId();
    const started = this.#takeSlot(op);
    let row: RunRow;
    try {
      row = await this.#store.mutate(async (tx) => {
        const queued = await recordRequest(tx, { ...o, id, op, args, policies });
        await o.recording?.(tx, id);
        return started ? await recordStart(tx, id) : queued;
      });
    } catch (error) {
      if (started) this.#slots.release(op.row.name);
      throw error;
    }
    const view = { row, manifest: op.manifest, requester: caller.principal.name };
    const live = {
      view,
      op,
      caller,
      args,
      listener: o.listener,
      output: new RunOutput(id, op.manifest.limits.outputBytes),
      denied: new Set<string>(),
      started,
      ending: false,
      cancelWanted: false,
    };
    this.#live.set(id, live);
    if (started) await this.#order(live);
    else await this.#startQueued();
    return live.view;
  }

  /** Ends a run that is queued or running. The outcome is recorded when the runner reports that nothing of it is left. */
  async cancel(caller: Caller, id: string): Promise<void> {
    const row = await getRun(this.#store.read, id);
    if (row === undefined) throw new SallyportError("not_found", `Run ${id}.`);
    const live = this.#live.get(id);
    const op = live?.op ?? (await this.#access.activeOp(this.#store.read, row.namespace, row.op));
    if (op === undefined) throw new SallyportError("not_found", `Run ${id} belongs to an Op that is gone.`);
    const requester = live?.view.requester ?? (await getUser(this.#store.read, row.requester))?.name ?? "";
    await this.#access.demand(caller, "cancel", {
      kind: "run",
      id,
      requester,
      op: op.row,
      namespace: op.namespace,
    });
    if (isFinal(row.state) || live === undefined)
      throw new SallyportError("conflict", `Run ${id} has ended: ${row.state}.`);
    await this.#store.mutate((tx) => {
      tx.log({
        type: "run.cancel_requested",
        outcome: "success",
        actor: caller.actor,
        run: id,
        op: op.row.name,
        namespace: op.namespace.name,
        data: { source: caller.source, channel: caller.channel?.id ?? null },
      });
    });
    live.cancelWanted = true;
    if (live.started) this.#peers.send("runner", { type: "run.cancel", run: id, reason: "canceled" });
    else await this.#end(live, { state: "canceled", reason: "Canceled before it started." });
  }

  /** Messages of the runner. */
  receive(message: Message, parts: Buffer[]): void {
    if (message.type === "runner.ready") this.#runnerReady(message);
    if (!("run" in message) || typeof message.run !== "string") return;
    const live = this.#live.get(message.run);
    if (live === undefined) return;
    if (message.type === "run.output") this.#output(live, message.stream, parts[0]!);
    else if (message.type === "run.progress") live.listener.progress?.(message.text, message.percent);
    else if (message.type === "run.denied") this.#denied(live, message.call);
    else if (message.type === "run.finished")
      void this.#end(live, endingOf(message), message).catch(this.#failed);
  }

  /** The runner's process is gone and with it every process of its runs. */
  async runnerLost(): Promise<void> {
    this.#ready = undefined;
    for (const live of [...this.#live.values()]) {
      if (live.started)
        await this.#end(live, {
          state: "lost",
          reason: "The runner's process ended; nothing of the run is left.",
        });
    }
  }

  /** After a crash: what was live then is dead now (the runner ends with the keeper), and is recorded as `lost`. */
  async recover(tell: (tx: Tx, row: RunRow) => Promise<void>): Promise<void> {
    const reason = "sallyport ended while the run was under way; nothing of it is left.";
    for (const row of await liveRuns(this.#store.read)) {
      await this.#store.mutate(async (tx) => {
        await tell(tx, await recordEnd(tx, { row, ending: { state: "lost", reason } }));
      });
    }
  }

  /** Kills every run and waits until the runner says so, at most `ms`. */
  async stopAll(ms: number): Promise<void> {
    this.halt("The appliance is being locked or stopped.");
    const until = Date.now() + ms;
    const reason = "The appliance was locked or stopped.";
    for (const [id, live] of [...this.#live]) {
      live.cancelWanted = true;
      if (live.started) this.#peers.send("runner", { type: "run.cancel", run: id, reason: "lock" });
      else void this.#end(live, { state: "canceled", reason }).catch(this.#failed);
    }
    const pause = () => new Promise((resolve) => setTimeout(resolve, 10));
    while (this.#live.size > 0 && Date.now() < until) await pause();
    for (const live of [...this.#live.values()])
      void this.#end(live, { state: "lost", reason }).catch(this.#failed);
    while (this.#live.size > 0 && Date.now() < until + ms) await pause();
  }

  #refuseUnrunnable(): void {
    if (this.#halted !== undefined) throw new SallyportError("runs_halted", this.#halted);
    if (this.#ready?.ok === false) {
      const check = this.#ready.checks.find((c) => !c.ok);
      throw new SallyportError(
        "sandbox_unavailable",
        check === undefined ? "" : `${check.name}: ${check.detail}`,
      );
    }
  }

  #takeSlot(op: ActiveOp): boolean {
    return (
      this.#ready?.ok === true &&
      this.#peers.has("runner") &&
      this.#slots.take(op.row.name, op.manifest.concurrency)
    );
  }

  #runnerReady(message: MessageOf<"runner.ready">): void {
    this.#ready = message;
    this.#store
      .mutate((tx) => {
        const failed = message.checks.filter((check) => !check.ok).map((check) => check.name);
        tx.log({
          type: "sandbox.selftest",
          outcome: message.ok ? "success" : "failure",
          actor: { kind: "system" },
          data: { checks: message.checks.length, failed: failed.join(","), cgroup: message.cgroup },
        });
      })
      .then(() => this.#startQueued())
      .catch(this.#failed);
  }

  async #startQueued(): Promise<void> {
    for (const live of [...this.#live.values()]) {
      if (live.started || live.ending || !this.#takeSlot(live.op)) continue;
      live.started = true;
      try {
        const refused = await refusedNow(this.#access, this.#store, live);
        if (refused !== null) {
          await this.#end(live, { state: "canceled", reason: refused });
          continue;
        }
        live.view.row = await this.#store.mutate((tx) => recordStart(tx, live.view.row.id));
        await this.#order(live);
      } catch (error) {
        if (!live.ending) {
          live.started = false;
          this.#slots.release(live.op.row.name);
        }
        this.#failed(error);
      }
    }
  }

  /** The run is recorded as running: whatever goes wrong from here on is its outcome. */
  async #order(live: Live): Promise<void> {
    const { view, op, args } = live;
    try {
      const bundle = await getBundle(this.#store.read, op.version.digest);
      if (live.cancelWanted)
        return await this.#end(live, { state: "canceled", reason: "Canceled before it started." });
      const order = orderOf(view.row.id, op.manifest, op.version.digest, args);
      if (this.#peers.send("runner", order, [bundle])) live.listener.started?.(view);
      else
        await this.#end(live, {
          state: "lost",
          reason: "The runner's process ended before it took the order.",
        });
    } catch (error) {
      this.#failed(error);
      const reason = `It could not be handed to the runner: ${asSallyportError(error).message}`;
      await this.#end(live, { state: "failed", reason });
    }
  }

  #output(live: Live, stream: "stdout" | "stderr", bytes: Buffer): void {
    const kept = live.output.take(stream === "stdout" ? "out" : "err", bytes);
    if (kept.length === 0) return;
    live.listener.output?.(stream, kept);
    live.output.flush(this.#store).catch(this.#failed);
  }

  /** The first refusal of each call is an entry at once; the rest are counted in the outcome. */
  #denied(live: Live, call: string): void {
    if (live.denied.has(call)) return;
    live.denied.add(call);
    this.#store
      .mutate((tx) => {
        tx.log({
          type: "sandbox.denied",
          outcome: "denied",
          actor: live.caller.actor,
          run: live.view.row.id,
          op: live.op.row.name,
          namespace: live.op.namespace.name,
          data: { call },
        });
      })
      .catch(this.#failed);
  }

  async #end(live: Live, ending: Ending, result?: Finished): Promise<void> {
    if (live.ending) return;
    live.ending = true;
    live.view.row = await recordEndSurely(this.#store, live, ending, this.#failed, result);
    this.#live.delete(live.view.row.id);
    if (live.started) this.#slots.release(live.op.row.name);
    live.listener.ended?.(live.view);
    await this.#startQueued();
  }
}
