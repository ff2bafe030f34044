import type { Action, AuthRequest } from "./authorizer.ts";

const VERBS: Readonly<Partial<Record<Action, string>>> = {
  read_log: "read the log of",
  read_code: "read the code of",
  manage_secret: "manage the secrets of",
  grant: "grant roles in",
  enrol: "enrol an authenticator for",
  request_link: "be linked to",
};

/** What a person hears where no policy allows it. */
export function defaultReason({ principal, action, resource }: AuthRequest): string {
  if (principal.kind === "unlinked")
    return "This Slack account is not linked to a user. Type /ops link to begin.";
  const verb = VERBS[action] ?? action;
  switch (resource.kind) {
    case "op":
      return `No policy allows you to ${verb} ${resource.op.name}. An admin of ${resource.namespace.name} can grant you a role.`;
    case "run":
      return `No policy allows you to ${verb} the run ${resource.id} of ${resource.op.name}.`;
    case "namespace":
      return `No policy allows you to ${verb} the namespace ${resource.namespace.name}. One of its admins can grant you a role.`;
    case "user":
      return `No policy allows you to ${verb} the user ${resource.name}.`;
    case "appliance":
      return `No policy allows you to ${verb} this appliance. That takes the role admin in "*".`;
  }
}
