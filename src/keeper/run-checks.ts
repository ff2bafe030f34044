import { demandsOf } from "../core/approvals.ts";
import { type Args, parseArgs, tokenize } from "../core/args.ts";
import type { AuthRequest, Decision } from "../core/authorizer.ts";
import type { BoundSecret } from "../core/bound-secret.ts";
import { asSallyportError, SallyportError } from "../core/errors.ts";
import { isAtLeast } from "../core/obligations.ts";
import { getRun, type RunRow } from "../store/runs.ts";
import type { Reader, Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { getWait } from "../store/waits.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Access, ActiveOp } from "./access.ts";
import { type Caller, recall } from "./callers.ts";
import { keepDecision } from "./decisions.ts";
import { findOp, readableOp } from "./find-op.ts";
import { checkArgsSize, refuseUngrantable } from "./run-order.ts";
import type { Live, RunRequest } from "./run-types.ts";
import { rootOf } from "./runtimes.ts";
import { asBound, recordReads, type Secrets, versionsOf } from "./secrets.ts";
import { demandKnown } from "./visible-runs.ts";
import { demandsAs, digestOf, planWait, reachedWith, type WaitPlan } from "./wait-plan.ts";

/** Every refusal is an entry: the gate wrote its own, and a log that can't be written can't hold this one either. */
export async function logRefusal(
  store: Store,
  { caller, op }: RunRequest,
  { code, message }: SallyportError,
): Promise<void> {
  if (code === "denied" || code === "log_unwritable" || code === "internal") return;
  await store.mutate((tx) => {
    tx.log({
      type: "request.refused",
      outcome: "denied",
      actor: caller.actor,
      reason: `${op.slice(0, 140)}: ${message}`,
      policy: code,
      data: { surface: caller.source, channel: caller.channel?.id ?? null, code },
    });
  });
}

/** The Op, the typed inputs and the policies that allow it; or throws what the person has to hear. */
export async function admit(
  access: Access,
  reader: Reader,
  o: RunRequest,
  look: Secrets["look"],
): Promise<{
  op: ActiveOp;
  args: Args;
  decision: Decision;
  context: RunContext;
  plan: WaitPlan | null;
  root: string | undefined;
  secrets: BoundSecret[];
}> {
  const { caller, breakGlass } = o;
  const op = await findOp(access, reader, caller, o.op);
  const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
  // Whoever may not even see the Op hears that, and not what its inputs are.
  if (!access.may(caller, "list", resource)) await access.demand(caller, "run", resource);
  const tokens = typeof o.args === "string" ? tokenize(o.args, { slack: true }) : o.args;
  const args = parseArgs(op.manifest, tokens);
  const now = access.now();
  const context: RunContext = {
    args,
    confirmation: reachedWith(caller),
    launch: false,
    breakGlass: breakGlass !== undefined,
    time: now,
  };
  const decision = await access.demandDecision(caller, "run", resource, context);
  checkArgsSize(op.manifest, args);
  refuseUngrantable(op.manifest, access.resources);
  const root = await rootOf(reader, op.manifest);
  const about = { actor: caller.actor, op: op.row.name, namespace: op.namespace.name };
  const secrets = await versionsOf(reader, op.manifest, (source) => look(source, about));
  const { obligations } = decision;
  const plan = await planWait(reader, { caller, op, args, root, secrets, obligations, breakGlass, now });
  return { op, args, decision, context, plan, root, secrets };
}

type RunContext = Required<
  Pick<AuthRequest["context"], "args" | "confirmation" | "launch" | "breakGlass" | "time">
>;

/** Throws what somebody hears who would confirm, approve or deny a run that does not wait. */
export async function waitsNoMore(
  access: Access,
  reader: Reader,
  caller: Caller,
  id: string,
): Promise<never> {
  const row = await getRun(reader, id);
  const op = row && (await readableOp(access, reader, { namespace: row.namespace, name: row.op }));
  const resource = row && op && (await access.runResource(reader, row, op));
  await demandKnown(access, caller, "approve", id, resource);
  if (row === undefined || resource === undefined) throw new SallyportError("not_found");
  await access.demand(caller, "show", resource);
  throw new SallyportError("conflict", `Run ${id} waits for nobody: it is ${row.state}.`);
}

/** The run that this person may end; or throws what the person has to hear. */
export async function admitCancel(
  access: Access,
  reader: Reader,
  { caller, id, live }: { caller: Caller; id: string; live: Live | undefined },
): Promise<{ row: RunRow; op: ActiveOp }> {
  const row = await getRun(reader, id);
  const op = row && (live?.op ?? (await access.activeOp(reader, row.namespace, row.op)));
  const resource = row && op && (await access.runResource(reader, row, op));
  await demandKnown(access, caller, "cancel", id, resource);
  if (row === undefined || op === undefined || resource === undefined) throw new SallyportError("not_found");
  await access.demand(caller, "cancel", resource);
  return { row, op };
}

/** Why no run may start. That the runner is away is no reason: its successor takes what waits. */
export function obstacleTo(
  halted: string | undefined,
  ready: MessageOf<"runner.ready"> | undefined,
): SallyportError | undefined {
  if (halted !== undefined) return new SallyportError("runs_halted", halted);
  if (ready?.ok !== false) return undefined;
  const check = ready.checks.find((c) => !c.ok);
  return new SallyportError(
    "sandbox_unavailable",
    check === undefined ? "" : `${check.name}: ${check.detail}`,
  );
}

/**
 * What was allowed when it was asked for must still be allowed when it starts (P6): a role may be gone by then. The reason why
 * not, or what keeps the decision, and the secrets that it reads, in the transaction of the start.
 */
export async function refusedNow(
  access: Access,
  store: Store,
  live: Live,
): Promise<string | ((tx: Tx) => Promise<void>)> {
  try {
    const caller = await recall(store.read, live.caller);
    const op = await access.activeOp(store.read, live.op.version.namespace, live.op.version.name);
    if (op === undefined || op.version.digest !== live.op.version.digest)
      return "Another version was activated meanwhile.";
    if (op.namespaceEngine !== live.op.namespaceEngine)
      return "The engine of its namespace was changed meanwhile.";
    if ((await rootOf(store.read, op.manifest)) !== live.root)
      return `Another image was imported as ${op.manifest.root} meanwhile.`;
    const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
    const secrets = await versionsOf(store.read, op.manifest, asBound(live.secrets));
    const wait = await getWait(store.read, live.view.row.id);
    if (wait !== undefined) {
      if (access.now() >= wait.expires) return "Its turn came after the time for which it was approved.";
      const { args, root } = live;
      if (digestOf({ caller, op, args, root, secrets, expires: wait.expires }) !== wait.digest)
        return "What would run is not what was approved.";
    }
    const breakGlass = live.view.row.breakGlass !== null;
    const context = {
      args: live.args,
      confirmation: wait?.reached ?? reachedWith(caller),
      launch: true,
      breakGlass,
      time: access.now(),
    };
    const answer = await access.demandDecision(caller, "run", resource, context);
    const isAsBefore = wait === undefined || demandsAs(wait, op, answer.obligations);
    const { confirm, needs } = demandsOf(op.manifest, answer.obligations);
    // A policy that came since it was asked for asks of those too that wait for their turn.
    const isMet = breakGlass || (needs.length === 0 && isAtLeast(context.confirmation, confirm));
    if (wait === undefined ? !isMet : !isAsBefore)
      return "What has to be confirmed or approved was changed meanwhile.";
    return async (tx) => {
      await keepDecision(tx, { run: live.view.row.id, phase: "launch", caller, context, answer });
      await recordReads(tx, live.view.row, secrets);
    };
  } catch (error) {
    const { code, message } = asSallyportError(error);
    return code === "secret_missing" ? message : `Not allowed any more: ${message}`;
  }
}
