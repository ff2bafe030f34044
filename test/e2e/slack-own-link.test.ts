import t from "tap";
import { hasTmux, Terminal } from "../cli/terminal.ts";
import { needsRoot, OTHER_ACCOUNT, program, TestAppliance } from "./appliance.ts";
import { answer, eventually, logged } from "./slack-rig.ts";

/** A code is confirmed word for word as Slack shows it, by the person's own host account. */

t.setTimeout(180_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();

/** A new person in Slack; gives back what they are to type on the host. */
async function asked(name: string): Promise<{ id: string; words: string[] }> {
  const person = workspace.addPerson({ name });
  workspace.channel("ops").members.add(person.id);
  const text = await answer(workspace.command(person, "ops", "/ops link"));
  const words = /^ *(?:│ )?sallyport (link [0-9A-Z]{4}-[0-9A-Z]{4})$/m.exec(text)?.[1]?.split(" ");
  if (words === undefined) throw new Error(`no command on a line of its own in: ${text}`);
  return { id: person.id, words };
}
const whoami = (id: string): Promise<string> => answer(workspace.command(id, "ops", "/ops whoami"));

t.test("another account than the admin's", { skip: needsRoot }, async (t) => {
  await appliance.ok(["user", "add", "eve", "--host-user", String(OTHER_ACCOUNT)]);
  const eve = (args: readonly string[]) => appliance.cliAs(OTHER_ACCOUNT, args);

  await t.test("a valid code for somebody else is refused, and stays valid", async (t) => {
    const ivan = await asked("ivan");
    const tried = await eve([...ivan.words, "--user", "bob"]);
    t.equal(tried.status, 3);
    t.notMatch(tried.stderr, ivan.id, "nor is it told whose it is");
    await eventually(appliance, () =>
      logged(appliance, "authz.denied").some((line) => line.rule?.id === "default-deny"),
    );
    t.match(await whoami(ivan.id), /not linked/);
    t.equal((await appliance.cli([...ivan.words, "--user", "bob", "--json"])).status, 0, "an admin may");
    t.match(await whoami(ivan.id), /You are bob\./);
  });

  await t.test("what Slack shows, word for word", async (t) => {
    const { id, words } = await asked("eve");
    const linked = await eve(words);
    t.equal(linked.status, 0, linked.stderr);
    t.match(linked.stderr, new RegExp(`workspace ${workspace.team.id}, member ID ${id}`));
    t.match(linked.stdout, new RegExp(`Linked: workspace ${workspace.team.id}, member ID ${id}, is now eve`));
    t.match(await whoami(id), /You are eve\./);
    const entry = () => logged(appliance, "link.confirmed").find((line) => line.sallyport.slackUser === id);
    await eventually(appliance, () => entry() !== undefined);
    t.equal(entry()?.rule?.id, "own-link");
  });

  await t.test("few tries", async (t) => {
    const { id, words } = await asked("eve-phone");
    for (let i = 0; i < 3; i++) t.equal((await eve(["link", `000${i}-0000`])).status, 1, "no such code");
    // Each further one doubles the wait: by the last the machine may be slow and yet be in time.
    for (let i = 0; i < 6; i++) await eve(["link", `000${i}-0000`]);
    await eventually(appliance, () =>
      logged(appliance, "link.failed").some((line) => /throttled/.test(line.event.reason ?? "")),
    );
    t.match(await whoami(id), /not linked/);
    t.equal((await appliance.cli([...words, "--user", "eve", "--json"])).status, 0, "an admin need not wait");
  });
});

const skip = hasTmux ? false : "needs tmux";
const typed = (t: { teardown(call: () => unknown): void }, ...args: string[]): Terminal => {
  const tty = new Terminal([...program(), ...args], appliance.env);
  t.teardown(() => tty.close());
  return tty;
};

t.test("at a terminal the two IDs are shown and compared, also for --json", { skip }, async (t) => {
  const { id, words } = await asked("greta");
  for (const more of [[], ["--json"]]) {
    const tty = typed(t, ...words, "--user", "bob", ...more);
    const screen = await tty.shows("Are they? Type yes:");
    t.match(screen, `workspace ${workspace.team.id}, member ID ${id}`, more.join());
    t.match(screen, "will act as user bob.");
    tty.enter(more.length === 0 ? "no" : "y");
    t.equal(await tty.status(), 1);
    t.match(tty.screen(), "Nothing was linked");
  }
  t.match(await whoami(id), /not linked/);
  const tty = typed(t, ...words, "--user", "bob", "--json");
  await tty.shows("Are they? Type yes:");
  tty.enter("yes");
  t.equal(await tty.status(), 0);
  t.match(tty.screen(), `"slackUser": "${id}"`);
  t.match(await whoami(id), /You are bob\./);
});

t.test("an admin who types it without a name is told whose the account becomes", { skip }, async (t) => {
  const { id, words } = await asked("heidi");
  const tty = typed(t, ...words);
  t.match(await tty.shows("Are they? Type yes:"), "will act as user alice, which is your own");
  tty.press("C-c");
  t.equal(await tty.status(), 1);
  t.match(await whoami(id), /not linked/);
});
