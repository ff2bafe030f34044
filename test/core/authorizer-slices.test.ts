import { isAuthorized } from "@cedar-policy/cedar-wasm/nodejs";
import t from "tap";
import {
  type Action,
  type AuthRequest,
  createAuthorizer,
  type NamespaceRow,
  type OpRow,
  type Resource,
  type RoleGrant,
  type UserRow,
} from "../../src/core/authorizer.ts";
import { contextOf, entitiesOf, principalOf, resourceOf } from "../../src/core/entities.ts";
import { readPolicies, schemaWith, textsById } from "../../src/core/policies.ts";
import { PreparedSets } from "../../src/core/prepared-sets.ts";
import { DEFAULTS, OP, SCHEMA, TTY, user, WEB } from "./authorizer-rig.ts";
import { generator } from "./random.ts";

/** Of very many policies only those that can concern a request are asked. Cedar itself, asked all of them, must say the same. */

const NAMES = ["web", "db", "we"];
const ARGS = { env: "string", count: "integer" } as const;
type Random = ReturnType<typeof generator>;

/** One that validates, in any of the forms that a scope has. `k`: its number. */
function policy({ next, pick }: Random, k: number): string {
  const ns = pick(NAMES);
  const op = `Op::"${ns}/${pick(["restart", "deploy"])}"`;
  const asks = next(4) === 0;
  const principal = pick([
    "principal",
    "principal is User",
    `principal == User::"${pick(["ann", "ben"])}"`,
    `principal in Group::"${pick(["leads", "ops"])}"`,
    `principal in Role::"${ns}/${pick(["runner", "coder", "admin"])}"`,
  ]);
  const action = asks
    ? 'action == Action::"run"'
    : pick([
        'action == Action::"run"',
        'action in [Action::"run", Action::"list"]',
        'action == Action::"list"',
      ]);
  const resource = pick([
    "resource",
    "resource is Op",
    `resource == ${op}`,
    `resource in Namespace::"${ns}"`,
    `resource is Op in Namespace::"${ns}"`,
    `resource in ${op}`,
  ]);
  const condition = pick([
    "",
    'when { context.args has env && context.args.env == "prod" }',
    "when { context.args has count && context.args.count * 4611686018427387904 > 3 }",
    `when { resource == ${op} }`,
    `unless { resource.confirm == "none" }`,
    `when { context.source == "${pick(["tty", "slack"])}" }`,
    "when { principal in resource.namespace.admin }",
  ]);
  const effect = asks || next(3) > 0 ? "forbid" : "permit";
  const asked = asks
    ? pick(['@approval("2") @approval_group("leads")', '@confirm("totp")', '@approval("1")'])
    : "";
  return `@id("p${k}") ${asked}\n${effect} (${principal}, ${action}, ${resource}) ${condition};`;
}

function request({ next, pick }: Random): AuthRequest {
  const grants = (): RoleGrant[] =>
    Array.from({ length: next(3) }, () => ({
      role: pick(["runner", "coder", "admin"] as const),
      namespace: pick([...NAMES, "*"]),
    }));
  const who: UserRow = user(pick(["ann", "ben"]), grants(), {
    groups: ["leads", "ops"].filter(() => next(2) === 0).map((name) => ({ name, roles: grants() })),
  });
  const name = pick(NAMES);
  const namespace: NamespaceRow = { name, channels: "any" };
  const op: OpRow = {
    name: `${name}/${pick(["restart", "deploy", "other"])}`,
    channels: null,
    confirm: pick(["none", "totp"] as const),
    disabled: false,
  };
  const args = pick([{}, { env: "prod" }, { env: "staging", count: 1 }, { count: 2 }]);
  const action: Action = pick(["run", "list"] as const);
  return {
    principal: { kind: "user", user: who },
    action,
    resource: { kind: "op", op, namespace },
    context: { ...TTY, args },
  };
}

