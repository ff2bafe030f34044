import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { OCI_ENGINES } from "../../src/core/engines.ts";
import { TestAppliance, until } from "./appliance.ts";
import { opFolder } from "./slack-rig.ts";

/** `engine:` of op.yaml and of sallyport.yaml, from the CLI through keeper and runner to the container. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const config = join(appliance.dir, "sallyport.yaml");
writeFileSync(config, "limits: best-effort\nengine: native\n");
appliance.env.SALLYPORT_CONFIG = config;
await appliance.init();
await appliance.serve();
await appliance.unlock();
await appliance.ok(["namespace", "add", "demo"]);
await appliance.ok(["role", "grant", "runner", "demo", "alice"]);

type Found = { engine: string; path: string | null; version: string; ok: boolean; detail: string };
type Engines = { default: string; found: Found[] } | null;
const engines = async () =>
  ((await appliance.ok(["status", "--json"])).json() as { engines: Engines }).engines;
await until(async () => (await engines()) !== null, 60_000);
const { found } = (await engines())!;

const SCRIPT = { "main.sh": '#!/bin/sh\necho "one: $(cat input.json)"; exit 3\n' };
const manifest = (name: string, more = "") =>
  `op: demo/${name}\nsummary: x\nrun: ["./main.sh"]\ninputs: {x: {type: string}}\n${more}`;

for (const engine of OCI_ENGINES) {
  const report = found.find((f) => f.engine === engine);
  const skip = report?.path === null ? `${engine} is not installed here` : false;
  t.test(`engine: ${engine}`, { skip }, async (t) => {
    t.match(report, { ok: true, path: /^\/usr\//, version: /version/ });
    await appliance.publish(opFolder(appliance, manifest(engine, `engine: ${engine}\n`), SCRIPT));
    const ran = await appliance.cli(["run", `demo/${engine}`, "--x", "y"]);
    t.equal(ran.status, 3, ran.stderr);
    t.match(ran.stdout, /one: {"x":"y"}/);
  });
}

t.test(
  "an engine that is not there is refused before anything is recorded, and the refusal is logged",
  async (t) => {
    await appliance.publish(opFolder(appliance, manifest("kata", "engine: kata\n"), SCRIPT));
    const before = (await appliance.ok(["runs", "list", "--json"])).stdout;
    const ran = await appliance.cli(["run", "demo/kata"]);
    t.equal(ran.status, 1);
    t.match(ran.stderr, /engine that the Op asks for can't be used.*demo\/kata asks for kata: /);
    t.equal((await appliance.ok(["runs", "list", "--json"])).stdout, before);
    const log = (await appliance.ok(["audit", "log", "--json"])).stdout;
    t.match(log, /engine_unavailable/);
  },
);

t.test("an engine that nobody knows is no manifest", async (t) => {
  const bad = await appliance.cli([
    "op",
    "validate",
    opFolder(appliance, manifest("x", "engine: docker\n"), SCRIPT),
  ]);
  t.equal(bad.status, 2);
  t.match(bad.stderr, /engine: must be native, crun, runc, gvisor or kata/);
});

t.test("doctor tells path, version and outcome of each", async (t) => {
  const { checks } = (await appliance.cli(["doctor", "--json"])).json() as {
    checks: { name: string; ok: boolean; detail: string }[];
  };
  for (const { engine, path, version } of found) {
    const check = checks.find((c) => c.name === `engine ${engine}`);
    t.ok(check?.ok, `${engine}: one that nobody relies on is no failure`);
    t.match(check?.detail, path === null ? /not installed/ : `${path} (${version}): passed`);
  }
});

const crun = found.find((f) => f.engine === "crun")?.ok === true ? false : "crun is not installed here";
t.test("the host's default", { skip: crun }, async (t) => {
  await appliance.publish(opFolder(appliance, manifest("plain"), { "main.sh": "#!/bin/sh\nls /run\n" }));
  t.notMatch((await appliance.ok(["run", "demo/plain"])).stdout, /init/);
  await appliance.publish(
    opFolder(appliance, manifest("native", "engine: native\n"), { "main.sh": "#!/bin/sh\nls /run\n" }),
  );
  await appliance.stopServing();
  writeFileSync(config, "limits: best-effort\nengine: crun\n");
  appliance.log = "";
  await appliance.serve();
  await appliance.unlock();
  await until(async () => (await engines()) !== null, 60_000);
  t.equal((await engines())?.default, "crun");
  t.match((await appliance.ok(["run", "demo/plain"])).stdout, /init/);
  t.notMatch((await appliance.ok(["run", "demo/native"])).stdout, /init/, "what op.yaml says wins");
});

const runc = found.find((f) => f.engine === "runc")?.ok === true ? crun : "runc is not installed here";
t.test("a namespace's engine is that of all its Ops", { skip: runc }, async (t) => {
  const bad = await appliance.cli(["namespace", "engine", "demo", "docker"]);
  t.equal(bad.status, 2);
  t.match(bad.stderr, /There is no engine docker; there are native, crun, runc, gvisor, kata, default/);
  t.equal((await appliance.cli(["namespace", "engine", "none", "runc"])).status, 1, "no such namespace");

  await appliance.ok(["namespace", "engine", "demo", "runc"]);
  t.match((await appliance.ok(["namespace", "list"])).stdout, /demo +any +runc/);
  t.match((await appliance.ok(["run", "demo/plain"])).stdout, /init/);
  const clash = await appliance.cli(["run", "demo/native"]);
  t.equal(clash.status, 1);
  t.match(
    clash.stderr,
    /Namespace demo runs its Ops under runc, and demo\/native asks for native: take engine: out of op.yaml, or have an admin run: sallyport namespace engine demo default/,
  );
  const started = (await appliance.ok(["audit", "log", "--json", "--type", "run.started"])).stdout;
  t.match(started, /"engine": ?"runc"/, "the log has what started it");
  t.match(
    (await appliance.ok(["audit", "log", "--json", "--type", "namespace.changed"])).stdout,
    /"engine": ?"runc"/,
  );

  await appliance.ok(["namespace", "engine", "demo", "default"]);
  t.notMatch((await appliance.ok(["run", "demo/native"])).stdout, /init/);
});
