import type { Args } from "../core/args.ts";
import { canonicalJson } from "../core/canonical.ts";
import type { Engine } from "../core/engines.ts";
import { asSallyportError, SallyportError } from "../core/errors.ts";
import { exposedTo } from "../core/host-facts.ts";
import { targetText } from "../core/manifest-shape.ts";
import type { RunState } from "../core/run.ts";
import { createRun, moveRun, type RunRow } from "../store/runs.ts";
import { eraseRetired } from "../store/secrets.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { getUser } from "../store/users.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { ActiveOp } from "./access.ts";
import type { Caller } from "./callers.ts";
import { printedText } from "./printed-secrets.ts";
import type { RunOutput } from "./run-output.ts";
import type { Live } from "./run-types.ts";

const RETRY_MS = 1000;

/** The transactions of a run: each change of state together with its log entry. */
export type Finished = MessageOf<"run.finished">;
/** `code`: why it ended before it started, in one word for who counts them. */
export type Ending = { state: RunState; reason: string | null; code?: "withdrawn" | "expired" | "denied" };
const OUTCOMES: Readonly<Partial<Record<RunState, "success" | "unknown" | "denied">>> = {
  succeeded: "success",
  lost: "unknown",
  denied: "denied",
};

/** The intent, durable before anything happens. The run is `queued` or `waiting` afterwards. */
export async function recordRequest(
  tx: Tx,
  o: {
    id: string;
    caller: Caller;
    op: ActiveOp;
    args: Args;
    policies: readonly string[];
    root: string | undefined;
    thread?: string;
    requestId?: string;
    breakGlass?: string;
    /** Whether it waits for somebody before it may be queued. */
    waits: boolean;
  },
): Promise<RunRow> {
  const { id, caller, op } = o;
  // What was admitted a moment ago can be another's disabling by now.
  if ((await getUser(tx, caller.id))?.status !== "active") throw new SallyportError("user_disabled");
  await createRun(tx, {
    id,
    namespace: op.version.namespace,
    op: op.version.name,
    version: op.version.number,
    digest: op.version.digest,
    args: canonicalJson(o.args),
    requester: caller.id,
    source: caller.source,
    policy: o.policies.join(","),
    ...(caller.channel === null ? {} : { channel: caller.channel.id }),
    ...(o.thread === undefined ? {} : { thread: o.thread }),
    ...(o.requestId === undefined ? {} : { requestId: o.requestId }),
    ...(o.breakGlass === undefined ? {} : { breakGlass: o.breakGlass }),
  });
  tx.log({
    type: "run.requested",
    outcome: "success",
    actor: caller.actor,
    run: id,
    op: op.row.name,
    namespace: op.namespace.name,
    policy: o.policies.join(","),
    data: {
      source: caller.source,
      channel: caller.channel?.id ?? null,
      version: op.version.number,
      digest: op.version.digest,
      args: Object.keys(o.args).length,
      request: o.requestId ?? null,
      ...(op.manifest.network.length === 0 ? {} : { network: op.manifest.network.map(targetText).join(",") }),
      root: o.root ?? null,
      ...(op.row.resources?.length ? { resources: op.row.resources.join(",") } : {}),
    },
  });
  return moveRun(tx, id, { from: "requested", to: o.waits ? "waiting" : "queued" });
}

/** Before the order leaves for the runner. */
export async function recordStart(tx: Tx, id: string, engine: Engine): Promise<RunRow> {
  const row = await moveRun(tx, id, { from: "queued", to: "running" });
  tx.log({
    type: "run.started",
    outcome: "success",
    actor: { kind: "user", id: row.requester, name: "" },
    run: row.id,
    op: `${row.namespace}/${row.op}`,
    namespace: row.namespace,
    data: { digest: row.digest, version: row.version, engine },
  });
  return row;
}

