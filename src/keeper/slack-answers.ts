import type { Document } from "../wire/document.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Caller } from "./callers.ts";
import { say } from "./documents.ts";
import type { Session } from "./session.ts";

/** What the commands say that are about sallyport itself. Nothing is decided here. */

export function whoamiDocument(caller: Caller, request: MessageOf<"slack.request">): Document {
  const { principal } = caller;
  const roles = [
    ...principal.roles.map((r) => `${r.role} of ${r.namespace === "*" ? "everything" : r.namespace}`),
    ...principal.groups.flatMap((g) =>
      g.roles.map(
        (r) => `${r.role} of ${r.namespace === "*" ? "everything" : r.namespace} (by group ${g.name})`,
      ),
    ),
  ];
  return say(`You are ${principal.name}.`, {
    kind: "fields",
    rows: [
      ["Workspace", request.identity.team],
      ["Member ID", request.identity.user],
      ["Roles", roles.length === 0 ? "none" : roles.join(", ").slice(0, 1500)],
    ],
  });
}

export function statusDocument(session: Session): Document {
  const status = session.status();
  const rows: [string, string][] = [
    ["State", "unlocked"],
    ["Runs under way", String(status.running)],
    ["Sandbox", status.sandbox.slice(0, 1500)],
    ["Log entries", String(status.logSize)],
  ];
  return say("sallyport is up.", { kind: "fields", rows });
}

export function linkedDocument(caller: Caller): Document {
  return say(`This Slack account is linked to ${caller.principal.name} already.`);
}
