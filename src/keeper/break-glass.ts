import { demandsOf } from "../core/approvals.ts";
import type { Decision } from "../core/authorizer.ts";
import { listChannels } from "../store/namespaces.ts";
import { owe } from "../store/outbox.ts";
import type { RunRow } from "../store/runs.ts";
import type { Tx } from "../store/tx.ts";
import type { ActiveOp } from "./access.ts";
import type { Caller } from "./callers.ts";
import { say } from "./documents.ts";
import { needsText } from "./wait-record.ts";

/** Never silently: the event, and a message in every channel of the namespace, in the transaction that records the run. */
export async function recordBreakGlass(
  tx: Tx,
  o: { row: RunRow; caller: Caller; op: ActiveOp; decision: Decision },
): Promise<void> {
  const { row, caller, op } = o;
  const needs = needsText(demandsOf(op.manifest, o.decision.obligations));
  const channels = await listChannels(tx, op.namespace.name);
  tx.log({
    type: "run.break_glass",
    outcome: "success",
    actor: caller.actor,
    run: row.id,
    op: op.row.name,
    namespace: op.namespace.name,
    policy: o.decision.policies.join(","),
    reason: row.breakGlass ?? "",
    data: { approvals: needs, digest: row.digest, told: channels.length },
  });
  const text = `${caller.principal.name} runs ${op.row.name} without its approvals (${needs}), on the host.`;
  for (const channel of channels)
    await owe(tx, {
      nonce: `${row.id}:glass-${channel}`,
      kind: "post",
      channel,
      run: row.id,
      doc: JSON.stringify(
        say(`Break glass: ${text}`, {
          kind: "fields",
          rows: [
            ["Run", row.id],
            ["Reason", row.breakGlass ?? ""],
          ],
        }),
      ),
    });
}
