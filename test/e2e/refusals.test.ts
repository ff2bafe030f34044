import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { renderMessage } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";

t.setTimeout(120_000);

const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();

type Entry = {
  entry: { type: string; outcome: string; policy?: string; reason?: string; data?: Record<string, unknown> };
};
async function entries(type: string): Promise<Entry["entry"][]> {
  const said = (await appliance.ok(["audit", "log", "--type", type, "--limit", "200", "--json"])).json() as {
    entries: Entry[];
  };
  return said.entries.map((line) => line.entry);
}

function op(name: string, more: string): string {
  const dir = join(appliance.dir, name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "op.yaml"), `op: demo/${name}\nsummary: ${name}\nrun: ["./main.sh"]\n${more}`);
  writeFileSync(join(dir, "main.sh"), "#!/bin/sh\necho ran\n");
  chmodSync(join(dir, "main.sh"), 0o755);
  return dir;
}

t.test("an Op that asks for what can't be given is refused, never run with less", async (t) => {
  const cases: [string, string, RegExp][] = [
    [
      "files",
      "resources: [app-logs]\n",
      /the resource app-logs, which sallyport\.yaml of this host does not list/,
    ],
  ];
  for (const [name, more, what] of cases) {
    await appliance.publish(op(name, more));
    const before = (await entries("request.refused")).length;
    const said = await appliance.cli(["run", `demo/${name}`]);
    t.equal(said.status, 3, name);
    t.match(said.stderr, what, `${name} says what it asks for`);
    const after = await entries("request.refused");
    t.equal(after.length, before + 1, `${name} is one entry`);
    t.match(after.at(-1), { outcome: "denied", policy: "unsupported", reason: what });
  }
  const { runs } = (await appliance.ok(["runs", "list", "--json"])).json() as { runs: unknown[] };
  t.same(runs, [], "nothing was recorded as a run");
});

t.test("arguments that are refused are an entry, and nothing runs", async (t) => {
  await appliance.publish(op("plain", ""));
  const typed = workspace.command("bob", "ops", "/ops run demo/plain --undeclared x");
  t.match(renderMessage(await typed.response()), /undeclared/);
  t.match((await entries("request.refused")).at(-1), { policy: "input_invalid", data: { surface: "slack" } });
});

t.test("arguments that no launch could take are refused before a run is recorded", async (t) => {
  const names = Array.from({ length: 8 }, (_, i) => `a${i}`);
  const dir = op(
    "wide",
    `inputs:\n${names.map((n) => `  ${n}: {type: string, required: true, maxLength: 4096}\n`).join("")}`,
  );
  const run = `run: ["./main.sh", ${names.map((n) => `"\u0024{${n}}"`)}]`;
  const yaml = readFileSync(join(dir, "op.yaml"), "utf8");
  writeFileSync(join(dir, "op.yaml"), yaml.replace('run: ["./main.sh"]', run));
  await appliance.publish(dir);
  const runs = async () =>
    ((await appliance.ok(["runs", "list", "--json"])).json() as { runs: unknown[] }).runs.length;
  const before = await runs();
  const asked = (length: number) =>
    appliance.cli(["run", "demo/wide", ...names.flatMap((n) => [`--${n}`, "x".repeat(length)])]);
  const said = await asked(4080);
  t.equal(said.status, 2);
  t.match(said.stderr, /take \d+ bytes in argv and environment together; at most/);
  t.equal(await runs(), before);
  t.equal((await asked(3800)).status, 0, "and what is below runs");
});

t.test("a redelivery of what ran says nothing more", async (t) => {
  const typed = workspace.command("bob", "ops", "/ops run demo/plain");
  await workspace.waitFor(
    () => workspace.messages("ops").find((m) => renderMessage(m).includes("demo/plain succeeded")),
    10_000,
  );
  workspace.faults.redeliver(typed.envelopeId);
  await new Promise((resolve) => setTimeout(resolve, 1500));
  t.same(typed.responses, [], "no word of not having run");
  t.ok(typed.acks > 1, "and it was acknowledged");
});
