import { counts, isAsked, needsOf, needText } from "../core/approvals.ts";
import type { Decision } from "../core/authorizer.ts";
import { asSallyportError, SallyportError } from "../core/errors.ts";
import type { Confirm } from "../core/manifest.ts";
import { isAtLeast } from "../core/obligations.ts";
import { getRun, moveRun } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { addVerdict, getWait, listVerdicts, setReached, type Verdict, type Wait } from "../store/waits.ts";
import type { Access } from "./access.ts";
import { type Caller, recall } from "./callers.ts";
import type { Codes } from "./codes.ts";
import { logQueued } from "./run-record.ts";
import type { Live, WaitView } from "./run-types.ts";
import type { Runs } from "./runs.ts";
import {
  accountOf,
  approverOf,
  asItWasAsked,
  CLOCK_SLACK_MS,
  demandsAs,
  isComplete,
  reachedWith,
  waitView,
} from "./wait-plan.ts";
import { logConfirmed, logDenied, recordApproved } from "./wait-record.ts";

/** setTimeout takes no more. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export type Answered = { live: Live; state: "confirmed" | "approved" | "denied" };

/** Runs that wait to be confirmed by who asked for them, or approved by others (P6). */
export class Waits {
  readonly #store: Store;
  readonly #access: Access;
  readonly #runs: Runs;
  readonly #codes: Pick<Codes, "check">;
  readonly #now: () => number;
  readonly #failed: (error: unknown) => void;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  /** What people are just saying of a run: none is ended before that is durable, as it may wait no more then. */
  readonly #saying = new Map<string, Promise<unknown>>();

  constructor(o: {
    store: Store;
    access: Access;
    runs: Runs;
    codes: Pick<Codes, "check">;
    now: () => number;
    failed: (error: unknown) => void;
  }) {
    this.#store = o.store;
    this.#access = o.access;
    this.#runs = o.runs;
    this.#codes = o.codes;
    this.#now = o.now;
    this.#failed = o.failed;
    this.#runs.joinWaits({ onWaiting: (live) => this.#watch(live), late: (live) => this.#refusal(live) });
  }

  /**
   * Confirms one's own run, or approves another's. `digest`: what the person was shown, where they were. Throws `code_needed`
   * where a one-time code is wanted and none came along.
   */
  async approve(caller: Caller, id: string, o: { code?: string; digest?: string } = {}): Promise<Answered> {
    const { live, wait } = await this.#find(caller, id);
    if (o.digest !== undefined && o.digest !== wait.digest)
      throw new SallyportError("conflict", `Run ${id} is not the one that was shown. Look at it again.`);
    const isOwn = live.view.row.requester === caller.id;
    if (isOwn && !isAtLeast(wait.reached, wait.confirm)) return this.#confirm(caller, live, wait, o.code);
    return this.#approve(caller, live, wait, o.code);
  }

