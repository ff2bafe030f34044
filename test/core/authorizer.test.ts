import t from "tap";
import {
  ACTIONS,
  type Action,
  type AuthContext,
  createAuthorizer,
  type Principal,
} from "../../src/core/authorizer.ts";
import { DEFAULTS, RESOURCES, SCHEMA, SLACK, TTY, user } from "./authorizer-rig.ts";

/**
 * Who may do what by the default policies, written out by hand: for each action on each kind of resource the
 * people for whom it is allowed, from the host and from Slack (a channel of the namespace). Who is not named is
 * refused. The people: N nobody's role, R C A runner, coder, admin in web; O admin in another namespace;
 * r c a the same roles in "*"; G runner by a group; D disabled admin in "*"; U an unlinked Slack identity.
 */
const MAY: Readonly<Record<string, { tty: string; slack: string }>> = {
  "run op": { tty: "RCArcaG", slack: "RCArcaG" },
  "list op": { tty: "RCArcaG", slack: "RCArcaG" },
  "show op": { tty: "RCArcaG", slack: "RCArcaG" },
  "read_log op": { tty: "RCArcaG", slack: "RCArcaG" },
  "activate op": { tty: "CAca", slack: "" },
  "read_code op": { tty: "CAca", slack: "" },
  "publish op": { tty: "CAca", slack: "" },
  "publish namespace": { tty: "CAca", slack: "" },
  "show run": { tty: "RCArcaG", slack: "RCArcaG" },
  "show ownRun": { tty: "NRCAOrcaG", slack: "NRCAOrcaG" },
  "read_log run": { tty: "RCArcaG", slack: "RCArcaG" },
  "read_log ownRun": { tty: "RCArcaG", slack: "RCArcaG" },
  "read_log namespace": { tty: "Aa", slack: "Aa" },
  "read_log appliance": { tty: "a", slack: "a" },
  "approve run": { tty: "RCArcaG", slack: "RCArcaG" },
  "approve ownRun": { tty: "", slack: "" },
  "cancel run": { tty: "Aa", slack: "Aa" },
  "cancel ownRun": { tty: "NRCAOrcaG", slack: "NRCAOrcaG" },
  "manage_secret namespace": { tty: "Aa", slack: "" },
  "grant namespace": { tty: "Aa", slack: "" },
  "grant appliance": { tty: "a", slack: "" },
  "administer namespace": { tty: "Aa", slack: "" },
  "administer appliance": { tty: "a", slack: "" },
  "link user": { tty: "a", slack: "" },
  "link self": { tty: "NRCAOrcaG", slack: "" },
  "enrol user": { tty: "a", slack: "" },
  "enrol self": { tty: "NRCAOrcaG", slack: "" },
  "status appliance": { tty: "NRCAOrcaG", slack: "NRCAOrcaG" },
  "help appliance": { tty: "NRCAOrcaGU", slack: "NRCAOrcaGU" },
  "whoami appliance": { tty: "NRCAOrcaGU", slack: "NRCAOrcaGU" },
  "request_link appliance": { tty: "NRCAOrcaGU", slack: "NRCAOrcaGU" },
};

const pat = (roles: Parameters<typeof user>[1], more?: Parameters<typeof user>[2]): Principal => ({
  kind: "user",
  user: user("pat", roles, more),
});
const PEOPLE: Readonly<Record<string, Principal>> = {
  N: pat([]),
  R: pat([{ role: "runner", namespace: "web" }]),
  C: pat([{ role: "coder", namespace: "web" }]),
  A: pat([{ role: "admin", namespace: "web" }]),
  O: pat([{ role: "admin", namespace: "other" }]),
  r: pat([{ role: "runner", namespace: "*" }]),
  c: pat([{ role: "coder", namespace: "*" }]),
  a: pat([{ role: "admin", namespace: "*" }]),
  G: pat([], {
    groups: [
      { name: "ops", roles: [{ role: "runner", namespace: "web" }] },
      { name: "idle", roles: [] },
    ],
  }),
  D: pat([{ role: "admin", namespace: "*" }], { disabled: true }),
  U: { kind: "unlinked", identity: { enterprise: null, team: "T0123", user: "U0123" } },
};

