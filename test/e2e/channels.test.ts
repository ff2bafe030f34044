import t, { type Test } from "tap";
import { TestAppliance } from "./appliance.ts";
import { answer, caughtUp, logged, opFolder } from "./slack-rig.ts";

/** Where a person may run what: a namespace's channels, narrowed by a manifest; /ops list and /ops help tell that and nothing else. */

t.setTimeout(300_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const cast = ["alice", "bob", "mallory"];
const ops = workspace.channel("ops").id;
const back = workspace.addChannel({ name: "back", kind: "private", members: cast }).id;
workspace.addChannel({ name: "mpdm-alice--bob-1", id: "C0MPIM0001", kind: "mpim", members: cast });
const publish = (name: string, more = "") =>
  appliance.publish(
    opFolder(appliance, `op: ${name}\nsummary: About ${name}\nrun: ["./main.sh"]\n${more}`, {
      "main.sh": "#!/bin/sh\necho ran\n",
    }),
  );
await appliance.ok(["namespace", "add", "web"]);
await publish("demo/one");
await publish("demo/two", `channels: [${back}]\n`);
await publish("web/site");
await appliance.ok(["role", "grant", "admin", "web", "bob"]);

const places: Record<string, string> = { ops, back, group: "C0MPIM0001" };
const where = (place: string, who: string) => places[place] ?? workspace.im(who).id;
const ask = (who: string, place: string, line: string) =>
  answer(workspace.command(who, where(place, who), `/ops ${line}`));
const named = (text: string) => [...new Set(text.match(/\b(?:demo|web)\/[a-z]+/g) ?? [])].sort();
/** The same in the list, the help, and by trying. */
async function may(t: Test, who: string, place: string, expected: string[]): Promise<void> {
  t.same(named(await ask(who, place, "list")), expected, `${who} in ${place}: list`);
  t.same(named(await ask(who, place, "help")), expected, `${who} in ${place}: help`);
  for (const op of ["demo/one", "demo/two", "web/site"].filter((name) => !expected.includes(name))) {
    t.match(await ask(who, place, `show ${op}`), /Refused/, `${who} in ${place}: show ${op}`);
    t.match(await ask(who, place, `run ${op}`), /Refused/, `${who} in ${place}: run ${op}`);
  }
}
const channel = async (action: string, namespace: string, id: string) =>
  (await appliance.ok(["namespace", "channel", action, namespace, id])).stdout;

t.test("no channel listed: any, direct messages and group messages too", async (t) => {
  for (const place of ["ops", "group", "direct message"]) {
    await may(t, "bob", place, ["demo/one", "web/site"]);
    await may(t, "mallory", place, []);
  }
  await may(t, "bob", "back", ["demo/one", "demo/two", "web/site"]);
  t.match((await appliance.ok(["namespace", "list"])).stdout, /demo +any/);
});

t.test("the first channel closes the others, and the admin is told", async (t) => {
  t.match(
    await channel("add", "demo", ops),
    new RegExp(`Its Ops may be run from ${ops} alone; until now from any channel and direct message`),
  );
  await may(t, "bob", "ops", ["demo/one", "web/site"]);
  for (const place of ["group", "direct message", "back"]) await may(t, "bob", place, ["web/site"]);
  t.match(await ask("bob", "back", "run demo/two"), /does not belong to the Op's namespace/);
  t.match(
    await channel("add", "demo", back),
    new RegExp(`may be run from (${ops}, ${back}|${back}, ${ops}) alone`),
  );
  await may(t, "bob", "back", ["demo/one", "demo/two", "web/site"]);
  t.match(await ask("bob", "ops", "run demo/two"), /manifest does not name this channel/);
});

t.test("without the last channel all are open again, and that is said and logged", async (t) => {
  await channel("remove", "demo", ops);
  t.match(await channel("remove", "demo", back), /was the last: its Ops may now be run from any channel/);
  await may(t, "bob", "group", ["demo/one", "web/site"]);
  await caughtUp(appliance);
  t.same(
    logged(appliance, "namespace.changed").map(({ sallyport }) => [sallyport.change, sallyport.anyChannel]),
    [
      ["add", false],
      ["add", false],
      ["remove", false],
      ["remove", true],
    ],
  );
});

t.test("help: what this person can do here, and no command of the host's", async (t) => {
  const verbs = async (who: string) =>
    [...(await ask(who, "ops", "help")).matchAll(/\/ops ([a-z]+)/g)].map(([, verb]) => verb ?? "");
  t.same(await verbs("bob"), ["list", "run", "show", "log", "cancel", "whoami", "status"]);
  t.same(await verbs("mallory"), ["list", "whoami", "status"]);
  workspace.addPerson({ name: "ursula" });
  workspace.channel("ops").members.add(workspace.person("ursula").id);
  t.same(new Set(await verbs("ursula")), new Set(["link", "whoami"]), "who has no link yet");
  for (const who of ["alice", "bob", "mallory", "ursula"])
    t.notMatch(await ask(who, "ops", "help"), /grant|publish|administer|namespace|unlock/, who);

  await publish("web/asks", "approval: {count: 1, group: leads}\n");
  t.ok((await verbs("bob")).includes("approve"), "an Op that has to be approved");
  await appliance.ok(["group", "add", "leads"]);
  await appliance.ok(["group", "member", "add", "leads", "mallory"]);
  t.notOk((await verbs("mallory")).includes("approve"));
  t.match(await ask("bob", "ops", "run web/asks"), /waits for approval/);
  t.same(await verbs("mallory"), ["list", "approve", "deny", "whoami", "status"], "a run that waits for her");
});

t.test("many Ops: a part in the help, all counted", async (t) => {
  for (let i = 0; i < 12; i++) await publish(`web/op${String.fromCharCode(97 + i)}`);
  const help = await ask("bob", "ops", "help");
  t.equal(named(help).length, 10);
  t.match(help, /and 5 more: \/ops list/);
  t.equal(named(await ask("bob", "ops", "list")).length, 15);
});
