import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { TestAppliance } from "./appliance.ts";

t.setTimeout(120_000);
const EXAMPLES = join(import.meta.dirname, "../../examples");

t.test("without a key the state directory tells no name, code, token, argument or output (P2)", async (t) => {
  const appliance = new TestAppliance();
  t.teardown(() => appliance.stop());
  const workspace = await appliance.ready();
  await appliance.publish(join(EXAMPLES, "hello"));
  await appliance.ok(["run", "demo/hello", "--name", "Zebulon"]);
  const readable = [
    "alice",
    "mallory",
    "demo/hello",
    "Zebulon",
    "Say hello",
    workspace.appToken,
    workspace.botToken,
    workspace.team.id,
    "run.finished",
    "appliance.unlocked",
  ];
  readable.push(readFileSync(join(EXAMPLES, "hello/main.sh"), "utf8").slice(20, 60));
  const files = filesBelow(appliance.stateDir).concat(filesBelow(join(appliance.dir, "log")));
  t.ok(
    files.some((file) => file.endsWith("keyring.json")) &&
      files.some((file) => file.endsWith("sallyport.db")),
  );
  for (const file of files) {
    const bytes = readFileSync(file);
    for (const text of readable)
      t.notOk(bytes.includes(text), `${file.slice(appliance.dir.length)} does not hold ${text.slice(0, 12)}`);
  }
});

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => join(dir, name))
    .filter((file) => lstatSync(file).isFile());
}