const authorizer = createAuthorizer({ schema: SCHEMA, policies: DEFAULTS });
const questions = Object.entries(ACTIONS).flatMap(([action, kinds]) =>
  Object.entries(RESOURCES)
    .filter(([, { kind }]) => (kinds as readonly string[]).includes(kind))
    .map(([name, resource]) => ({ action: action as Action, name, resource })),
);

t.test("role x action x resource x surface is the table, no more and no less", async (t) => {
  t.same(
    questions.map(({ action, name }) => `${action} ${name}`).sort(),
    Object.keys(MAY).sort(),
    "the table is whole",
  );
  const surfaces: Record<"tty" | "slack", AuthContext> = { tty: TTY, slack: SLACK };
  for (const { action, name, resource } of questions) {
    for (const surface of ["tty", "slack"] as const) {
      let allowed = "";
      for (const [letter, principal] of Object.entries(PEOPLE)) {
        const decision = authorizer.authorize({ principal, action, resource, context: surfaces[surface] });
        if (decision.allow) allowed += letter;
        const explained =
          decision.policies.length > 0 &&
          (decision.allow ? decision.reason === "" : decision.reason.length > 15);
        if (!explained) t.fail(`${action} ${name} ${letter}: ${JSON.stringify(decision)}`);
      }
      t.equal(allowed, MAY[`${action} ${name}`]?.[surface], `${action} ${name} from ${surface}`);
    }
  }
});

t.test("from Slack, nobody but a full member of the workspace, whatever the role", async (t) => {
  const standings = {
    foreign: "slack-foreign",
    guest: "slack-guest",
    bot: "slack-bot",
    deleted: "slack-deleted",
    unknown: "slack-unverified",
    host: "slack-unverified",
    MEMBER: "slack-unverified",
  };
  for (const [standing, policy] of Object.entries(standings)) {
    for (const { action, resource } of questions) {
      for (const principal of Object.values(PEOPLE)) {
        const context = { ...SLACK, standing: standing as AuthContext["standing"] };
        const { allow, policies } = authorizer.authorize({ principal, action, resource, context });
        if (allow || !policies.includes(policy)) t.fail(`${action} as ${standing}: ${policies}`);
      }
    }
    t.pass(standing);
  }
});

t.test("a disabled user passes nowhere", async (t) => {
  for (const { action, resource, name } of questions) {
    for (const context of [TTY, SLACK, { ...TTY, source: "schedule" as const }]) {
      const { allow, policies, reason } = authorizer.authorize({
        principal: PEOPLE.D!,
        action,
        resource,
        context,
      });
      if (allow || policies[0] !== "user-disabled" || !reason.includes("disabled"))
        t.fail(`${action} ${name}`);
    }
  }
  t.pass("none");
});

t.test("a kind of resource that an action is not about is refused", async (t) => {
  for (const action of Object.keys(ACTIONS) as Action[]) {
    for (const resource of Object.values(RESOURCES)) {
      if ((ACTIONS[action] as readonly string[]).includes(resource.kind)) continue;
      const decision = authorizer.authorize({ principal: PEOPLE.a!, action, resource, context: TTY });
      if (decision.allow || decision.policies[0] !== "no-context") t.fail(`${action} ${resource.kind}`);
    }
  }
  for (const action of ["", "fly", "toString", "__proto__", "Run"]) {
    const request = {
      principal: PEOPLE.a!,
      action: action as Action,
      resource: RESOURCES.op!,
      context: TTY,
    };
    t.match(authorizer.authorize(request), { allow: false, policies: ["no-context"] }, action);
  }
});
