import t from "tap";
import type { Delivery, Person } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";
import { answer, eventually, logged, plain } from "./slack-rig.ts";

t.setTimeout(180_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
for (const name of ["erin", "frank"]) await appliance.ok(["user", "add", name]);

async function code(person: Person): Promise<string> {
  const text = await answer(workspace.command(person, "ops", "/ops link"));
  const found = /sallyport link ([0-9A-Z]{4}-[0-9A-Z]{4})/.exec(text)?.[1];
  if (found === undefined) throw new Error(`no code in: ${text}`);
  return found;
}
const whoami = (person: Person): Promise<string> => answer(workspace.command(person, "ops", "/ops whoami"));
function newcomer(name: string): Person {
  const person = workspace.addPerson({ name });
  workspace.channel("ops").members.add(person.id);
  return person;
}

t.test("the code is shown to the person who asked, and to nobody else", async (t) => {
  const erin = newcomer("erin");
  const asked: Delivery = workspace.command(erin, "ops", "/ops link");
  const shown = await asked.response(20_000);
  const [found = ""] = /[0-9A-Z]{4}-[0-9A-Z]{4}/.exec(plain(shown)) ?? [];
  t.equal(shown.ephemeralFor, erin.id);
  t.match(plain(shown), new RegExp(`workspace ${workspace.team.id} and member ID ${erin.id}`));
  for (const other of ["alice", "bob", "mallory"])
    t.notOk(
      workspace.visible(other, "ops").some((m) => plain(m).includes(found)),
      `${other} does not see it`,
    );
  t.notMatch(appliance.events.join("\n"), found, "nor does the log");

  const wrong = await appliance.cli(["link", found, "--user", "erin", "--member-id", "U0BOB00001"]);
  t.equal(wrong.status, 3, "--member-id of somebody else is refused");
  t.match(
    wrong.stderr,
    new RegExp(`stands for member ID ${erin.id}, not for U0BOB00001. Nothing was linked`),
  );
  t.match(await whoami(erin), /not linked/);
  const right = await appliance.cli(["link", found, "--user", "erin", "--member-id", erin.id]);
  t.equal(right.status, 0, "their own is taken");
  t.match(await whoami(erin), /You are erin\./);
  t.equal((await appliance.cli(["link", found, "--user", "frank"])).status, 1, "the code is used up");
});

t.test("a second account of one user, never a second user of one account", async (t) => {
  const second = newcomer("erin-phone");
  const one = await code(second);
  const again = await code(second);
  t.not(one, again);
  t.equal((await appliance.cli(["link", one, "--user", "frank"])).status, 1, "the earlier code is worthless");
  const [a, b] = await Promise.all(
    ["erin", "frank"].map((user) => appliance.cli(["link", again, "--user", user, "--json"])),
  );
  t.equal([a, b].filter((r) => r?.status === 0).length, 1, "two confirmations at once: one counts");
  const owner = a?.status === 0 ? "erin" : "frank";
  t.match(await whoami(second), new RegExp(`You are ${owner}\\.`));
  const more = await answer(workspace.command(second, "ops", "/ops link"));
  t.match(more, new RegExp(`linked to ${owner} already`));
  t.notMatch(more, /sallyport link [0-9A-Z]/);
  t.equal(
    (await appliance.cli(["unlink", second.id, "--team", workspace.team.id])).status,
    0,
    "an admin cuts it",
  );
  t.match(await whoami(second), /not linked/, "and the account is nobody's from then on");
});

t.test("names count for nothing", async (t) => {
  const twin = newcomer("bob");
  t.not(twin.id, workspace.people.find((p) => p.name === "bob")?.id);
  twin.realName = workspace.person("bob").realName;
  t.match(await whoami(twin), /not linked/);
  const refused = workspace.command(twin, "ops", "/ops cancel r-0000000000000000");
  t.match(await answer(refused), /not linked/);
  const mallory = workspace.person("mallory");
  mallory.name = "alice";
  mallory.realName = "Alice";
  t.match(await whoami(mallory), /You are mallory\./);
});

t.test("five wrong codes, and the open one is dead", async (t) => {
  const guessed = newcomer("gil");
  const real = await code(guessed);
  const before = logged(appliance, "link.failed").length;
  for (let i = 0; i < 5; i++) {
    const tried = await appliance.cli(["link", `000${i}-0000`, "--user", "frank", "--json"]);
    t.equal(tried.status, 1);
    t.match(tried.stderr, /valid 10 minutes, once; ask for a new one/);
  }
  t.equal(
    (await appliance.cli(["link", real, "--user", "frank"])).status,
    1,
    "the right code comes too late",
  );
  await eventually(appliance, () => logged(appliance, "link.failed").length >= before + 6);
  t.match(await whoami(guessed), /not linked/);
});
