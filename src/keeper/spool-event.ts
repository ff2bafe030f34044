import type { AuditEvent } from "../audit/event.ts";
import type { SpoolRecord } from "./spool.ts";

/** The log entry that a record of the sealed time becomes. */
export function eventOf(record: SpoolRecord): AuditEvent {
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
