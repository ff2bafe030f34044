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

t.test("so does a typed approval, denial or confirmation, in a command and in a mention", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const last = () => rig.keeper.of("slack.request").at(-1);
  await rig.workspace.command("alice", "ops", "/ops status").ack;
  t.equal(last()?.standing, "member");
  rig.workspace.person("alice").restricted = true;
  for (const line of ["run web/restart", "approved r-1", "list approve"]) {
    await rig.workspace.command("alice", "ops", `/ops ${line}`).ack;
    t.match(last(), { text: line, standing: "member" }, `${line}: remembered for a minute`);
  }
  const lines = ["approve r-1", "deny r-1", "confirm r-1 123456", "  APPROVE\tr-1", "approve"];
  for (const [i, line] of lines.entries()) {
    const person = rig.workspace.person("alice");
    // Each answer is remembered too, so that the next one has to differ.
    person.restricted = i % 2 === 0;
    await rig.workspace.command("alice", "ops", `/ops ${line}`).ack;
    t.equal(last()?.standing, person.restricted ? "guest" : "member", line);
  }
  rig.workspace.person("alice").deleted = true;
  await rig.workspace.mention("alice", "ops", "approve r-1").ack;
  t.match(last(), { surface: "mention", standing: "deleted" });
});

t.test(
  "Slack that fails, limits or is slow vouches for nobody, and is left alone as long as it wants",
  async (t) => {
    const rig = await started();
    t.teardown(rig.stop);
    const asked = () => rig.workspace.calls.filter(({ method }) => method === "users.info").length;
    const standing = async (name: string) => {
      rig.workspace.addPerson({ name });
      t.equal((await rig.workspace.command(name, "ops", "/ops list").ack).status, "acked");
      return rig.keeper.of("slack.request").at(-1)?.standing;
    };
    rig.workspace.faults.api("users.info", { status: 500 }, 1);
    t.equal(await standing("carl"), "unknown");
    rig.workspace.faults.api("users.info", { error: "user_not_found" }, 1);
    t.equal(await standing("cleo"), "unknown");
    t.equal(await standing("cora"), "member", "and the next one is asked about again");
    rig.workspace.faults.api("users.info", { status: 429, retryAfter: 30 }, 1);
    t.equal(await standing("dan"), "unknown");
    const before = asked();
    t.equal(await standing("dora"), "unknown");
    t.equal(asked(), before, "within the time that Slack named it is not asked");
  },
);

t.test(
  "an organisation: a member is one person in each of its workspaces, a guest of it is foreign",
  async (t) => {
    const rig = await sessionRig({ enterprise: { id: "E0CORP0001", name: "Corp" } });
    rig.session.start();
    t.match(await rig.keeper.connected(), { enterprise: "E0CORP0001", team: "T0ACME0001", org: true });
    t.teardown(rig.stop);
    const { workspace, keeper } = rig;
    const sister = workspace.addPerson({ name: "sue", team: "T0SISTER01" });
    const foreign = workspace.addPerson({ name: "fred", kind: "foreign" });
    let n = 0;
    const typed = async (user: string, team_id: string) => {
      const envelope_id = `00000000-0000-4000-8000-${String(n++).padStart(12, "0")}`;
      const payload = {
        team_id,
        user_id: user,
        channel_id: workspace.channel("ops").id,
        channel_name: "ops",
        command: "/ops",
        text: "whoami",
        is_enterprise_install: "true",
        enterprise_id: "E0CORP0001",
      };
      workspace.faults.send(
        JSON.stringify({ envelope_id, type: "slash_commands", payload, accepts_response_payload: true }),
      );
      return keeper.until(
        () => keeper.of("slack.request").find(({ dedupe }) => dedupe === `envelope:${envelope_id}`),
        "request",
      );
    };
    t.match(await typed(sister.id, "T0SISTER01"), {
      identity: { enterprise: "E0CORP0001", team: "T0SISTER01", user: sister.id },
      standing: "member",
    });
    t.match(await typed(sister.id, "T0OTHER009"), { standing: "foreign" }, "not a workspace of theirs");
    t.match(await typed(foreign.id, foreign.teamId), { standing: "foreign" });
  },
);

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
