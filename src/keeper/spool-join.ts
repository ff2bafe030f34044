import type { AuditEvent } from "../audit/event.ts";
import { importSpool } from "../store/spool.ts";
import type { Store } from "../store/store.ts";
import type { Spool, SpoolRecord } from "./spool.ts";

/** What happened while sealed joins the log; each record once, also when a crash comes between log and file. */
export async function joinSpool(store: Store, spool: Spool): Promise<void> {
  for (let records = spool.take(); records.length > 0; records = spool.take()) {
    const source = `sealed-spool:${records[0]!.time}`;
    const events = records.map((record) => eventOf(record));
    await store.mutate((tx) => importSpool(tx, { source, records: events }));
    spool.taken();
  }
  const dropped = spool.lost;
  if (dropped === 0) return;
  await store.mutate((tx) => {
    tx.log({
      type: "log.spool_dropped",
      outcome: "failure",
      actor: { kind: "system" },
      data: { dropped },
    });
  });
  spool.forgive(dropped);
}

/** The log entry that a record of the sealed time becomes. */
function eventOf(record: SpoolRecord): AuditEvent {
  const at = new Date(record.time).toISOString();
  const actor = { kind: "host", uid: record.uid, loginUid: null } as const;
  if (record.code === "wire_violation") {
    return { type: "wire.violation", outcome: "denied", actor, reason: `while sealed, at ${at}` };
  }
  if (record.code === "denied") {
    return {
      type: "authn.denied",
      outcome: "denied",
      actor,
      reason: `At the admin socket while sealed, at ${at}`,
      policy: "denied",
      data: { surface: "tty" },
    };
  }
  return {
    type: record.code === "slow_down" ? "appliance.unlock_throttled" : "appliance.unlock_failed",
    outcome: "failure",
    actor,
    data: { code: record.code, uid: record.uid, at, count: 1 },
  };
}