/** What Cedar says of all of them at once, with nothing of ours but the entities. */
function whole(asked: AuthRequest, infos: ReturnType<typeof readPolicies>, schema: string) {
  const ask = (policies: typeof infos) => {
    const answer = isAuthorized({
      principal: principalOf(asked.principal),
      action: { type: "Action", id: asked.action },
      resource: resourceOf(asked.resource),
      context: contextOf(asked.context, ARGS),
      entities: entitiesOf(asked),
      policies: { staticPolicies: textsById(policies) },
      schema,
      validateRequest: false,
    });
    if (answer.type === "failure") throw new Error(JSON.stringify(answer.errors));
    return answer.response;
  };
  const order = (ids: string[]) =>
    ids.toSorted((a, b) => infos.findIndex(({ id }) => id === a) - infos.findIndex(({ id }) => id === b));
  const { decision, diagnostics } = ask(infos.filter(({ obligation }) => obligation === null));
  const failed = diagnostics.errors.map(({ policyId }) => policyId).sort();
  if (decision === "deny" && diagnostics.reason.length > 0)
    return { allow: false, policies: order(diagnostics.reason), first: [] };
  if (failed.length > 0) return { allow: false, policies: failed, first: [] };
  if (decision === "deny") return { allow: false, policies: ["default-deny"], first: [] };
  const policies = order(diagnostics.reason);
  if (asked.action !== "run") return { allow: true, policies, first: [] };
  const asks = ask(infos.filter(({ obligation }) => obligation !== null)).diagnostics;
  if (asks.errors.length > 0)
    return { allow: false, policies: asks.errors.map(({ policyId }) => policyId).sort(), first: [] };
  return { allow: true, policies, first: order(asks.reason) };
}

for (const [name, site, filler] of [
  ["few: one set an action", 12, 0],
  ["many: a set a namespace", 12, 200],
  ["very many: a namespace's own beside those of everywhere", 12, 1200],
] as const) {
  t.test(name, async (t) => {
    const seed = Number(process.env.SALLYPORT_TEST_SEED ?? 20_261_125);
    const random = generator(seed);
    const counts = { allowed: 0, refused: 0, failed: 0, first: 0 };
    // Half of the filler names a namespace, half of it nothing, and none of it ever decides.
    const rest = Array.from({ length: filler }, (_, i) => {
      const resource = i % 2 === 0 ? "resource" : `resource in Namespace::"n${i % 120}"`;
      return `@id("filler-${i}") forbid (principal == User::"nobody", action in [Action::"run", Action::"list"], ${resource});`;
    });
    const fillers = { name: "filler", text: "" };
    const chunks = Array.from({ length: Math.ceil(filler / 300) }, (_, i) => ({
      ...fillers,
      name: `filler-${i}`,
      text: rest.slice(i * 300, (i + 1) * 300).join("\n"),
    }));
    for (let round = 0; round < (filler > 1000 ? 4 : 25); round++) {
      const own = Array.from({ length: site }, (_, k) => policy(random, k)).join("\n");
      const sources = [...DEFAULTS, { name: "site", text: own }];
      const schema = schemaWith(SCHEMA, ARGS);
      const authorizer = createAuthorizer({
        schema: SCHEMA,
        policies: [...sources, ...chunks],
        argTypes: ARGS,
        name: "sliced",
      });
      const infos = readPolicies(schema, sources);
      for (let k = 0; k < 25; k++) {
        const asked = request(random);
        const got = authorizer.authorize(asked);
        const expected = whole(asked, infos, schema);
        const mine = {
          allow: got.allow,
          policies: got.policies,
          first: got.obligations.map((one) => one.policy),
        };
        if (JSON.stringify(mine) !== JSON.stringify(expected))
          t.same(mine, expected, `seed ${seed}: ${JSON.stringify(asked)}\n${own}`);
        if (got.allow) counts.allowed++;
        else counts.refused++;
        if (/could not be evaluated/.test(got.reason)) counts.failed++;
        if (mine.first.length > 0) counts.first++;
      }
    }
    t.comment(JSON.stringify(counts));
    for (const [what, count] of Object.entries(counts)) t.ok(count > 0, `${what}: ${count}`);
  });
}