  /** Ends it: one word of somebody who was asked is enough. */
  async deny(caller: Caller, id: string): Promise<Answered> {
    const { live, wait } = await this.#find(caller, id);
    const { policies } = await this.#demandApprove(caller, live, wait);
    const { row } = live.view;
    await this.#store.mutate(async (tx) => {
      await this.#mustWait(tx, id);
      await speak(tx, caller, { run: id, verdict: "denied", reached: reachedWith(caller) });
      logDenied(tx, row, caller, wait.digest, policies);
    });
    const reason = `Denied by ${caller.principal.name}.`;
    const problem = await this.#runs.endWaiting(live, { state: "denied", reason, code: "denied" });
    if (problem !== undefined) throw problem;
    return { live, state: "denied" };
  }

  /** Withdraws what would not be asked for, or not be allowed, as things are now. After whatever may have changed them. */
  async recheck(): Promise<void> {
    for (const live of this.#runs.waiting()) await this.#recheck(live).catch(this.#failed);
  }

  /** Why it may not start: null where what was approved is what would run, and enough of those who approved still may. */
  async #refusal(live: Live): Promise<string | null> {
    const wait = await getWait(this.#store.read, live.view.row.id);
    if (wait === undefined) return null;
    const view = await waitView(this.#access, this.#store.read, { row: live.view.row, op: live.op, wait });
    return isComplete(view) ? null : "One who approved it may not any more.";
  }

  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  async #find(caller: Caller, id: string): Promise<{ live: Live; wait: Wait }> {
    const live = this.#runs.waiting().find(({ view }) => view.row.id === id);
    const wait = live === undefined ? undefined : await getWait(this.#store.read, id);
    if (live !== undefined && wait !== undefined) {
      await this.#expireIfDue(live, wait);
      return { live, wait };
    }
    return this.#runs.notWaiting(caller, id);
  }

  /** A timer can be late, and the clock may have been set. */
  async #expireIfDue(live: Live, wait: Wait): Promise<void> {
    const now = this.#now();
    if (now >= wait.expires) await this.#expire(live);
    else if (now < wait.created - CLOCK_SLACK_MS)
      await this.#withdraw(live, "The host's clock was set back behind the time when it was asked for.");
    if (live.ending || !live.waiting)
      throw new SallyportError("conflict", live.view.row.reason ?? `Run ${wait.run} waits no more.`);
  }

  async #confirm(caller: Caller, live: Live, wait: Wait, code: string | undefined): Promise<Answered> {
    const id = wait.run;
    const reached = reachedWith(caller, code);
    if (!isAtLeast(reached, wait.confirm)) return this.#notReached(caller, live, wait.confirm, wait);
    if (reached === "totp") await this.#codes.check(caller, code ?? "", "confirm", id);
    await this.#advance(live, {
      change: (tx) => setReached(tx, id, reached),
      record: (tx) => logConfirmed(tx, live.view.row, caller, reached),
    });
    return { live, state: "confirmed" };
  }

  async #approve(caller: Caller, live: Live, wait: Wait, code: string | undefined): Promise<Answered> {
    const id = wait.run;
    const decision = await this.#demandApprove(caller, live, wait);
    const reached = reachedWith(caller, code);
    const who = approverOf(caller, live.op);
    const asked = needsOf(wait.needs).filter((need) => isAsked(need, who));
    if (!asked.some((need) => counts(need, { ...who, reached })))
      return this.#notReached(
        caller,
        live,
        asked.some(({ confirm }) => confirm === "totp") ? "totp" : "local",
        wait,
      );
    if ((await listVerdicts(this.#store.read, id)).some(({ userId }) => userId === caller.id))
      throw alreadySpoken(id);
    if (reached === "totp") await this.#codes.check(caller, code ?? "", "approve", id);
    await this.#advance(live, {
      change: (tx) => speak(tx, caller, { run: id, verdict: "approved", reached }),
      record: (tx, { missing }) =>
        recordApproved(tx, {
          row: live.view.row,
          caller,
          reached,
          digest: wait.digest,
          missing: missing.length,
          context: { confirmation: reached, time: tx.now },
          answer: decision,
        }),
    });
    return { live, state: "approved" };
  }

  /** A code that is wanted is asked for; what only the host can say is refused here. */
  async #notReached(caller: Caller, live: Live, wanted: Confirm, { run }: Wait): Promise<never> {
    if (wanted === "totp") throw new SallyportError("code_needed", `It belongs to run ${run}.`);
    const reason = `This is done on the host: sallyport approve ${run}`;
    const resource = await this.#access.runResource(this.#store.read, live.view.row, live.op);
    const refused = { allow: false, policies: ["confirm-local"], reason, obligations: [] };
    await this.#access.refused(caller, "approve", resource, refused);
    throw new SallyportError("denied", reason);
  }

  /** The gate, and then whether one of those is asked whose approval it waits for. */
  async #demandApprove(caller: Caller, live: Live, wait: Wait): Promise<Decision> {
    const { row } = live.view;
    const resource = await this.#access.runResource(this.#store.read, row, live.op);
    const context = { args: live.args, confirmation: reachedWith(caller) };
    const decision = await this.#access.demandDecision(caller, "approve", resource, context);
    const needs = needsOf(wait.needs);
    if (needs.some((need) => isAsked(need, approverOf(caller, live.op)))) return decision;
    const reason =
      needs.length === 0
        ? "It waits for the one who asked for it alone."
        : `It has to be approved by ${needs.map(needText).join(" and by ")}.`;
    const refused = { ...decision, allow: false, policies: needs.map(({ policy }) => policy), reason };
    await this.#access.refused(caller, "approve", resource, refused);
    throw new SallyportError("denied", reason);
  }

  /** One transaction: what the person did, its entry, and the move to the queue where that was the last thing missing. */
  async #advance(
    live: Live,
    said: {
      change: (tx: Tx) => Promise<void>;
      record: (tx: Tx, view: WaitView) => Promise<void> | void;
    },
  ): Promise<void> {
    const id = live.view.row.id;
    const saying = this.#store.mutate(async (tx) => {
      await this.#mustWait(tx, id);
      await said.change(tx);
      const wait = (await getWait(tx, id)) as Wait;
      live.view.wait = await waitView(this.#access, tx, { row: live.view.row, op: live.op, wait });
      await said.record(tx, live.view.wait);
      const ready = isComplete(live.view.wait);
      const row = ready ? await moveRun(tx, id, { from: "waiting", to: "queued" }) : live.view.row;
      if (ready) logQueued(tx, row, this.#runs.queuedNow);
      await live.listener.waiting?.(tx, { ...live.view, row });
      return ready ? row : null;
    });
    this.#saying.set(id, saying);
    const moved = await saying.finally(() => {
      if (this.#saying.get(id) === saying) this.#saying.delete(id);
    });
    live.listener.waited?.(live.view);
    if (moved === null) return;
    this.#unwatch(id);
    await this.#runs.proceed(live, moved);
  }

  /** Of several at once the first ends or moves it; the others hear that. */
  async #mustWait(tx: Tx, id: string): Promise<void> {
    const row = await getRun(tx, id);
    const verdicts = await listVerdicts(tx, id);
    if (row?.state === "waiting" && verdicts.every(({ verdict }) => verdict === "approved")) return;
    throw new SallyportError("conflict", `Run ${id} waits no more.`);
  }

  async #recheck(live: Live): Promise<void> {
    const why = await this.#changed(live).catch((error: unknown) => {
      const { code, message } = asSallyportError(error);
      // What can't be read now may be as it was.
      if (code === "internal" || code === "log_unwritable") throw error;
      return message;
    });
    if (why !== null && !live.ending) await this.#withdraw(live, why);
  }

  async #changed(live: Live): Promise<string | null> {
    const { read } = this.#store;
    const wait = await getWait(read, live.view.row.id);
    if (wait === undefined || live.ending || !live.waiting) return null;
    const caller = await recall(read, live.caller);
    const { namespace, name, digest } = live.op.version;
    const op = await this.#access.activeOp(read, namespace, name);
    if (op === undefined || op.row.disabled) return "The Op was disabled.";
    if (op.version.digest !== digest) return "Another version was activated.";
    if (op.namespaceEngine !== live.op.namespaceEngine) return "The engine of its namespace was changed.";
    const { args } = live;
    if ((await asItWasAsked(read, wait, { caller, op, args })) === null)
      return "What would run is not what was asked for.";
    const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
    const decision = this.#access.decide(caller, "run", resource, { args, confirmation: wait.reached });
    if (!decision.allow) return decision.reason;
    if (!demandsAs(wait, op, decision.obligations)) return "Who has to approve it was changed.";
    live.view.wait = await waitView(this.#access, read, { row: live.view.row, op, wait });
    return null;
  }

  /** Also of one that was there before this start. */
  #watch(live: Live): void {
    const { wait, row } = live.view;
    if (wait === undefined) return;
    const left = Math.min(MAX_TIMER_MS, Math.max(0, wait.expires - this.#now()));
    const timer = setTimeout(() => {
      if (left === MAX_TIMER_MS) this.#watch(live);
      else void this.#expire(live).catch(this.#failed);
    }, left);
    timer.unref();
    this.#timers.set(row.id, timer);
  }

  #unwatch(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }

  async #expire(live: Live): Promise<void> {
    if (!live.waiting) return;
    const reason = "It was not confirmed and approved in time.";
    await this.#end(live, { state: "expired", reason, code: "expired" });
  }

  async #withdraw(live: Live, why: string): Promise<void> {
    await this.#end(live, { state: "canceled", reason: `Withdrawn: ${why}`, code: "withdrawn" });
  }

  async #end(live: Live, ending: Parameters<Runs["endWaiting"]>[1]): Promise<void> {
    const { id } = live.view.row;
    for (let saying = this.#saying.get(id); saying !== undefined; saying = this.#saying.get(id))
      await saying.catch(() => undefined);
    // Those that heard of the same move go on first: after them it is seen to wait, or not to.
    await new Promise((resolve) => setImmediate(resolve));
    this.#unwatch(id);
    const problem = await this.#runs.endWaiting(live, ending);
    if (problem !== undefined) this.#failed(problem);
  }
}

/** Throws `conflict` where they have spoken already. */
async function speak(
  tx: Tx,
  caller: Caller,
  said: Pick<Verdict, "run" | "verdict" | "reached">,
): Promise<void> {
  const { id: userId, source, channel } = caller;
  const made = { ...said, userId, source, channel: channel?.id ?? null, account: accountOf(caller) };
  if (!(await addVerdict(tx, made))) throw alreadySpoken(said.run);
}

const alreadySpoken = (run: string): SallyportError =>
  new SallyportError("conflict", `You have approved or denied run ${run} already.`);
