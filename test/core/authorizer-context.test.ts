import { isAuthorized } from "@cedar-policy/cedar-wasm/nodejs";
import t from "tap";
import {
  ACTIONS,
  type AuthContext,
  type AuthRequest,
  argTypesOf,
  createAuthorizer,
  type OpRow,
} from "../../src/core/authorizer.ts";
import { contextOf, entitiesOf, principalOf, resourceOf } from "../../src/core/entities.ts";
import { parseManifest } from "../../src/core/manifest.ts";
import { schemaWith } from "../../src/core/policies.ts";
import {
  ask,
  DEFAULTS,
  OP,
  RESOURCES,
  SCHEMA,
  SLACK,
  TIME,
  TTY,
  user,
  WEB,
  withPolicies,
} from "./authorizer-rig.ts";

const authorizer = createAuthorizer({ schema: SCHEMA, policies: DEFAULTS });
const runner = user("pat", [{ role: "runner", namespace: "web" }]);
const op = (
  change: Partial<OpRow>,
  channels: readonly string[] | "any" = WEB.channels,
): AuthRequest["resource"] => ({
  kind: "op",
  op: { ...OP, ...change },
  namespace: { ...WEB, channels },
});
const channel = (id: string) => ({ channel: { id, kind: "channel" as const } });
const deciding = (request: AuthRequest): string => {
  const { allow, policies } = authorizer.authorize(request);
  return `${allow ? "allow" : "deny"} ${policies[0]}`;
};

t.test("channels: the namespace's, narrowed by the manifest", async (t) => {
  const cases: [string, Parameters<typeof ask>[2], object][] = [
    ["allow runner-run", op({}), channel("C0WEB2")],
    ["deny channel-namespace", op({}), channel("C0ELSE")],
    ["deny channel-unknown", op({}), { channel: null }],
    ["deny channel-unknown", op({}, "any"), { channel: null }],
    ["allow runner-run", op({}, "any"), channel("C0ELSE")],
    ["deny channel-namespace", op({}, []), channel("C0WEB")],
    ["allow runner-run", op({ channels: ["C0WEB"] }), channel("C0WEB")],
    ["deny channel-op", op({ channels: ["C0WEB"] }), channel("C0WEB2")],
    ["deny channel-namespace", op({ channels: ["C0ELSE"] }), channel("C0ELSE")],
    ["deny channel-op", op({ channels: ["C0WEB"] }, "any"), channel("C0ELSE")],
    ["allow runner-run", op({ channels: ["C0WEB"] }), { source: "tty", standing: "host", channel: null }],
    [
      "allow runner-run",
      op({ channels: ["C0WEB"] }),
      { source: "schedule", standing: "host", channel: null },
    ],
  ];
  for (const [expected, resource, context] of cases) {
    for (const action of ["run", "list", "show"] as const) {
      t.equal(
        deciding(ask(runner, action, resource, context)),
        expected,
        `${action} ${JSON.stringify(context)}`,
      );
    }
  }
  const run = { ...RESOURCES.run, op: { ...OP, channels: ["C0WEB"] } } as AuthRequest["resource"];
  for (const action of ["show", "read_log", "approve"] as const) {
    t.equal(deciding(ask(runner, action, run, channel("C0ELSE"))), "deny channel-run-namespace");
    t.equal(deciding(ask(runner, action, run, channel("C0WEB2"))), "deny channel-run-op");
    t.match(deciding(ask(runner, action, run, channel("C0WEB"))), /^allow/);
  }
  const own = RESOURCES.ownRun!;
  t.equal(
    deciding(ask(runner, "cancel", own, channel("C0ELSE"))),
    "allow requester-cancel",
    "stop it from anywhere",
  );
});

t.test("a disabled Op is not run, yet seen", async (t) => {
  t.equal(deciding(ask(runner, "run", op({ disabled: true }))), "deny op-disabled");
  t.equal(deciding(ask(runner, "list", op({ disabled: true }))), "allow runner-run");
});

t.test("the confirmation must have been reached before a run starts", async (t) => {
  const table = {
    none: ["allow runner-run", "allow runner-run", "allow runner-run"],
    totp: ["deny confirm-totp", "allow runner-run", "allow runner-run"],
    local: ["deny confirm-local", "deny confirm-local", "allow runner-run"],
  };
  for (const confirm of ["none", "totp", "local"] as const) {
    t.equal(deciding(ask(runner, "run", op({ confirm }))), "allow runner-run", `asked, ${confirm}`);
    const reached = (["none", "totp", "local"] as const).map((confirmation) =>
      deciding(ask(runner, "run", op({ confirm }), { launch: true, confirmation })),
    );
    t.same(reached, table[confirm], `launched, ${confirm}`);
  }
});

