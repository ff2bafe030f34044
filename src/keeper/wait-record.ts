import { needsOf, needText } from "../core/approvals.ts";
import type { AuthRequest } from "../core/authorizer.ts";
import type { RunRow } from "../store/runs.ts";
import type { Tx } from "../store/tx.ts";
import { addWait, type Wait } from "../store/waits.ts";
import type { Caller } from "./callers.ts";
import { type Answered, keepDecision } from "./decisions.ts";

/** The transactions of a run that waits: each change together with its log entry. */

export async function recordWait(
  tx: Tx,
  row: RunRow,
  caller: Caller,
  wait: Omit<Wait, "created">,
): Promise<void> {
  await addWait(tx, wait);
  tx.log({
    type: "run.waiting",
    outcome: "success",
    actor: caller.actor,
    ...about(row),
    data: {
      confirm: wait.confirm,
      approvals: needsText(wait),
      digest: wait.digest,
      expires: wait.expires,
    },
  });
}

export const needsText = ({ needs }: Pick<Wait, "needs">): string =>
  needsOf(needs)
    .map((need) => `${needText(need)} (${need.policy})`)
    .join("; ")
    .slice(0, 1000);

export function logConfirmed(tx: Tx, row: RunRow, caller: Caller, confirm: string): void {
  tx.log({
    type: "run.confirmed",
    outcome: "success",
    actor: caller.actor,
    ...about(row),
    data: { confirm, source: caller.source },
  });
}

/** `missing`: how many needs are left. */
export async function recordApproved(
  tx: Tx,
  o: {
    row: RunRow;
    caller: Caller;
    reached: string;
    digest: string;
    missing: number;
    context: Pick<AuthRequest["context"], "confirmation" | "time">;
    answer: Answered;
  },
): Promise<void> {
  const { row, caller, answer } = o;
  tx.log({
    type: "run.approved",
    outcome: "success",
    actor: caller.actor,
    ...about(row),
    policy: answer.policies.join(","),
    data: {
      confirm: o.reached,
      source: caller.source,
      channel: caller.channel?.id ?? null,
      digest: o.digest,
      missing: o.missing,
    },
  });
  await keepDecision(tx, { run: row.id, phase: "approve", caller, context: o.context, answer });
}

export function logDenied(
  tx: Tx,
  row: RunRow,
  caller: Caller,
  digest: string,
  policies: readonly string[],
): void {
  tx.log({
    type: "run.denied",
    outcome: "success",
    actor: caller.actor,
    ...about(row),
    policy: policies.join(","),
    data: { source: caller.source, channel: caller.channel?.id ?? null, digest },
  });
}

const about = (row: RunRow) => ({
  run: row.id,
  op: `${row.namespace}/${row.op}`,
  namespace: row.namespace,
});
