import t from "tap";
import { createAuthorizer } from "../../src/core/authorizer.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import { Access } from "../../src/keeper/access.ts";
import type { Handlers } from "../../src/keeper/commands/command.ts";
import { opVersions } from "../../src/keeper/commands/op-versions.ts";
import { ops } from "../../src/keeper/commands/ops.ts";
import { runtimes } from "../../src/keeper/commands/runtimes.ts";
import type { Session } from "../../src/keeper/session.ts";
import { SitePolicies } from "../../src/keeper/site-policies.ts";
import { addGrant } from "../../src/store/grants.ts";
import { setNamespaceEngine } from "../../src/store/namespaces.ts";
import { listOps } from "../../src/store/ops.ts";
import { setRuntime } from "../../src/store/runtimes.ts";
import type { Command } from "../../src/wire/ctl.ts";
import { DEFAULTS, SCHEMA } from "../core/authorizer-rig.ts";
import { HEARTBEAT } from "../store/scratch.ts";
import { Rig } from "./runs-rig.ts";

/** Publishing, activating, showing: what a site's policies see of the Op, and an Op that can't be read any more. */

const bundleOf = (more: string): Buffer => {
  const yaml = `op: web/restart\nsummary: test\nrun: ["/bin/true"]\n${more}`;
  return encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(yaml) }]);
};

async function desk(t: { teardown(call: () => unknown): void }, site: string) {
  const rig = await Rig.make(t);
  const { store, caller } = rig;
  const admin = { ...caller, principal: { ...caller.principal, roles: [{ role: "admin", namespace: "*" }] } };
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
  const all: Handlers = { ...ops, ...opVersions, ...runtimes };
  const call = async (command: Command, params: unknown, ...parts: Buffer[]): Promise<unknown> => {
    const handler = all[command] as (context: unknown) => Promise<unknown>;
    return handler({ session, caller: admin, account: { uid: 1, loginUid: null }, params, parts });
  };
  return { rig, call };
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
