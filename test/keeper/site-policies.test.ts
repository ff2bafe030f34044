import t from "tap";
import { createAuthorizer } from "../../src/core/authorizer.ts";
import { encodeBundle, openBundle } from "../../src/core/bundle.ts";
import { type Manifest, manifestToJson } from "../../src/core/manifest.ts";
import { Access } from "../../src/keeper/access.ts";
import { hostCaller } from "../../src/keeper/callers.ts";
import { keepAnAdmin } from "../../src/keeper/commands/people.ts";
import type { Session } from "../../src/keeper/session.ts";
import { SitePolicies } from "../../src/keeper/site-policies.ts";
import { addGrant } from "../../src/store/grants.ts";
import { activateVersion, publishVersion } from "../../src/store/ops.ts";
import { policiesInForce } from "../../src/store/policies.ts";
import type { Tx } from "../../src/store/tx.ts";
import { DEFAULTS, SCHEMA } from "../core/authorizer-rig.ts";
import { HEARTBEAT } from "../store/scratch.ts";
import { Rig } from "./runs-rig.ts";

/** A site's own policies on a real store: what counts when, over a crash, an upgrade and Ops that change their inputs. */

const APPLIANCE = { kind: "appliance" } as const;
const NO_PROD = `@id("no-prod") forbid (principal, action == Action::"run", resource)
when { context.args has env && context.args.env == "prod" };`;

async function site(t: { teardown(call: () => unknown): void }, now: () => number = Date.now) {
  const rig = await Rig.make(t, 1, { more: "inputs: {env: {type: string}}\n" });
  const { store } = rig;
  await store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await addGrant(tx, { role: "admin", namespace: "*", subject: { kind: "user", id: rig.caller.id } });
  });
  const options = { schema: SCHEMA, policies: DEFAULTS };
  /** As at an unlock. */
  const open = async () => {
    const authorizer = createAuthorizer(options);
    const policies = new SitePolicies({ store, authorizer, options, now });
    await policies.load();
    const access = new Access({ store, authorizer, now });
    const caller = await hostCaller(store.read, { uid: 1234, loginUid: null });
    const op = (await access.activeOp(store.read, "web", "restart"))!;
    const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
    return {
      policies,
      authorizer,
      access,
      may: (args: Record<string, string | number> = {}, from: object = {}) =>
        access.decide({ ...caller, ...from }, "run", resource, { args }),
      administer: () => access.may(caller, "administer", APPLIANCE),
      add: (name: string, text: string, replace = false) =>
        policies.add({ name, text, author: rig.caller.id, replace }, record),
      remove: (name: string) => policies.remove(name, record),
    };
  };
  return { rig, store, open };
}
const record = (tx: Tx) => {
  tx.log(HEARTBEAT);
};

/** Publishes and activates it, as op.publish does. */
async function activate(
  { rig, store }: Awaited<ReturnType<typeof site>>,
  policies: SitePolicies,
  yaml: string,
) {
  const bundle = encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(yaml) }]);
  const { digest, manifest } = openBundle(bundle);
  const by = { uid: 1234, loginUid: null };
  await policies.activating(manifest, () =>
    store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      const { namespace, name } = manifest;
      const { number } = await publishVersion(tx, {
        ...{ namespace, name, digest, bundle, publisher: rig.caller.id, ...by },
        manifest: manifestToJson(manifest as Manifest),
      });
      await activateVersion(tx, { namespace, name, number, userId: rig.caller.id, ...by });
    }),
  );
}
const yaml = (name: string, inputs: string) =>
  `op: web/${name}\nsummary: x\nrun: ["/bin/true"]\n${inputs === "" ? "" : `inputs: {${inputs}}\n`}`;

t.test(
  "the row first, then the rule: a keeper that dies between has the same at the next unlock",
  async (t) => {
    const made = await site(t);
    const before = await made.open();
    const failed = new Error("the disk is full");
    made.rig.beforeMutation = () => {
      throw failed;
    };
    await t.rejects(before.add("prod", NO_PROD), failed);
    t.ok(before.may({ env: "prod" }).allow, "not durable, not in force");
    made.rig.beforeMutation = () => undefined;
    await before.add("prod", NO_PROD);
    t.match(before.may({ env: "prod" }), { allow: false, policies: ["no-prod"] });
    const after = await made.open();
    t.match(after.may({ env: "prod" }), { allow: false, policies: ["no-prod"] });
    made.rig.beforeMutation = () => {
      throw failed;
    };
    await t.rejects(after.remove("prod"), failed);
    t.notOk(after.may({ env: "prod" }).allow, "still in force");
    made.rig.beforeMutation = () => undefined;
    await after.remove("prod");
    t.ok(after.may({ env: "prod" }).allow);
    t.ok((await made.open()).may({ env: "prod" }).allow);
  },
);