t.test("an Op paired with another namespace's row is refused", async (t) => {
  const mine = user("pat", [{ role: "admin", namespace: "mine" }]);
  const resource = { kind: "op", op: OP, namespace: { name: "mine", channels: "any" } } as const;
  t.equal(deciding(ask(mine, "run", resource)), "deny no-context");
  t.equal(
    deciding(ask(mine, "run", { ...resource, namespace: { name: "we", channels: "any" } })),
    "deny no-context",
  );
});

t.test("roles do not leak by names that look alike", async (t) => {
  for (const namespace of ["we", "web2", "web/restart", "we*", ""]) {
    const near = user("pat", [{ role: "admin", namespace }]);
    t.equal(deciding(ask(near, "run", op({}))), "deny default-deny", namespace);
  }
  const group = user("pat", [], {
    groups: [
      { name: "web/runner", roles: [] },
      { name: "*/admin", roles: [] },
    ],
  });
  t.equal(deciding(ask(group, "run", op({}))), "deny default-deny", "a group is not a role");
  t.equal(deciding(ask(user("web/admin"), "run", op({}))), "deny default-deny", "a user is not a role");
  const odd = user("pat", [{ role: "root" as "admin", namespace: "web" }]);
  t.equal(deciding(ask(odd, "run", op({}))), "deny no-context", "an unknown role");
});

t.test("a request that can't be put is a refusal, never an error", async (t) => {
  for (const time of [Number.NaN, Number.POSITIVE_INFINITY, 1e300]) {
    t.match(authorizer.authorize(ask(runner, "run", op({}), { time })), {
      allow: false,
      policies: ["no-context"],
    });
  }
  const broken = { principal: null, action: "run", resource: op({}), context: {} } as unknown as AuthRequest;
  t.match(authorizer.authorize(broken), { allow: false, policies: ["no-context"], reason: /answer is no/ });
});

t.test("a site's policies see arguments, typed by the manifests", async (t) => {
  const manifest = (name: string, inputs: string) =>
    parseManifest(`op: web/${name}\nsummary: x\nrun: [ls]\ninputs: {${inputs}}\n`);
  const inputs =
    "env: {type: string}, count: {type: integer}, ratio: {type: number}, force: {type: boolean}, in: {type: string}";
  const argTypes = argTypesOf([manifest("b", inputs), manifest("a", "count: {type: string}")]);
  t.same(argTypes, { env: "string", count: "integer", ratio: "number", force: "boolean", in: "string" });
  const site = withPolicies(
    `@id("no-prod") @reason("Not in production.") forbid(principal, action == Action::"run", resource == Op::"web/restart")
       when { context.args has env && context.args.env == "prod" };
     @id("few") forbid(principal, action == Action::"run", resource) when { context.args has count && context.args.count > 3 };
     @id("half") forbid(principal, action == Action::"run", resource)
       when { context.args has ratio && context.args.ratio.greaterThan(decimal("0.5")) };
     @id("gentle") forbid(principal, action == Action::"run", resource) when { context.args has force && context.args.force };
     @id("word") forbid(principal, action == Action::"run", resource)
       when { context.args has "in" && context.args["in"] like "*x*" };
     @id("late") forbid(principal, action == Action::"run", resource) when { context.time > datetime("2027-01-01") };`,
    argTypes,
  );
  const decide = (args: AuthRequest["context"]["args"], more: object = {}) =>
    site.authorize(ask(runner, "run", op({}), { ...(args === undefined ? {} : { args }), ...more }));
  t.equal(decide({ env: "staging", count: 3, ratio: 0.5, force: false, in: "y" }).allow, true);
  t.equal(decide(undefined).allow, true);
  t.same(decide({ env: "prod" }), {
    allow: false,
    policies: ["no-prod"],
    reason: "Not in production.",
    obligations: [],
  });
  t.match(decide({ count: 4 }), { allow: false, policies: ["few"], reason: /policy few forbids/ });
  t.match(decide({ ratio: 0.5001 }), { policies: ["half"] });
  t.match(decide({ ratio: 1 }), { policies: ["half"] });
  t.match(decide({ ratio: -100000000000 }), { allow: true });
  t.match(decide({ force: true }), { policies: ["gentle"] });
  t.match(decide({ in: "axb" }), { policies: ["word"] });
  t.match(decide({}, { time: Date.UTC(2027, 0, 1, 0, 0, 1) }), { policies: ["late"] });
  t.match(
    decide({ env: "prod", count: 9 }),
    { policies: ["no-prod", "few"] },
    "all that forbid, in their order",
  );
  t.match(
    decide({ count: "4" }),
    { allow: false, policies: ["few"], reason: /could not be evaluated/ },
    "another type: no",
  );
});

