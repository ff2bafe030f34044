import t from "tap";
import { createAuthorizer } from "../../src/core/authorizer.ts";
import { isAtLeast, strongest } from "../../src/core/obligations.ts";
import {
  ask,
  DEFAULTS,
  OP,
  RESOURCES,
  SCHEMA,
  SLACK,
  TTY,
  user,
  WEB,
  withPolicies,
} from "./authorizer-rig.ts";

const runner = user("pat", [{ role: "runner", namespace: "web" }]);
const op = { kind: "op", op: OP, namespace: WEB } as const;
const TWO = `
@id("prod-two") @reason("Production takes two leads.")
@approval("2") @approval_group("leads") @approval_confirm("totp") @approval_excludes("coder")
forbid (principal, action == Action::"run", resource)
when { context.args has env && context.args.env == "prod" };`;
const CODE = `
@id("nights") @confirm("totp")
forbid (principal, action == Action::"run", resource is Op) when { context.source == "slack" };`;

t.test("a policy asks for approvals where it matches, and forbids nothing", async (t) => {
  const authorizer = withPolicies(TWO, { env: "string" });
  const staging = authorizer.authorize(ask(runner, "run", op, { args: { env: "staging" } }));
  t.match(staging, { allow: true, obligations: [] });
  const prod = authorizer.authorize(ask(runner, "run", op, { args: { env: "prod" } }));
  t.equal(prod.allow, true);
  t.strictSame(prod.obligations, [
    {
      policy: "prod-two",
      reason: "Production takes two leads.",
      confirm: "none",
      approval: { count: 2, group: "leads", confirm: "totp", excludeCoder: true },
    },
  ]);
});

t.test("several, in their order; to see an Op nothing is asked", async (t) => {
  const authorizer = withPolicies(TWO + CODE, { env: "string" });
  const decision = authorizer.authorize(ask(runner, "run", op, { ...SLACK, args: { env: "prod" } }));
  t.strictSame(
    decision.obligations.map(({ policy }) => policy),
    ["prod-two", "nights"],
  );
  t.strictSame(authorizer.authorize(ask(runner, "list", op)).obligations, []);
  t.strictSame(authorizer.authorize(ask(runner, "run", op, { ...TTY, args: {} })).obligations, []);
});

t.test("a forbid beside it wins, and whoever has no role is refused", async (t) => {
  const no = `@id("never") forbid (principal, action == Action::"run", resource);`;
  const decision = withPolicies(TWO + no, { env: "string" }).authorize(
    ask(runner, "run", op, { args: { env: "prod" } }),
  );
  t.match(decision, { allow: false, policies: ["never"], obligations: [] });
  const stranger = withPolicies(TWO, { env: "string" }).authorize(
    ask(user("sam"), "run", op, { args: { env: "prod" } }),
  );
  t.match(stranger, { allow: false, policies: ["default-deny"], obligations: [] });
});

t.test("one that can't be evaluated is a refusal", async (t) => {
  const authorizer = createAuthorizer({
    schema: SCHEMA,
    policies: [...DEFAULTS, { name: "site", text: TWO }],
    argTypes: { env: "string" },
  });
  const overflow = withPolicies(
    `@id("sum") @confirm("totp") forbid (principal, action == Action::"run", resource)
     when { context.args has n && context.args.n + 9223372036854775807 > 0 };`,
    { n: "integer" },
  );
  t.match(authorizer.authorize(ask(runner, "run", op, { args: { env: "prod" } })), { allow: true });
  t.match(overflow.authorize(ask(runner, "run", op, { args: { n: 2 } })), {
    allow: false,
    policies: ["sum"],
  });
});

t.test("annotations that are none are refused when they are read", async (t) => {
  const forbid = `forbid (principal, action == Action::"run", resource);`;
  for (const [text, why] of [
    [`@id("x") @approval("0") ${forbid}`, /how many/],
    [`@id("x") @approval("11") ${forbid}`, /how many/],
    [`@id("x") @approval("two") ${forbid}`, /how many/],
    [`@id("x") @approval("1") @approval_group("Leads!") ${forbid}`, /group/],
    [`@id("x") @approval("1") @approval_confirm("sms") ${forbid}`, /approval_confirm/],
    [`@id("x") @approval("1") @approval_excludes("all") ${forbid}`, /coder/],
    [`@id("x") @approval_group("leads") ${forbid}`, /needs an @approval/],
    [`@id("x") @confirm("none") ${forbid}`, /asks for nothing/],
    [`@id("x") @confirm("totp") permit (principal, action == Action::"run", resource);`, /forbid of Action/],
    [`@id("x") @approval("1") forbid (principal, action, resource);`, /forbid of Action/],
    [
      `@id("x") @approval("1") forbid (principal, action in [Action::"run", Action::"list"], resource);`,
      /forbid of/,
    ],
  ] as const)
    t.throws(() => withPolicies(text), { code: "policy_invalid", message: why }, text);
});

t.test("without the approvals only an admin of the namespace, on the host", async (t) => {
  const authorizer = withPolicies("");
  const admin = user("ada", [{ role: "admin", namespace: "web" }]);
  const asked = (who: typeof admin, from: typeof TTY) =>
    authorizer.authorize(ask(who, "run", op, { ...from, breakGlass: true }));
  t.equal(asked(admin, TTY).allow, true);
  t.match(asked(admin, SLACK), { allow: false, policies: ["break-glass"] });
  t.match(asked(runner, TTY), { allow: false, policies: ["break-glass"] });
});

t.test("a group that is asked to approve may, without a role; the requester never", async (t) => {
  const authorizer = withPolicies("");
  const run = { ...RESOURCES.run, approvers: ["leads"] } as (typeof RESOURCES)["run"];
  const lead = user("lee", [], { groups: [{ name: "leads", roles: [] }] });
  const other = user("otto", [], { groups: [{ name: "others", roles: [] }] });
  t.equal(authorizer.authorize(ask(lead, "approve", run as never)).allow, true);
  t.equal(authorizer.authorize(ask(other, "approve", run as never)).allow, false);
  const requester = { ...lead, name: "zoe" };
  t.match(authorizer.authorize(ask(requester, "approve", run as never)), {
    allow: false,
    policies: ["self-approval"],
  });
});

t.test("which confirmation is more", async (t) => {
  t.equal(strongest("none", "totp", "local", "totp"), "local");
  t.equal(strongest(), "none");
  t.equal(isAtLeast("totp", "local"), false);
  t.equal(isAtLeast("local", "totp"), true);
});
