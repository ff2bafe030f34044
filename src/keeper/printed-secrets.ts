import type { Tx } from "../store/tx.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Live } from "./run-types.ts";

/** Of one run: its secrets (32 at most) on each way out. A runner that says more is not believed. */
const ENTRIES = 160;
/** In the entry of its end. */
const TOLD = 32;

/** Whether it is the first word of this secret on this way. */
export function isFirstPrint({ printed }: Live, { secret, stream }: MessageOf<"run.secret_seen">): boolean {
  const key = `${stream} ${secret}`;
  if (printed.has(key) || printed.size >= ENTRIES) return false;
  printed.add(key);
  return true;
}

export function logPrinted(tx: Tx, live: Live, message: MessageOf<"run.secret_seen">): void {
  const { secret, stream, count } = message;
  tx.log({
    type: "secret.printed",
    outcome: "success",
    actor: live.caller.actor,
    run: live.view.row.id,
    op: live.op.row.name,
    namespace: live.op.namespace.name,
    data: { secret, stream, count },
  });
}

/** How often each was taken out in all: "web/KEY stdout:12,...". */
export function printedText(printed: MessageOf<"run.finished">["printed"]): string {
  return (printed ?? [])
    .slice(0, TOLD)
    .map(({ secret, stream, count }) => `${secret} ${stream}:${count}`)
    .join(",");
}
