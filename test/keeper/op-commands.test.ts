import t from "tap";
import { createAuthorizer } from "../../src/core/authorizer.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import { Access } from "../../src/keeper/access.ts";
import { type Caller, recall } from "../../src/keeper/callers.ts";
import type { Handlers } from "../../src/keeper/commands/command.ts";
import { opVersions } from "../../src/keeper/commands/op-versions.ts";
import { ops } from "../../src/keeper/commands/ops.ts";
import { rights } from "../../src/keeper/commands/rights.ts";
import { runtimes } from "../../src/keeper/commands/runtimes.ts";
import type { Session } from "../../src/keeper/session.ts";
import { SitePolicies } from "../../src/keeper/site-policies.ts";
import { addGrant } from "../../src/store/grants.ts";
import { setNamespaceEngine } from "../../src/store/namespaces.ts";
import { listOps } from "../../src/store/ops.ts";
import { setRuntime } from "../../src/store/runtimes.ts";
import { addUser } from "../../src/store/users.ts";
import type { Command } from "../../src/wire/ctl.ts";
import { DEFAULTS, SCHEMA } from "../core/authorizer-rig.ts";
import { HEARTBEAT } from "../store/scratch.ts";
import { Rig } from "./runs-rig.ts";

/** Publishing, activating, showing: what a site's policies see of the Op, and an Op that can't be read any more. */

const bundleOf = (more: string): Buffer => {
  const yaml = `op: web/restart\nsummary: test\nrun: ["/bin/true"]\n${more}`;
  return encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(yaml) }]);
};

type Call = (command: Command, params: unknown, ...parts: Buffer[]) => Promise<unknown>;

async function desk(t: { teardown(call: () => unknown): void }, site: string) {
  const rig = await Rig.make(t);
  const { store, caller } = rig;
  const roles = [{ role: "admin", namespace: "*" }] as const;
  const admin: Caller = { ...caller, principal: { ...caller.principal, roles } };
  const options = { schema: SCHEMA, policies: [...DEFAULTS, { name: "site", text: site }] };
  const authorizer = createAuthorizer(options);
  await store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await setRuntime(tx, { name: "python", digest: `sha256:${"0".repeat(64)}` });
    await addGrant(tx, { role: "admin", namespace: "*", subject: { kind: "user", id: caller.id } });
  });
  const session = {
    store,
    access: new Access({ store, authorizer, now: Date.now }),
    policies: new SitePolicies({ store, authorizer, options, now: Date.now }),
    runs: { usesRoot: () => false },
  } as unknown as Session;
  const all: Handlers = { ...ops, ...opVersions, ...rights, ...runtimes };
  const by =
    (who: Caller): Call =>
    async (command, params, ...parts) => {
      const handler = all[command] as (context: unknown) => Promise<unknown>;
      return handler({ session, caller: who, account: { uid: 1, loginUid: null }, params, parts });
    };
  /** Somebody else, with a role in the namespace. */
  const as = async (name: string, role: "admin" | "coder" | "runner" = "coder"): Promise<Call> => {
    const { id } = await store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      const user = await addUser(tx, { name });
      await addGrant(tx, { role, namespace: "web", subject: { kind: "user", id: user.id } });
      return user;
    });
    const found = await recall(store.read, { id, source: "tty", standing: "host", channel: null });
    return by(found);
  };
  return { rig, call: by(admin), as };
}

const SITE = `@id("no-directory") forbid (principal, action, resource is Op) when { resource.network.contains("ldap:636") };
@id("no-image") forbid (principal, action, resource is Op) when { resource has root && resource.root == "python" };
@id("gvisor-only") forbid (principal, action == Action::"publish", resource is Op)
unless { resource has engine && resource.engine == "gvisor" };`;

t.test("a site's policies see all of an Op at publish, activate, show and disable", async (t) => {
  const { rig, call } = await desk(t, SITE);
  const publish = (more: string) => call("op.publish", { activate: true }, bundleOf(more));
  const denied = (policy: string) => ({ code: "denied", detail: new RegExp(`\\(policy ${policy}\\)`) });
  await t.rejects(publish('engine: gvisor\nnetwork: ["ldap:636"]'), denied("no-directory"));
  await t.rejects(publish("engine: gvisor\nroot: python"), denied("no-image"));
  await t.rejects(publish(""), denied("gvisor-only"));
  await t.rejects(publish("engine: crun"), denied("gvisor-only"));
  t.equal((await listOps(rig.store.read))[0]?.active, 1, "nothing of them is stored");
  t.match(await publish("engine: gvisor"), { version: 2 });
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await setNamespaceEngine(tx, "web", "gvisor");
  });
  t.match(await publish("concurrency: 2"), { version: 3 }, "its namespace says so");
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await tx.run(`UPDATE op_versions SET manifest =
      replace(manifest, '"network":[]', '"network":[{"host":"ldap","port":636,"scheme":"tls"}]')`);
  });
  for (const name of ["op.show", "op.versions", "op.disable"] as const)
    await t.rejects(call(name, { op: "web/restart" }), denied("no-directory"), name);
  await t.rejects(call("op.activate", { op: "web/restart", version: 1 }), denied("no-directory"));
});

