import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { needsRoot, OTHER_ACCOUNT, TestAppliance } from "./appliance.ts";
import { caughtUp, logged, opFolder } from "./slack-rig.ts";

/** The log of a real appliance, taken out and proved by somebody who has nothing but the verifier key. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
await appliance.init();
await appliance.serve();
await appliance.unlock();
await appliance.ok(["namespace", "add", "demo"]);
await appliance.publish(opFolder(appliance, `op: demo/hi\nsummary: h\nrun: [echo, hi]\n`));
for (let i = 0; i < 3; i++) await appliance.ok(["run", "demo/hi"]);
const kept = (await appliance.ok(["audit", "checkpoint", "--json"])).json() as {
  checkpoint: string;
  vkey: string;
};
const at = (name: string) => join(appliance.dir, name);
writeFileSync(at("kept"), kept.checkpoint);
await appliance.ok(["run", "demo/hi"]);

t.test("tiles: written, verified with the appliance gone, a change found", async (t) => {
  const made = (await appliance.ok(["audit", "export", "--tiles", at("taken"), "--json"])).json() as {
    size: number;
  };
  t.ok(made.size > 10);
  t.equal(readFileSync(at("taken/vkey"), "utf8").split("\n")[0], kept.vkey);
  // No keeper is asked: nobody answers in that directory.
  const alone = (...args: string[]) =>
    appliance.cli(["audit", "verify", "--run-dir", at("nowhere"), ...args]);
  t.match(await alone("--from", at("taken")), { status: 0, stdout: /sound: \d+ entries[\s\S]*compare it/ });
  t.match(await alone("--from", at("taken"), "--vkey", kept.vkey, "--checkpoint", at("kept")), {
    status: 0,
    stdout: /sound/,
  });
  const bundle = at(`taken/tile/entries/000.p/${made.size}`);
  const bytes = readFileSync(bundle);
  writeFileSync(
    bundle,
    Buffer.from(bytes.toString("latin1").replace('"outcome":"success"', '"outcome":"unknown"'), "latin1"),
  );
  t.match(await alone("--from", at("taken")), {
    status: 6,
    stderr: /differs from its entries in tile\/0\/000/,
  });
  await appliance.ok(["audit", "export", "--tiles", at("taken")]);
  t.match(await alone("--from", at("taken")), { status: 0 }, "again over an earlier one");
  t.match(await appliance.cli(["audit", "export", "--tiles", appliance.dir]), {
    status: 1,
    stderr: /something else/,
  });
  t.match(await appliance.cli(["audit", "export"]), { status: 2 });
  t.match(await appliance.cli(["audit", "export", "--format", "xml"]), {
    status: 2,
    stderr: /jsonl, ecs, ocsf or cef/,
  });
  await caughtUp(appliance);
  t.match(logged(appliance, "log.exported")[0]?.sallyport, { format: "tiles", size: made.size });
});

t.test("one entry, proved to a third party", async (t) => {
  await appliance.ok(["audit", "prove", "5", "--out", at("five")]);
  const check = (...args: string[]) =>
    appliance.cli(["audit", "verify", "--run-dir", at("nowhere"), "--proof", at("five"), ...args]);
  t.match(await check("--vkey", kept.vkey), { status: 0, stdout: /It is entry 5 of/ });
  t.match(await check(), { status: 2, stderr: /--vkey/ });
  const entry = readFileSync(at("five.entry"));
  writeFileSync(at("five.entry"), Buffer.concat([entry, Buffer.from(" ")]));
  t.match(await check("--vkey", kept.vkey), { status: 6, stderr: /it is not entry 5/ });
  t.match(await appliance.cli(["audit", "prove", "99999"]), { status: 1, stderr: /Entry 99999/ });
  t.match(await appliance.cli(["audit", "prove", "x"]), { status: 2 });
});

t.test("lines: as they were hashed, as ECS, OCSF, CEF; a span of time", async (t) => {
  const lines = (await appliance.ok(["audit", "export", "--format", "jsonl"])).stdout.trim().split("\n");
  t.match(JSON.parse(lines[0] ?? ""), { v: 1, type: "appliance.initialized" });
  const ecs = (await appliance.ok(["audit", "export", "--format", "ecs"])).stdout.trim().split("\n");
  t.match(JSON.parse(ecs[0] ?? ""), {
    "ecs.version": /8/,
    event: { sequence: 0, action: "appliance.initialized" },
  });
  await caughtUp(appliance);
  // The same line as the one that went to the journal.
  const [streamed] = logged(appliance, "run.finished");
  t.strictSame(JSON.parse(ecs.find((line) => line.includes('"run.finished"')) ?? "{}"), streamed);
  const ocsf = (await appliance.ok(["audit", "export", "--format", "ocsf"])).stdout.trim().split("\n");
  const cef = (await appliance.ok(["audit", "export", "--format", "cef"])).stdout.trim().split("\n");
  for (const [i, line] of ecs.entries()) {
    const { hash, action } = (JSON.parse(line) as { event: { hash: string; action: string } }).event;
    t.match(JSON.parse(ocsf[i] ?? ""), { metadata: { sequence: i, event_code: action }, unmapped: { hash } });
    t.match(cef[i], `|${action}|`);
    t.match(cef[i], `cs5=${hash}`);
  }
  t.match(JSON.parse(ocsf.find((line) => line.includes("100803")) ?? "{}"), {
    class_name: "Event Log Activity",
    activity_name: "Export",
    unmapped: { format: "tiles" },
  });
  const none = await appliance.ok(["audit", "export", "--format", "jsonl", "--since", "2999-01-01"]);
  t.equal(none.stdout, "");
});

t.test("only who may read the whole log", { skip: needsRoot }, async (t) => {
  await appliance.ok(["user", "add", "rita", "--host-user", "nobody"]);
  await appliance.ok(["role", "grant", "admin", "demo", "rita"]);
  for (const args of [
    ["export", "--format", "jsonl"],
    ["prove", "1"],
    ["export", "--tiles", at("theirs")],
  ])
    t.match(await appliance.cliAs(OTHER_ACCOUNT, ["audit", ...args]), { status: 3 }, args.join(" "));
});
