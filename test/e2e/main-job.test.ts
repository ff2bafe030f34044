import { join } from "node:path";
import t from "tap";
import { renderMessage } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";

const EXAMPLES = join(import.meta.dirname, "../../examples");

t.setTimeout(120_000);

t.test("a command typed in Slack runs a sandboxed Op and its output comes back", async (t) => {
  const appliance = new TestAppliance();
  t.teardown(() => appliance.stop());
  const workspace = await appliance.ready();
  await appliance.publish(join(EXAMPLES, "hello"));

  const typed = workspace.command("bob", "ops", "/ops run demo/hello --name Ada");
  t.equal((await typed.ack).status, "acked");
  const shown = await workspace.waitFor(
    () => workspace.messages("ops").find((m) => renderMessage(m).includes("succeeded")),
    10_000,
  );
  const text = renderMessage(shown, { emphasis: "strip" });
  t.match(text, /demo\/hello succeeded/);
  t.match(text, /Hello, Ada!/);
  t.match(text, /r-[0-9a-z]+/, "the run's id");
  t.match(text, /Exit/);
  t.match(text, /Duration/);
  t.equal(shown.via, "chat.postMessage");

  const log = (await appliance.ok(["audit", "log", "--json"])).json() as {
    entries: { entry: { type: string } }[];
  };
  const types = log.entries.map((line) => line.entry.type);
  for (const type of ["request.received", "run.requested", "run.started", "run.finished"])
    t.ok(types.includes(type), type);
  t.equal((await appliance.cli(["audit", "verify"])).status, 0);
});