/** The outcome. `result` is absent where the runner can't tell any more; `output` is then what came until then. */
export async function recordEnd(
  tx: Tx,
  o: { row: RunRow; ending: Ending; output?: RunOutput; result?: Finished },
): Promise<RunRow> {
  const { row, ending, result } = o;
  await o.output?.save(tx);
  const durationMs = result === undefined ? null : Math.round(result.durationMs);
  const ended = await moveRun(tx, row.id, {
    from: row.state,
    to: ending.state,
    set: {
      reason: ending.reason,
      exit: result?.exit ?? null,
      signal: result?.signal ?? null,
      durationMs,
      usage: result === undefined ? null : usageOf(result),
      // The runner trims first, so what is stored does not tell.
      ...(result?.truncated === true || o.output?.truncated === true ? { truncated: true } : {}),
    },
  });
  await eraseRetired(tx);
  tx.log({
    type: "run.finished",
    outcome: OUTCOMES[ending.state] ?? "failure",
    actor: { kind: "user", id: row.requester, name: "" },
    run: row.id,
    op: `${row.namespace}/${row.op}`,
    namespace: row.namespace,
    ...(ending.reason === null ? {} : { reason: ending.reason }),
    data: {
      state: ending.state,
      ...(ending.code === undefined ? {} : { code: ending.code }),
      exit: result?.exit ?? null,
      signal: result?.signal ?? null,
      durationMs,
      cpuMs: result === undefined ? null : Math.round(result.cpuMs),
      peakMemoryBytes: result?.peakMemoryBytes ?? null,
      processes: result?.processes ?? null,
      limitedBy: result?.limitedBy ?? null,
      outputBytes: result?.outputBytes ?? o.output?.shown.bytes ?? 0,
      truncated: result?.truncated ?? null,
      denied: result?.denied.map((d) => `${d.call}:${d.count}`).join(",") ?? null,
      ...(result?.printed === undefined ? {} : { printed: printedText(result.printed) }),
    },
  });
  if (result?.resource !== undefined)
    tx.log({
      type: "resource.refused",
      outcome: "denied",
      actor: { kind: "user", id: row.requester, name: "" },
      run: row.id,
      op: `${row.namespace}/${row.op}`,
      namespace: row.namespace,
      ...(ending.reason === null ? {} : { reason: ending.reason }),
      data: { resource: result.resource },
    });
  return ended;
}

export function endingOf(m: Finished, { cancelReason }: Pick<Live, "cancelReason"> = {}): Ending {
  if (m.outcome === "exited") return { state: m.exit === 0 ? "succeeded" : "failed", reason: m.detail };
  if (m.outcome === "signaled")
    return { state: "failed", reason: m.detail ?? `Ended by ${m.signal ?? "a signal"}.` };
  if (m.outcome === "timed_out") return { state: "timed_out", reason: "Its time limit was over." };
  if (m.outcome === "canceled") return { state: "canceled", reason: m.detail ?? cancelReason ?? null };
  return {
    state: "failed",
    reason: `${m.detail ?? "The sandbox could not be set up."} The Op was not started.`,
  };
}

/** Of runs.usage (store/schema.ts). */
const USAGE_CHARS = 4096;

/**
 * What `runs show` tells of what the run used, and of what bounded it. Times in whole ms, sizes in bytes. An Op chooses what it is
 * refused, and must not keep its outcome from being recorded by it: what finds no room is one sum.
 */
function usageOf(m: Finished): string {
  for (let told = m.denied.length; ; told--) {
    const count = m.denied.slice(told).reduce((sum, d) => sum + d.count, 0);
    const rest = told === m.denied.length ? [] : [{ call: "others", count }];
    const text = usageText(m, [...m.denied.slice(0, told), ...rest]);
    if (text.length <= USAGE_CHARS || told === 0) return text;
  }
}