t.test("many Ops at once: as each of them alone", async (t) => {
  const random = generator(7);
  for (let round = 0; round < 25; round++) {
    const own = Array.from({ length: 8 }, (_, k) => policy(random, k)).join("\n");
    const authorizer = createAuthorizer({
      schema: SCHEMA,
      policies: [...DEFAULTS, { name: "site", text: own }],
      argTypes: ARGS,
      name: "alike",
    });
    const ops = Array.from(
      { length: 40 },
      () => request(random).resource as Extract<Resource, { kind: "op" }>,
    );
    // An Op that comes with another namespace's row.
    ops.push({ kind: "op", op: OP, namespace: { ...WEB, name: "we" } });
    const { resource: _, ...asked } = request(random);
    const alone = ops.filter((resource) => authorizer.authorize({ ...asked, resource }).allow);
    t.strictSame(authorizer.allowedOps(asked, ops), alone);
  }
});

t.test("what was prepared longest ago is given up, and prepared again when asked", async (t) => {
  const infos = readPolicies(SCHEMA, DEFAULTS);
  const sets = new PreparedSets("bounded", 10);
  let made = 0;
  const use = (key: string, count: number) =>
    sets.use(key, () => {
      made++;
      return infos.slice(0, count);
    });
  use("a", 4);
  use("b", 4);
  use("a", 4);
  t.equal(made, 2);
  use("c", 4);
  t.equal(sets.size, 8, "b went");
  use("a", 4);
  t.equal(made, 3);
  use("b", 4);
  t.equal(made, 4);
  use("all", 20);
  t.equal(sets.size, 20, "one that is larger than all stays alone");
  sets.clear();
  t.equal(sets.size, 0);
});

t.test("an argument of another type than policies know is a refusal, compared or equated", async (t) => {
  const site = (text: string) =>
    createAuthorizer({
      schema: SCHEMA,
      policies: [...DEFAULTS, { name: "site", text }],
      argTypes: { ...ARGS, ratio: "number", force: "boolean" },
      name: "typed",
    });
  const pat = user("pat", [{ role: "runner", namespace: "web" }]);
  const asked = (text: string, args: AuthRequest["context"]["args"] = {}, name = OP.name) =>
    site(text).authorize({
      principal: { kind: "user", user: pat },
      action: "run",
      resource: { kind: "op", op: { ...OP, name }, namespace: WEB },
      context: { ...TTY, args },
    });
  const refused = { allow: false, policies: ["x"], reason: /x could not be evaluated/ };
  const rule = (scope: string, condition: string, more = "") =>
    `@id("x") ${more} forbid (principal, action == Action::"run", ${scope}) when { ${condition} };`;
  const three = rule("resource", "context.args has count && context.args.count == 3");
  t.ok(asked(three, { count: 4 }).allow);
  t.match(asked(three, { count: 3 }), { allow: false, reason: /x forbids/ });
  for (const count of ["3", true, 2.5]) t.match(asked(three, { count }), refused, String(count));
  t.ok(asked(three, { env: 3, other: "3" }).allow, "that it does not read");
  for (const condition of [
    "context.args != context.args",
    'context["args"] != context.args',
    "context != context",
    '{a: context}.a.args has env && {a: context}.a.args.env == "prod"',
    'context.args has env && context["args"]["env"] == "prod"',
    'context.source == "tty" && context.args has env && ["prod"].contains(context.args.env)',
  ])
    t.match(asked(rule("resource", condition), { env: 3 }), refused, condition);
  t.ok(asked(rule("resource", 'context.source == "slack"'), { env: 3 }).allow);
  t.match(
    asked(rule('resource in Namespace::"web"', "context.args has count && context.args.count == 3"), {
      count: "3",
    }),
    refused,
  );
  t.ok(
    asked(rule('resource in Namespace::"db"', "context.args has count && context.args.count == 3"), {
      count: "3",
    }).allow,
  );
  const only = rule('resource == Op::"web/restart"', "context.args has count && context.args.count == 3");
  t.match(asked(only, { count: "3" }), refused);
  t.ok(asked(only, { count: "3" }, "web/other").allow, "an Op that it can't concern");
  const asks = rule("resource", "context.args has count && context.args.count == 3", '@approval("1")');
  t.match(asked(asks, { count: 3 }), { allow: true, obligations: [{ policy: "x" }] });
  t.match(asked(asks, { count: "3" }), refused, "what asks for an approval first, too");
  const ratio = rule("resource", 'context.args has ratio && context.args.ratio == decimal("3.0")');
  t.match(asked(ratio, { ratio: 3 }), { allow: false, reason: /x forbids/ });
  t.match(asked(ratio, { ratio: "3" }), refused);
});
