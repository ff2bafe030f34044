import t from "tap";
import type { Message } from "../../src/workspace/index.ts";
import { type Rig, sessionRig } from "./rig.ts";

/** Who somebody is: what Slack says of them now, and of which workspace they are. */

async function started() {
  const rig = await sessionRig();
  rig.session.start();
  await rig.keeper.connected();
  return rig;
}

/** A message of ours with a button. */
async function button({ workspace, keeper }: Rig, channel: string): Promise<Message> {
  keeper.send({
    type: "slack.post",
    nonce: "b",
    channel: workspace.channel(channel).id,
    thread: null,
    request: null,
    document: {
      summary: "?",
      blocks: [{ kind: "buttons", buttons: [{ id: "approve", label: "Approve", value: "r-1" }] }],
    },
  });
  await keeper.posted("b");
  return workspace.messages(channel).find((m) => m.via !== "person")!;
}

t.test("standing: what users.info says goes with the request", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const kinds = {
    member: "member",
    guest: "guest",
    single_channel_guest: "guest",
    bot: "bot",
    deleted: "deleted",
  } as const;
  for (const [kind, standing] of Object.entries(kinds)) {
    const person = rig.workspace.addPerson({ name: `p-${kind}`, kind: kind as keyof typeof kinds });
    await rig.workspace.command(person, "ops", "/ops whoami").ack;
    t.equal(rig.keeper.of("slack.request").at(-1)?.standing, standing, kind);
  }
  rig.workspace.faults.api("users.info", { hang: true });
  rig.workspace.addPerson({ name: "dora" });
  const ack = await rig.workspace.command("dora", "ops", "/ops whoami").ack;
  t.equal(ack.status, "acked");
  t.equal(
    rig.keeper.of("slack.request").at(-1)?.standing,
    "unknown",
    "an answer that does not come vouches for nobody",
  );
});

t.test("a click asks anew: standing is not remembered where it may be an approval", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  await rig.workspace.command("alice", "ops", "/ops status").ack;
  const shown = await button(rig, "ops");
  rig.workspace.person("alice").deleted = true;
  await rig.workspace.command("alice", "ops", "/ops status").ack;
  t.equal(rig.keeper.of("slack.request").at(-1)?.standing, "member", "remembered for a minute");
  await rig.workspace.click("alice", shown, "approve").ack;
  const click = rig.keeper.of("slack.request").at(-1);
  t.match(click, { surface: "button", action: { id: "approve", value: "r-1" }, standing: "deleted" });
});

t.test("Slack Connect: a foreign person's click and mention are refused and reported", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const mallory = rig.workspace.addPerson({ name: "mallory", kind: "foreign" });
  rig.workspace.addChannel({ name: "shared", members: ["alice", mallory], shared: true, botIsMember: true });
  const { workspace, keeper } = rig;
  await workspace.mention(mallory, "shared", "run web/restart").ack;
  const click = workspace.click(mallory, await button(rig, "shared"), "approve");
  t.match(await click.ack, { status: "acked", payload: {} });
  t.match(await click.response(), { ephemeralFor: mallory.id, text: /only members of the Slack workspace/ });
  for (const what of ["Mention", "Click"]) {
    const told = () => keeper.of("slack.alarm").find((alarm) => alarm.detail.startsWith(what));
    const alarm = await keeper.until(told, `an alarm of the ${what}`);
    t.match(alarm, {
      kind: "foreign_identity",
      detail: new RegExp(`${mallory.id} of workspace ${mallory.teamId}`),
    });
  }
  t.same(keeper.of("slack.request"), []);
});