function usageText(m: Finished, denied: Finished["denied"]): string {
  const { peakMemoryBytes, processes, outputBytes, truncated, limitedBy } = m;
  const [wallMs, userMs, systemMs] = [m.durationMs, m.userMs, m.systemMs].map(Math.round) as [
    number,
    number,
    number,
  ];
  return canonicalJson({
    limitedBy,
    wallMs,
    cpuMs: Math.round(m.cpuMs),
    userMs,
    systemMs,
    peakMemoryBytes,
    processes,
    outputBytes,
    truncated,
    denied,
  });
}

/**
 * A full disk must not swallow an outcome: the run stays live until its end can be recorded. Throws what no waiting mends, such
 * as a damaged database.
 */
export async function recordEndSurely(
  store: Store,
  live: Live,
  ending: Ending,
  failed: (error: unknown) => void,
  result?: Finished,
): Promise<RunRow> {
  const { view } = live;
  let output: RunOutput | undefined = live.output;
  for (;;) {
    try {
      return await store.mutate(async (tx) => {
        const row = await recordEnd(tx, {
          row: view.row,
          ending,
          ...(output === undefined ? {} : { output }),
          ...(result === undefined ? {} : { result }),
        });
        await live.listener.recording?.(tx, { ...view, row }, live.output.shown);
        return row;
      });
    } catch (error) {
      failed(error);
      const isFull = error instanceof SallyportError && error.code === "log_unwritable";
      if (isFull) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      else if (output === undefined) throw error;
      // Better an outcome without its output than none.
      else output = undefined;
    }
  }
}

/** What whoever waits for the run hears instead of its outcome. */
export function unrecorded(id: string, error: unknown): SallyportError {
  const { code, detail } = asSallyportError(error);
  const said = `The outcome of run ${id} could not be recorded; the next unlock records it as lost. ${detail}`;
  return new SallyportError(code, said.trim(), { cause: error });
}

/** `ahead`: runs of any Op that wait too. */
export function logQueued(tx: Tx, row: RunRow, ahead: number): void {
  tx.log({
    type: "run.queued",
    outcome: "success",
    actor: { kind: "user", id: row.requester, name: "" },
    run: row.id,
    op: `${row.namespace}/${row.op}`,
    namespace: row.namespace,
    data: { ahead },
  });
}

export function logCancelWanted(
  tx: Tx,
  { id, op, caller }: { id: string; op: ActiveOp; caller: Caller },
): void {
  tx.log({
    type: "run.cancel_requested",
    outcome: "success",
    actor: caller.actor,
    run: id,
    op: op.row.name,
    namespace: op.namespace.name,
    data: { source: caller.source, channel: caller.channel?.id ?? null },
  });
}

export function logDeniedCall(
  tx: Tx,
  live: Live,
  { call, process }: Pick<MessageOf<"run.denied">, "call" | "process">,
): void {
  tx.log({
    type: "sandbox.denied",
    outcome: "denied",
    actor: live.caller.actor,
    run: live.view.row.id,
    op: live.op.row.name,
    namespace: live.op.namespace.name,
    data: { call, process: process?.name ?? null, pid: process?.pid ?? null },
  });
}

export function logSelfTest(tx: Tx, ready: MessageOf<"runner.ready">): void {
  const { ok, checks, cgroup, degraded, facts } = ready;
  const failed = checks.filter((check) => !check.ok);
  const [first] = failed;
  tx.log({
    type: "sandbox.selftest",
    outcome: ok ? "success" : "failure",
    actor: { kind: "system" },
    // With which setting to change.
    ...(first === undefined ? {} : { reason: `${first.name}: ${first.detail}` }),
    data: {
      checks: checks.length,
      failed: failed.map(({ name }) => name).join(","),
      cgroup,
      degraded: degraded.join("; "),
      kernel: facts.kernel,
      vulnerable: exposedTo(facts).join(","),
      smt: facts.smt,
      lockdown: facts.lockdown,
      yama: facts.yama,
      landlock: facts.landlock,
      auditd: facts.auditd,
    },
  });
}