t.test("an Op that can't be read any more is disabled, and nobody else's command fails for it", async (t) => {
  const { rig, call } = await desk(t, "");
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await tx.run(`UPDATE op_versions SET manifest = replace(manifest, '"reply":"channel"', '"reply":"fax"')`);
  });
  t.match(await call("runtime.list", {}), { runtimes: [{ name: "python", ops: [] }] });
  t.match(await call("runtime.remove", { name: "python" }), { name: "python" });
  t.match(await call("op.versions", { op: "web/restart" }), { versions: [{ version: 1 }] });
  const rules = { code: "manifest_invalid", detail: /publish it again/ };
  await t.rejects(call("op.show", { op: "web/restart" }), rules);
  await t.rejects(call("op.activate", { op: "web/restart", version: 1 }), rules);
  t.match(await call("op.disable", { op: "web/restart" }), { disabled: true });
  t.equal((await listOps(rig.store.read))[0]?.disabled, true);
});

const version = (n: number): string => `concurrency: ${n}\n`;
const activeOf = async (rig: Rig): Promise<number | null | undefined> =>
  (await listOps(rig.store.read))[0]?.active;

t.test("two persons: who published a version activates it on no way", async (t) => {
  const { rig, call, as } = await desk(t, "");
  const other = await as("bea");
  type Reply = { version: number; active: boolean; warnings: string[] };
  const publish = (n: number, by = call, activate = true) =>
    by("op.publish", { activate }, bundleOf(version(n))) as Promise<Reply>;
  const activate = (n: number, by = call) => by("op.activate", { op: "web/restart", version: n });
  const mine = {
    code: "denied",
    detail: /nobody activates what they published.*\(policy two-person-publish\)/,
  };
  await call("namespace.two-person", { namespace: "web", on: true });

  t.match(await publish(2), {
    version: 2,
    active: false,
    warnings: [/it is not active: .*nobody activates/],
  });
  await t.rejects(activate(2), mine);
  await t.rejects(call("op.rollback", { op: "web/restart", version: 2 }), mine);
  t.match(await publish(2), { version: 2, active: false }, "nor by publishing it again");
  t.match(await publish(2, other, false), { version: 2, active: false });
  await t.rejects(activate(2), mine, "nor after somebody else published the same");
  t.equal(await activeOf(rig), 1);

  await activate(2, other);
  t.equal(await activeOf(rig), 2);
  t.match(await publish(2, call, false), { version: 2, active: true, warnings: [] }, "it is what runs");
  await publish(3, other);
  t.match(
    await call("op.list", {}),
    { ops: [{ version: 2, notActivated: 3 }] },
    "hers runs, another's waits",
  );
  await activate(3);
  await t.rejects(call("op.rollback", { op: "web/restart" }), mine, "nor back to it");
  t.equal(await activeOf(rig), 3);
  await other("op.rollback", { op: "web/restart" });
  t.equal(await activeOf(rig), 2);

  await call("op.disable", { op: "web/restart" });
  t.equal((await listOps(rig.store.read))[0]?.disabled, true, "stopping takes one person");
  await t.rejects(activate(2), mine, "starting again takes another");
  await call("namespace.two-person", { namespace: "web", on: false });
  await activate(2);
  t.equal((await listOps(rig.store.read))[0]?.disabled, false);
  const rows = await rig.store.read.all<{ entry: Buffer }>(
    "SELECT entry FROM log_entry WHERE type IN ('op.activated', 'namespace.two_person_publish') ORDER BY seq",
  );
  const told = rows.map(
    ({ entry }) => JSON.parse(entry.toString("utf8")) as Record<string, Record<string, unknown>>,
  );
  t.match(
    told.map(({ data, actor }) => data?.on ?? [data?.version, data?.previous, data?.publisher === actor?.id]),
    [true, [2, 1, false], [3, 2, false], [2, 3, false], false, [2, 2, true]],
    "that the rule was off when somebody activated their own can be read from the log",
  );
});

t.test("who may not administer the namespace does not change the rule", async (t) => {
  const { as } = await desk(t, "");
  const coder = await as("cora", "coder");
  await t.rejects(coder("namespace.two-person", { namespace: "web", on: false }), { code: "denied" });
  await t.rejects(coder("namespace.two-person", { namespace: "none", on: false }), { code: "denied" });
});

