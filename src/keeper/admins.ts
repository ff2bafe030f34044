import type { Authorizer } from "../core/authorizer.ts";
import { applianceAdmins, principal } from "../store/grants.ts";
import type { Reader } from "../store/tx.ts";

/**
 * What keeps each admin of the appliance from administering it at the terminal: policies' ids, none where nobody is an admin.
 * Null where somebody can, by roles, host accounts and policies together. `now` in ms since the epoch.
 */
export async function lockedOutBy(
  authorizer: Pick<Authorizer, "authorize">,
  reader: Reader,
  now: number,
): Promise<Set<string> | null> {
  const refusals = new Set<string>();
  for (const id of await applianceAdmins(reader)) {
    const user = await principal(reader, id);
    if (user === undefined) continue;
    const decision = authorizer.authorize({
      principal: { kind: "user", user },
      action: "administer",
      resource: { kind: "appliance" },
      context: { source: "tty", standing: "host", channel: null, time: now },
    });
    if (decision.allow) return null;
    for (const policy of decision.policies) refusals.add(policy);
  }
  return refusals;
}
