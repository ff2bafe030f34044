import { asSallyportError, type SallyportError } from "../core/errors.ts";
import type { Store } from "../store/store.ts";
import type { Access } from "./access.ts";
import { recall } from "./callers.ts";
import type { Live, RunRequest } from "./run-types.ts";

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

/** What was allowed when it was asked for must still be allowed when it starts (P6): a role may be gone by then. */
export async function refusedNow(access: Access, store: Store, live: Live): Promise<string | null> {
  try {
    const caller = await recall(store.read, live.caller);
    const op = await access.activeOp(store.read, live.op.version.namespace, live.op.version.name);
    if (op === undefined || op.version.digest !== live.op.version.digest)
      return "Another version was activated meanwhile.";
    const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
    await access.demand(caller, "run", resource, {
      args: live.args,
      confirmation: "none",
      launch: true,
    });
    return null;
  } catch (error) {
    return `Not allowed any more: ${asSallyportError(error).message}`;
  }
}