t.test("a permit that fails to evaluate does not pass by another permit", async (t) => {
  const text = `@id("calc") permit(principal, action == Action::"run", resource) when { context.args has n && context.args.n * 9007199254740991 > 0 };`;
  const site = withPolicies(text, { n: "integer" });
  t.equal(site.authorize(ask(runner, "run", op({}), { args: { n: 1 } })).allow, true);
  const overflow = site.authorize(ask(runner, "run", op({}), { args: { n: 9007199254740991 } }));
  t.match(overflow, { allow: false, policies: ["calc"], reason: /could not be evaluated/ });
});

t.test("policies that do not count: one sentence that names the source", async (t) => {
  const cases: [string, RegExp][] = [
    ["permit(", /^site: /],
    ["permit(principal, action, resource);", /^site: a policy lacks its @id/],
    ['@id("A b") permit(principal, action, resource);', /^site: "A b" is no policy id/],
    ['@id("default-deny") permit(principal, action, resource);', /reserved/],
    [
      '@id("runner-run") permit(principal, action, resource);',
      /^site: the id "runner-run" is used already, in roles\.cedar/,
    ],
    ['@id("x") permit(principal == ?principal, action, resource);', /templates/],
    ['@id("x") permit(principal, action == Action::"fly", resource);', /^site, policy x: .*fly/],
    ['@id("x") permit(principal is Robot, action, resource);', /^site, policy x: .*Robot/],
    ['@id("x") forbid(principal, action, resource) when { context.foo };', /^site, policy x: .*foo/],
    [
      '@id("x") forbid(principal, action, resource) when { context.args.env == "x" };',
      /^site, policy x: .*env/,
    ],
    ['@id("x") forbid(principal, action, resource) when { context.source > 3 };', /^site, policy x: /],
    [`// ${"x".repeat(70_000)}`, /^site: is longer than 65536/],
  ];
  for (const [text, expected] of cases) {
    t.throws(() => withPolicies(text), { code: "policy_invalid", detail: expected }, text.slice(0, 70));
  }
  t.throws(() => createAuthorizer({ schema: "entity User;", policies: [] }), {
    code: "policy_invalid",
    detail: /Args/,
  });
  t.throws(() => createAuthorizer({ schema: `${SCHEMA} entity;`, policies: [] }), { code: "policy_invalid" });
});

t.test("replacing is all or nothing", async (t) => {
  const site = createAuthorizer({ schema: SCHEMA, policies: DEFAULTS });
  const request = ask(runner, "run", op({}), { args: { env: "prod" } });
  t.equal(site.authorize(request).allow, true);
  const forbid = { name: "site", text: '@id("stop") forbid(principal, action == Action::"run", resource);' };
  site.replace({ policies: [...DEFAULTS, forbid] });
  t.match(site.authorize(request), { allow: false, policies: ["stop"] });
  t.throws(() => site.replace({ policies: [{ name: "site", text: "nonsense" }] }), {
    code: "policy_invalid",
  });
  t.match(site.authorize(request), { allow: false, policies: ["stop"] }, "still the last good ones");
  site.replace({ policies: DEFAULTS, argTypes: { env: "string" } });
  t.equal(site.authorize(request).allow, true);
  t.equal(authorizer.authorize(request).allow, true, "another authorizer is not touched");
  t.ok(
    site.policies().every(({ effect, reason }) => effect === "permit" || reason.length > 10),
    "each default forbid says why",
  );
  const none = createAuthorizer({ schema: SCHEMA, policies: [] });
  t.match(none.authorize(request), { allow: false, policies: ["default-deny"] }, "no policy, no right");
});

t.test("what is put to Cedar fits the schema, entity by entity", async (t) => {
  const argTypes = { env: "string", ratio: "number" } as const;
  const schema = schemaWith(SCHEMA, argTypes);
  const held = user("pat", [{ role: "admin", namespace: "*" }], {
    groups: [{ name: "ops", roles: runner.roles }],
  });
  const args = { env: "prod", ratio: 2 };
  for (const [action, kinds] of Object.entries(ACTIONS)) {
    for (const resource of Object.values(RESOURCES)) {
      if (!(kinds as readonly string[]).includes(resource.kind)) continue;
      const request = ask(held, action as AuthRequest["action"], resource, { args });
      const answer = isAuthorized({
        principal: principalOf(request.principal),
        action: { type: "Action", id: action },
        resource: resourceOf(resource),
        context: contextOf(request.context, argTypes),
        entities: entitiesOf(request),
        policies: { staticPolicies: DEFAULTS.map(({ text }) => text).join("\n") },
        schema,
        validateRequest: true,
      });
      t.equal(
        answer.type,
        "success",
        `${action} ${resource.kind} ${answer.type === "failure" ? JSON.stringify(answer.errors) : ""}`,
      );
    }
  }
});