t.test("two who go back at the same moment go back once", async (t) => {
  const { rig, call, as } = await desk(t, "");
  const other = await as("bea");
  for (const n of [2, 3]) await call("op.publish", { activate: true }, bundleOf(version(n)));
  const back = await Promise.allSettled([
    call("op.rollback", { op: "web/restart" }),
    other("op.rollback", { op: "web/restart" }),
  ]);
  t.same(back.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  t.match(
    back.find(({ status }) => status === "rejected"),
    {
      reason: { code: "conflict", detail: /Version 2 of web\/restart was activated meanwhile/ },
    },
  );
  t.equal(await activeOf(rig), 2);
});

t.test("back to what can't run any more is refused, and nothing changes", async (t) => {
  const { rig, call } = await desk(t, "");
  await t.rejects(call("op.rollback", { op: "web/restart" }), {
    code: "not_found",
    detail: /No other version/,
  });
  await call("op.publish", { activate: true }, bundleOf("root: python\n"));
  await call("op.publish", { activate: true }, bundleOf(version(3)));
  await call("runtime.remove", { name: "python" });
  await t.rejects(call("op.rollback", { op: "web/restart" }), { code: "not_found", detail: /python/ });
  await t.rejects(call("op.activate", { op: "web/restart", version: 2 }), { code: "not_found" });
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await tx.run(`UPDATE op_versions SET manifest = replace(manifest, '"reply":"channel"', '"reply":"fax"')
      WHERE number = 1`);
  });
  await t.rejects(call("op.rollback", { op: "web/restart", version: 1 }), { code: "manifest_invalid" });
  await t.rejects(call("op.rollback", { op: "web/restart", version: 9 }), { code: "not_found" });
  t.match(await call("op.versions", { op: "web/restart" }), {
    active: 3,
    activations: [{ version: 3 }, { version: 2 }, { version: 1 }],
  });
  t.match(await call("op.show", { op: "web/restart", version: 2 }), {
    active: false,
    activated: { by: "ada", from: { uid: 1 } },
  });
});

t.test("the list tells who may activate what waits for that", async (t) => {
  const { call, as } = await desk(t, "");
  const runner = await as("rob", "runner");
  const store = (yaml: string) =>
    call(
      "op.publish",
      { activate: false },
      encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(yaml) }]),
    );
  await store('op: web/new\nsummary: new\nrun: ["/bin/true"]\n');
  await store('op: web/restart\nsummary: test\nrun: ["/bin/false"]\n');
  const state = async (by = call) => {
    const { ops } = (await by("op.list", {})) as { ops: Record<string, unknown>[] };
    return ops.map(({ op, version, state, notActivated }) => [op, version, state, notActivated]);
  };
  t.same(await state(), [
    ["web/new", null, "not activated", 1],
    ["web/restart", 1, "active", 2],
  ]);
  t.same(await state(runner), [["web/restart", 1, "active", null]]);
  await call("op.activate", { op: "web/restart", version: 2 });
  await call("op.rollback", { op: "web/restart" });
  await call("op.disable", { op: "web/restart" });
  t.same((await state())[1], ["web/restart", 1, "disabled", null], "what was active once does not wait");
  t.same(await state(runner), []);
});

t.test("code is for who may write it, and reading it is in the log", async (t) => {
  const { rig, call, as } = await desk(t, "");
  const runner = await as("rob", "runner");
  await t.rejects(runner("op.code", { op: "web/restart" }), {
    code: "denied",
    detail: /read the code of web/,
  });
  const { bytes } = (await call("op.code", { op: "web/restart", version: 1 })) as { bytes: Buffer };
  t.match(bytes.toString("latin1"), /^SPB1/);
  const read = await rig.store.read.all("SELECT 1 FROM log_entry WHERE type = 'op.code_read'");
  t.equal(read.length, 1);
  await t.rejects(call("op.code", { op: "web/restart", version: 9 }), { code: "not_found" });
});

t.test(
  "who may publish nowhere has no bundle parsed, and who may is told what is wrong with it",
  async (t) => {
    const { rig, call, as } = await desk(t, "");
    const runner = await as("rob", "runner");
    const junk = Buffer.from("junk");
    await t.rejects(runner("op.publish", { activate: true }, junk), { code: "denied" });
    await t.rejects(call("op.publish", { activate: true }, junk), { code: "bundle_invalid" });
    const refused = await rig.store.read.all<{ type: string }>(
      "SELECT type FROM log_entry WHERE type IN ('authz.denied', 'op.refused') ORDER BY seq",
    );
    t.same(
      refused.map(({ type }) => type),
      ["authz.denied", "op.refused"],
    );
    t.equal((await listOps(rig.store.read)).length, 1);
  },
);
