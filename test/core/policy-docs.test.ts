import { readFileSync } from "node:fs";
import t from "tap";
import { type AuthContext, createAuthorizer, type UserRow } from "../../src/core/authorizer.ts";
import { ask, DEFAULTS, OP, SCHEMA, SLACK, TTY, user, WEB } from "./authorizer-rig.ts";

/** The examples of docs/policies.md count, and do what is written beside them. */

const text = readFileSync(new URL("../../docs/policies.md", import.meta.url), "utf8");
const examples = [...text.matchAll(/^```cedar\n([\s\S]*?)^```$/gm)].map(([, example]) => example ?? "");
const idOf = (example: string) => /@id\("([^"]+)"\)/.exec(example)?.[1] ?? "";
const authorizer = createAuthorizer({
  schema: SCHEMA,
  policies: [...DEFAULTS, ...examples.map((example) => ({ name: `site/${idOf(example)}`, text: example }))],
  argTypes: { env: "string", count: "integer" },
});
const pat = user("pat", [{ role: "runner", namespace: "web" }]);
const deploy = {
  kind: "op",
  op: { ...OP, name: "web/deploy" },
  namespace: { ...WEB, channels: "any" },
} as const;
const day = Date.parse("2026-06-01T12:00Z");
const run = (context: Partial<AuthContext> = {}, who: UserRow = pat) => {
  const { allow, policies, obligations } = authorizer.authorize(
    ask(who, "run", deploy, { ...TTY, time: day, ...context }),
  );
  return `${allow ? "allow" : "deny"} ${[...policies, ...obligations.map(({ policy }) => `first ${policy}`)].join(" ")}`;
};

t.test("each is tried here", async (t) => {
  t.strictSame(examples.map(idOf), [
    "freeze",
    "prod-from-the-ops-channel",
    "few-at-once",
    "auditors-list",
    "prod-takes-two",
    "night-needs-a-code",
    "admins-of-all-only",
  ]);
});

t.test("they forbid, allow and ask as written", async (t) => {
  t.equal(run(), "allow runner-run");
  t.equal(run({ time: Date.parse("2026-12-24T00:00Z") }), "deny freeze");
  t.equal(run({ time: Date.parse("2027-01-01T06:00Z") }), "allow runner-run");
  const oncall = { ...pat, groups: [{ name: "oncall", roles: [] }] };
  t.equal(run({ time: Date.parse("2026-12-25T00:00Z") }, oncall), "allow runner-run");
  const prod = { args: { env: "prod" } };
  t.equal(run({ ...SLACK, ...prod, time: day }), "deny prod-from-the-ops-channel");
  const ops = { id: "C0123456789", kind: "channel" } as const;
  t.equal(run({ ...SLACK, ...prod, channel: ops, time: day }), "allow runner-run first prod-takes-two");
  t.equal(run(prod), "allow runner-run first prod-takes-two");
  t.equal(run({ args: { count: 4 } }), "deny few-at-once");
  t.equal(run({ args: { count: 3 } }), "allow runner-run");
  const night = Date.parse("2026-06-01T04:59Z");
  t.equal(run({ ...SLACK, time: night }), "allow runner-run first night-needs-a-code");
  t.equal(run({ time: night }), "allow runner-run");
  const two = authorizer.authorize(ask(pat, "run", deploy, { ...TTY, time: day, ...prod })).obligations;
  t.match(two, [{ approval: { count: 2, group: "leads", confirm: "totp", excludeCoder: true } }]);
  const auditor = user("ann", [], { groups: [{ name: "auditors", roles: [] }] });
  t.match(authorizer.authorize(ask(auditor, "list", deploy, TTY)), {
    allow: true,
    policies: ["auditors-list"],
  });
  t.notOk(authorizer.authorize(ask(auditor, "run", deploy, TTY)).allow);
  const admin = user("ada", [{ role: "admin", namespace: "*" }]);
  const web = { kind: "namespace", namespace: WEB } as const;
  t.ok(authorizer.authorize(ask(admin, "administer", { kind: "appliance" }, TTY)).allow);
  t.match(
    authorizer.authorize(ask(user("cy", [{ role: "admin", namespace: "web" }]), "administer", web, TTY)),
    {
      allow: false,
      policies: ["admins-of-all-only"],
    },
  );
});

t.test("every attribute, annotation and action of the page is there, and none is left out", async (t) => {
  for (const [, name = ""] of SCHEMA.matchAll(/^ {2}(\w+)\??:/gm))
    if (name !== "admin" && name !== "coder" && name !== "runner") t.ok(text.includes(`\`${name}\``), name);
  const actions = [...SCHEMA.matchAll(/^action ([\w, ]+) appliesTo/gm)].flatMap(
    ([, names]) => names?.split(", ") ?? [],
  );
  for (const action of actions) t.ok(text.includes(`\`${action}\``), action);
});