t.test("two added at once are both looked at: the second with the first", async (t) => {
  const { open } = await site(t);
  const at = await open();
  const [one, two] = await Promise.allSettled([at.add("one", NO_PROD), at.add("two", NO_PROD)]);
  t.equal(one.status, "fulfilled");
  t.match(two, {
    status: "rejected",
    reason: { code: "policy_invalid", detail: /no-prod" is used already, in site\/one/ },
  });
});

t.test("what locks every admin out is refused, with the way around", async (t) => {
  const { open } = await site(t);
  const at = await open();
  for (const [text, policy] of [
    ['@id("all") forbid (principal, action, resource);', "all"],
    ['@id("adm") forbid (principal, action == Action::"administer", resource is Appliance);', "adm"],
    ['@id("ada") forbid (principal == User::"ada", action, resource);', "ada"],
    ['@id("sum") forbid (principal, action, resource) when { 9223372036854775807 + 1 == 0 };', "sum"],
    [
      '@id("past") forbid (principal, action, resource) when { context.time > datetime("2020-01-01") };',
      "past",
    ],
  ] as const)
    await t.rejects(at.add("lock", text), {
      code: "conflict",
      detail: new RegExp(
        `no admin could administer.*\\(policy ${policy}\\).*unless .*Role::"\\*/admin" && context.source == "tty"`,
      ),
    });
  t.ok(at.administer());
  t.ok(at.may().allow, "none of them counts");
  const around = `@id("all") forbid (principal, action, resource) unless { principal in Role::"*/admin" && context.source == "tty" };`;
  await at.add("lock", around);
  t.ok(at.administer());
});

t.test(
  "one that locks out at another time can be taken away then: removing asks the shipped ones alone",
  async (t) => {
    let time = Date.parse("2026-01-01T12:00Z");
    const { open, store } = await site(t, () => time);
    const at = await open();
    const late =
      '@id("late") forbid (principal, action, resource) when { context.time > datetime("2026-01-02") };';
    await at.add("late", late);
    t.ok(at.administer(), "now it forbids nothing");
    time = Date.parse("2026-01-03T12:00Z");
    t.notOk(at.administer());
    const caller = await hostCaller(store.read, { uid: 1234, loginUid: null });
    const asked = {
      principal: { kind: "user", user: caller.principal },
      action: "administer",
      resource: APPLIANCE,
    } as const;
    t.ok(at.policies.shipped.authorize({ ...asked, context: { ...caller, time } }).allow);
    await at.remove("late");
    t.ok(at.administer());
  },
);

t.test("no change of roles may leave an admin whom a policy forbids", async (t) => {
  const { open, store } = await site(t);
  const at = await open();
  const session = { access: at.access, now: Date.now } as Session;
  await keepAnAdmin(session, store.read);
  await at.add(
    "ops",
    '@id("ops") forbid (principal, action == Action::"administer", resource) unless { principal in Role::"*/admin" };',
  );
  await store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await tx.run("DELETE FROM grants WHERE role = 'admin'");
    await t.rejects(keepAnAdmin(session, tx), { code: "conflict", detail: /without an admin/ });
  });
});

t.test(
  "the first published Op types an input; who would unsettle a policy is told by whom and how",
  async (t) => {
    const made = await site(t);
    const at = await made.open();
    await activate(made, at.policies, yaml("aaa", "env: {type: integer}"));
    await at.add("prod", NO_PROD);
    t.match(at.may({ env: "prod" }), { policies: ["no-prod"] }, "by age, not by name");
    t.match(at.may({ env: 3 }), { allow: false, policies: ["no-prod"], reason: /could not be evaluated/ });
    await t.rejects(activate(made, at.policies, yaml("restart", "")), {
      code: "policy_invalid",
      detail:
        /inputs of web\/restart.*policy no-prod.*The input env, string until now, would be integer as web\/aaa has it/,
    });
    await t.rejects(activate(made, at.policies, yaml("restart", "env: {type: boolean}")), {
      code: "policy_invalid",
      detail: /policy no-prod.*env, string until now, would be boolean as web\/restart has it/,
    });
    t.match(at.may({ env: "prod" }), { policies: ["no-prod"] }, "as before");
    await activate(made, at.policies, yaml("restart", "env: {type: string, enum: [prod, staging]}"));
    t.match(at.may({ env: "prod" }), { policies: ["no-prod"] });
    t.match((await made.open()).may({ env: "prod" }), { policies: ["no-prod"] });
  },
);

t.test(
  "policies that can't be read any more: nothing runs, and an admin at the terminal mends it",
  async (t) => {
    const made = await site(t);
    const { store } = made;
    const first = await made.open();
    await first.add("prod", NO_PROD);
    await first.add("more", '@id("more") permit (principal, action == Action::"status", resource);');
    const spoil = (name: string) =>
      store.mutate(async (tx) => {
        tx.log(HEARTBEAT);
        await tx.run(
          "UPDATE policies SET text = replace(text, 'forbid (', 'forbid (older, ') WHERE name = ?",
          [name],
        );
      });
    await spoil("prod");
    const at = await made.open();
    t.match(at.policies.unreadable, /site\/prod/);
    const unread = {
      allow: false,
      policies: ["policies-unreadable-run"],
      reason: /no Op runs.*sallyport policy list/,
    };
    t.match(at.may({ env: "staging" }), unread, "an admin's too");
    const slack = { source: "slack", standing: "member", channel: { id: "C0WEB", kind: "channel" } };
    t.match(at.may({ env: "staging" }, slack), {
      allow: false,
      policies: ["policies-unreadable", "policies-unreadable-run"],
    });
    t.ok(at.administer());
    const events = await store.read.all("SELECT outcome FROM log_entry WHERE type = 'policy.unreadable'");
    t.equal(events.length, 1);
    await t.rejects(
      at.add("other", '@id("other") permit (principal, action == Action::"status", resource);'),
      {
        code: "policy_invalid",
        detail: /site\/prod/,
      },
    );
    await at.add("prod", NO_PROD, true);
    t.equal(at.policies.unreadable, null, "replaced");
    t.ok(at.may({ env: "staging" }).allow);
    t.match(at.may({ env: "prod" }), { policies: ["no-prod"] });

    await spoil("prod");
    const again = await made.open();
    t.match(again.may(), unread);
    await again.remove("prod");
    t.equal(again.policies.unreadable, null, "removed");
    t.ok(again.may({ env: "prod" }).allow);
    t.strictSame(
      (await policiesInForce(store.read)).map(({ name }) => name),
      ["more"],
    );
  },
);