t.test("one decision, warm (printed; the bound is generous)", async (t) => {
  const request = ask(runner, "run", op({}), { args: { env: "prod" }, time: TIME });
  for (let i = 0; i < 200; i++) authorizer.authorize(request);
  const times = Array.from({ length: 300 }, () => {
    const start = performance.now();
    authorizer.authorize(request);
    return performance.now() - start;
  }).sort((a, b) => a - b);
  t.comment(`decision: median ${times[150]?.toFixed(3)} ms, p99 ${times[297]?.toFixed(3)} ms`);
  t.ok((times[150] ?? 99) < 10);
});

t.test("a site's policy can forbid by what an Op may reach", async (t) => {
  const site = `@id("no-directory")
@reason("No Op may reach the directory.")
forbid (principal, action == Action::"run", resource) when { resource.network.contains("ldap.internal:636") };
@id("no-network")
@reason("No networks.")
forbid (principal, action == Action::"publish", resource is Op) unless { resource.network.isEmpty() };`;
  const authorizer = withPolicies(site);
  const pat = user("pat", [{ role: "admin", namespace: "web" }]);
  const may = (action: "run" | "publish", network?: readonly string[]) => {
    const op = network === undefined ? OP : { ...OP, network };
    return authorizer.authorize(ask(pat, action, { kind: "op", op, namespace: WEB }, { ...TTY }));
  };
  t.ok(may("run").allow);
  t.ok(may("run", ["api.internal:443"]).allow);
  t.match(may("run", ["api.internal:443", "ldap.internal:636"]), { allow: false, reason: /directory/ });
  t.ok(may("publish").allow);
  t.notOk(may("publish", ["api.internal:443"]).allow);
});

t.test("a site's policy can forbid by what of the host an Op asks for", async (t) => {
  const site = `@id("no-spool")
@reason("The spool is not for writing.")
forbid (principal, action in [Action::"run", Action::"activate"], resource is Op) when { resource.resources.contains("spool:rw") };
@id("nothing-from-slack")
@reason("What asks for the host is run on the host.")
forbid (principal, action == Action::"run", resource is Op)
when { context.source == "slack" } unless { resource.resources.isEmpty() };`;
  const authorizer = withPolicies(site);
  const pat = user("pat", [{ role: "admin", namespace: "web" }]);
  const may = (
    action: "run" | "activate",
    resources: readonly string[],
    context: Partial<AuthContext> = TTY,
  ) =>
    authorizer.authorize(ask(pat, action, { kind: "op", op: { ...OP, resources }, namespace: WEB }, context));
  t.ok(may("run", []).allow);
  t.ok(may("run", [], SLACK).allow);
  t.ok(may("run", ["spool:ro", "logs:rw"]).allow);
  t.match(may("run", ["logs:ro", "spool:rw"]), {
    allow: false,
    policies: ["no-spool"],
    reason: /not for writing/,
  });
  t.match(may("activate", ["spool:rw"]), { allow: false, policies: ["no-spool"] });
  t.match(may("run", ["logs:ro"], SLACK), { allow: false, policies: ["nothing-from-slack"] });
});

t.test(
  "a site's policy can forbid by root file system and by engine, which not every Op names",
  async (t) => {
    const site = `@id("no-images")
forbid (principal, action == Action::"run", resource is Op) when { resource has root };
@id("second-kernel")
forbid (principal, action == Action::"run", resource is Op)
unless { resource has engine && resource.engine == "gvisor" };`;
    const authorizer = withPolicies(site);
    const pat = user("pat", [{ role: "runner", namespace: "web" }]);
    const may = (more: Partial<OpRow>) =>
      authorizer.authorize(ask(pat, "run", { kind: "op", op: { ...OP, ...more }, namespace: WEB }, TTY));
    t.ok(may({ engine: "gvisor" }).allow);
    t.match(may({}), { allow: false, policies: ["second-kernel"] });
    t.match(may({ engine: "crun" }), { allow: false, policies: ["second-kernel"] });
    t.match(may({ engine: "gvisor", root: "python" }), { allow: false, policies: ["no-images"] });
  },
);
