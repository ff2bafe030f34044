import t from "tap";
import type { Message } from "../../src/workspace/index.ts";
import { renderView } from "../../src/workspace/index.ts";
import { freshCode } from "../cli/authenticator.ts";
import { TestAppliance } from "./appliance.ts";
import {
  answer,
  caughtUp,
  eventually,
  logged,
  opFolder,
  PATIENCE,
  plain,
  result,
  runsOf,
} from "./slack-rig.ts";

/** One-time codes typed into Slack: for one run each, by their own person, once. */

t.setTimeout(300_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const ops = workspace.channel("ops");
await appliance.ok(["user", "add", "lee"]);
ops.members.add(workspace.addPerson({ name: "lee" }).id);
await appliance.link("lee");
await appliance.ok(["group", "add", "leads"]);
for (const name of ["lee", "mallory"]) await appliance.ok(["group", "member", "add", "leads", name]);
const publish = (name: string, more: string) =>
  appliance.publish(
    opFolder(appliance, `op: demo/${name}\nsummary: ${name}\nrun: ["./main.sh"]\n${more}\n`, {
      "main.sh": "#!/bin/sh\necho it ran\n",
    }),
  );
await publish("coded", "confirm: totp");
await publish("shown", "approval: {count: 1, group: leads, confirm: totp}");

/** Asks in Slack; the run, and what its person alone was answered. */
async function asked(line: string, where = "ops"): Promise<{ id: string; said: Message }> {
  const known = new Set(runsOf(appliance));
  const said = await workspace.command("bob", where, `/ops run ${line}`).response(PATIENCE);
  let id = "";
  await eventually(appliance, () => {
    id = runsOf(appliance).find((run) => !known.has(run)) ?? "";
    return id !== "";
  });
  return { id, said };
}
const form = (who: string) => workspace.waitFor(() => workspace.modal(who) ?? undefined, PATIENCE);
async function opened(who: string, message: Message): Promise<string> {
  await workspace.click(who, message, "approve").ack;
  return renderView(await form(who), { emphasis: "strip" });
}
/** What the person is answered to the code, where they asked. */
async function typed(who: string, code: string, where = "ops"): Promise<string> {
  const place = where === "dm" ? workspace.im(who).id : where;
  const before = workspace.visible(who, place).length;
  await workspace.submitView(who, { code }).ack;
  return workspace.waitFor(() => {
    const found = workspace
      .visible(who, place)
      .slice(before)
      .find((m) => m.ephemeralFor !== null || where === "dm");
    return found === undefined ? undefined : plain(found);
  }, PATIENCE);
}
const entries = async (run: string, type: string) => {
  await caughtUp(appliance);
  return logged(appliance, type).filter((line) => line.process?.entity_id === run);
};
const stateOf = async (id: string) =>
  ((await appliance.ok(["runs", "show", id, "--json"])).json() as { state: string }).state;

t.test("one's own run: not enrolled, a wrong code, the right one", async (t) => {
  const { id, said } = await asked("demo/coded");
  t.match(plain(said), /waits for a one-time code of yours/);
  const shown = await opened("bob", said);
  const digest = /Digest: ([0-9a-f ]{15})/.exec(plain(said))?.[1] ?? "none";
  for (const part of [/Confirm a run/, /demo\/coded/, id, digest]) t.match(shown, part);
  t.match(await typed("bob", "123456"), /No authenticator is enrolled for you.*sallyport user totp bob/);
  const code = await freshCode(appliance, "bob");
  await opened("bob", said);
  t.match(
    await typed("bob", code === "000000" ? "000001" : "000000"),
    /not the code that your authenticator shows/,
  );
  t.equal(await stateOf(id), "waiting", "it still waits");
  const read = workspace.visible("mallory", "ops").map(plain).join("\n");
  t.notMatch(read, /not the code|authenticator/, "nobody else reads it");
  await opened("bob", said);
  t.match(await typed("bob", code), /You confirmed demo\/coded/);
  await result(workspace, "ops", new RegExp(`${id}[\\s\\S]*it ran`));
  t.match(await entries(id, "run.confirmed"), [{ sallyport: { confirm: "totp" } }]);
  t.match(await entries(id, "authn.code_accepted"), [{ sallyport: { purpose: "confirm", channel: ops.id } }]);
  t.match(await entries(id, "authn.code_refused"), [
    { event: { reason: "not enrolled" } },
    { event: { reason: "wrong code" }, sallyport: { failures: 1 } },
  ]);

  const again = await asked("demo/coded");
  await opened("bob", again.said);
  t.match(await typed("bob", code), /used already/, "not for another run");
  t.equal(await stateOf(again.id), "waiting");
  t.notMatch(appliance.events.join("\n"), code, "no code in the log");
});

t.test("in a direct conversation, by command", async (t) => {
  const { id } = await asked("demo/coded", workspace.im("bob").id);
  const code = await freshCode(appliance, "bob");
  await workspace.command("bob", workspace.im("bob").id, `/ops approve ${id}`).ack;
  await form("bob");
  t.match(await typed("bob", code, "dm"), /You confirmed demo\/coded/);
  await eventually(appliance, () =>
    logged(appliance, "run.finished").some((l) => l.process?.entity_id === id),
  );
});

t.test("an approval: by a code of the approver's own", async (t) => {
  const { id } = await asked("demo/shown");
  const message = await workspace.waitFor(
    () => workspace.messages("ops").find((m) => plain(m).includes(id) && /Approval/.test(plain(m))),
    PATIENCE,
  );
  const lees = await freshCode(appliance, "lee");
  await freshCode(appliance, "mallory");
  t.match(await opened("mallory", message), /Approve a run/);
  t.match(await typed("mallory", lees), /not the code that your authenticator shows/, "another's code");
  t.match(await answer(workspace.click("bob", message, "approve")), /Nobody approves their own run/);
  await opened("lee", message);
  t.match(await typed("lee", lees), /You approved demo\/shown/);
  await result(workspace, "ops", new RegExp(`${id}[\\s\\S]*it ran`));
  t.match(await entries(id, "run.approved"), [{ sallyport: { confirm: "totp", source: "slack" } }]);
});

t.test("two submissions at once: one run for one code", async (t) => {
  const first = await asked("demo/coded");
  const second = await asked("demo/coded");
  const code = await freshCode(appliance, "bob");
  const submit = async ({ said }: { said: Message }) => {
    await opened("bob", said);
    return workspace.submitView("bob", { code });
  };
  await Promise.all([(await submit(first)).ack, (await submit(second)).ack]);
  await eventually(
    appliance,
    () =>
      logged(appliance, "authn.code_accepted", "authn.code_refused").filter((l) =>
        [first.id, second.id].includes(l.process?.entity_id ?? ""),
      ).length === 2,
  );
  const states = [await entries(first.id, "run.confirmed"), await entries(second.id, "run.confirmed")];
  t.equal(states.flat().length, 1);
});

t.test("a form that Slack changed on its way", async (t) => {
  const { id, said } = await asked("demo/coded");
  const other = await asked("demo/shown");
  const code = await freshCode(appliance, "bob");
  const about = (view: { body: Record<string, unknown> }) =>
    JSON.parse(String(view.body.private_metadata)) as Record<string, string>;
  await opened("bob", said);
  const changed = async (change: Record<string, string>) => {
    const view = await form("bob");
    view.body.private_metadata = JSON.stringify({ ...about(view), ...change });
    const text = await typed("bob", code);
    await opened("bob", said);
    return text;
  };
  t.match(await changed({ digest: `sha256:${"0".repeat(64)}` }), /is not the one that was shown/);
  t.match(await changed({ purpose: "approve" }), /was not opened to confirm run/);
  t.match(await changed({ run: "r-nobody" }), /r-nobody/);
  t.match(await changed({ run: other.id }), /is not the one that was shown/);
  t.equal((await entries(id, "authn.code_accepted")).length, 0);
  t.match(await typed("bob", code), /You confirmed/, "the code was not used up by any of it");
  await result(workspace, "ops", new RegExp(id));
});

t.test("opened too late, and where no form can be", async (t) => {
  const { id, said } = await asked("demo/coded");
  workspace.faults.api("views.open", { error: "expired_trigger_id" });
  t.match(await answer(workspace.click("bob", said, "approve")), /within 3 seconds.*again/);
  const code = await freshCode(appliance, "bob");
  await opened("bob", said);
  t.match(await typed("bob", code), /You confirmed/);
  await result(workspace, "ops", new RegExp(id));
  const next = await asked("demo/coded");
  workspace.mention("bob", "ops", `approve ${next.id}`);
  await workspace.waitFor(
    () => workspace.visible("bob", "ops").some((m) => /only for a button or a slash command/.test(plain(m))),
    PATIENCE,
  );
  t.match(await appliance.cli(["runs", "show", next.id, "--json"]), { stdout: /waiting/ });
});
