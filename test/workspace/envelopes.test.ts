import t from "tap";
import { acme } from "./client.ts";
import { differences, sample } from "./shape.ts";

const BUTTONS = [
  { type: "section", block_id: "sec", text: { type: "mrkdwn", text: "*alice* asks", verbatim: false } },
  {
    type: "actions",
    block_id: "decide",
    elements: [
      {
        type: "button",
        action_id: "approve",
        text: { type: "plain_text", text: "Approve", emoji: true },
        style: "primary",
        value: "req_1",
      },
    ],
  },
];

const MODAL = {
  type: "modal",
  callback_id: "run_form",
  private_metadata: "{}",
  notify_on_close: true,
  title: { type: "plain_text", text: "Run", emoji: true },
  submit: { type: "plain_text", text: "Run", emoji: true },
  close: { type: "plain_text", text: "Cancel", emoji: true },
  blocks: [
    {
      type: "input",
      block_id: "env",
      optional: false,
      dispatch_action: false,
      label: { type: "plain_text", text: "Environment", emoji: true },
      element: {
        type: "static_select",
        action_id: "v",
        options: [{ text: { type: "plain_text", text: "prod", emoji: true }, value: "prod" }],
      },
    },
    {
      type: "input",
      block_id: "why",
      optional: false,
      dispatch_action: false,
      label: { type: "plain_text", text: "Reason", emoji: true },
      element: { type: "plain_text_input", action_id: "v", multiline: true },
    },
  ],
};

function post(
  token: string,
  apiUrl: string,
  method: string,
  body: unknown,
): Promise<Record<string, unknown>> {
  return fetch(apiUrl + method, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then((r) => r.json() as Promise<Record<string, unknown>>);
}

t.test("slash commands have Slack's fields and types, in every kind of channel", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  ws.addChannel({ name: "secret", kind: "private", members: ["alice"] });
  ws.addChannel({ name: "mpdm-alice--bob-1", kind: "mpim", members: ["alice", "bob"] });
  const from = (channel: string) => ws.command("alice", channel, "/ops run deploy api").envelope;
  t.same(differences(sample("10-slash_commands.public_channel"), from("ops")), []);
  t.same(differences(sample("11-slash_commands.private_channel"), from("secret")), []);
  t.same(differences(sample("12-slash_commands.dm"), from(ws.im("alice").id)), []);
  t.same(differences(sample("13-slash_commands.mpim"), from("mpdm-alice--bob-1")), []);
  const payload = (e: object) => (e as { payload: Record<string, unknown> }).payload;
  t.equal(payload(from("secret")).channel_name, "privategroup");
  t.equal(payload(from(ws.im("alice").id)).channel_name, "directmessage");
  t.equal(payload(from("ops")).is_enterprise_install, "false", "a string, not a boolean");
  t.equal(payload(from("ops")).text, "run deploy api");
});

t.test(
  "what was typed comes escaped: names as ids, hosts as links, file names that look like hosts too",
  async (t) => {
    const ws = await acme();
    t.teardown(() => ws.close());
    const typed = (line: string) =>
      (ws.command("alice", "ops", line).envelope.payload as { text: string }).text;
    t.equal(
      typed("/ops grant @bob in #ops see https://example.com"),
      "grant <@U0BOB00001|bob> in <#C0OPS00001|ops> see <https://example.com>",
    );
    t.equal(
      typed("/ops run a --f main.sh --e '<b>&c'"),
      "run a --f <http://main.sh|main.sh> --e '&lt;b&gt;&amp;c'",
    );
    t.equal(typed("/ops mail a.b@c.example, @nobody"), "mail <mailto:a.b@c.example|a.b@c.example>, @nobody");
    t.equal(typed("/ops run x --at 10.0.0.1:22 --tag v1.2.3"), "run x --at 10.0.0.1:22 --tag v1.2.3");
    t.equal(typed("/ops hi @channel"), "hi <!channel>");
    const raw = await acme({ shouldEscape: false });
    t.teardown(() => raw.close());
    t.match(raw.command("alice", "ops", "/ops grant @bob <b>").envelope, {
      payload: { text: "grant @bob <b>" },
    });
    t.match(ws.mention("alice", "ops", "a < b").envelope, {
      payload: { event: { text: "<@U0BOT00001> a &lt; b" } },
    });
  },
);

t.test("an org install says so in its two ways", async (t) => {
  const ws = await acme({ enterprise: { id: "E0CORP0001", name: "Corp" } });
  t.teardown(() => ws.close());
  const command = ws.command("alice", "ops", "/ops list").envelope;
  t.same(differences(sample("14-slash_commands.enterprise_org_install"), command), []);
  t.match(command, { payload: { is_enterprise_install: "true", user_id: /^W/ } });
  await post(ws.botToken, ws.apiUrl, "chat.postMessage", {
    channel: "C0OPS00001",
    text: "x",
    blocks: BUTTONS,
  });
  const click = ws.click("alice", ws.messages("ops").at(-1)!, "approve").envelope;
  const loose = ["thread_ts", "parent_user_id"];
  t.same(differences(sample("22-interactive.block_actions.org_install"), click, loose), []);
});

t.test("clicks: in a thread, by a foreign user, on an ephemeral message, in a modal", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const mallory = ws.addPerson({ name: "mallory", kind: "foreign" });
  const shared = ws.addChannel({ name: "shared", members: ["alice", mallory], shared: true });
  const say = async (channel: string, more: object) => {
    const answer = await post(ws.botToken, ws.apiUrl, "chat.postMessage", { channel, text: "x", ...more });
    return ws.messages(channel).find((m) => m.ts === answer.ts)!;
  };
  const parent = await say("C0OPS00001", {});
  const inThread = await say("C0OPS00001", { thread_ts: parent.ts, blocks: BUTTONS });
  const click = ws.click("alice", inThread, "approve").envelope;
  t.same(differences(sample("20-interactive.block_actions.message"), click), []);
  const external = await say(shared.id, { blocks: BUTTONS });
  const foreign = ws.click(mallory, external, "approve").envelope;
  const loose = ["thread_ts", "parent_user_id"];
  t.same(differences(sample("21-interactive.block_actions.external_user"), foreign, loose), []);
  t.match(foreign, { payload: { user: { team_id: "T0OTHER001" }, team: { id: "T0ACME0001" } } });
  await post(ws.botToken, ws.apiUrl, "chat.postEphemeral", {
    channel: "C0OPS00001",
    user: "U0BOB00001",
    blocks: BUTTONS,
  });
  const ephemeral = ws.visible("bob", "ops").at(-1)!;
  t.equal(ws.visible("alice", "ops").includes(ephemeral), false, "nobody else sees it");
  const seen = ws.click("bob", ephemeral, "approve").envelope;
  t.same(differences(sample("23-interactive.block_actions.ephemeral"), seen), []);
  const command = ws.command("alice", "ops", "/ops run");
  await post(ws.botToken, ws.apiUrl, "views.open", { trigger_id: command.triggerId, view: MODAL });
  const inModal = ws.clickView("alice", "v", { selected: "prod" }).envelope;
  t.same(
    differences(sample("26-interactive.block_actions.modal"), inModal, ["dispatch_action_config", "state"]),
    [],
  );
  const submitted = ws.submitView("alice", { env: "prod", why: "hotfix" }).envelope;
  t.same(differences(sample("24-interactive.view_submission"), submitted), []);
  t.match(submitted, {
    payload: {
      view: {
        state: {
          values: { env: { v: { selected_option: { value: "prod" } } }, why: { v: { value: "hotfix" } } },
        },
      },
    },
  });
  const closed = ws.closeView("alice")!.envelope;
  t.same(differences(sample("25-interactive.view_closed"), closed), []);
});

t.test("events: mention, in a thread, by a foreign user, by a bot, direct message", async (t) => {
  const ws = await acme({ events: ["app_mention", "message.im", "message.channels"] });
  t.teardown(() => ws.close());
  const mallory = ws.addPerson({ name: "mallory", kind: "foreign" });
  const other = ws.addPerson({ name: "otherbot", kind: "bot" });
  const shared = ws.addChannel({ name: "shared", members: ["alice", mallory], shared: true });
  t.same(differences(sample("30-events_api.app_mention"), ws.mention("alice", "ops", "status").envelope), []);
  await post(ws.botToken, ws.apiUrl, "chat.postMessage", { channel: "C0OPS00001", text: "parent" });
  const threadTs = ws.messages("ops").at(-1)!.ts;
  const inThread = ws.mention("alice", "ops", "status", { threadTs }).envelope;
  t.same(differences(sample("31-events_api.app_mention.in_thread"), inThread), []);
  const foreign = ws.mention(mallory, shared, "status").envelope;
  const profile = ["first_name", "avatar_hash", "image_72"];
  t.same(differences(sample("33-events_api.app_mention.slack_connect_external_user"), foreign, profile), []);
  t.match(foreign, { payload: { team_id: "T0ACME0001", event: { user_team: "T0OTHER001" } } });
  const byBot = ws.mention(other, "ops", "status").envelope;
  t.same(differences(sample("34-events_api.app_mention.by_bot"), byBot, ["updated", "icons", "app_id"]), []);
  const dm = ws.message("alice", ws.im("alice"), "status").delivery!.envelope;
  t.same(differences(sample("35-events_api.message.im"), dm), []);
  const reply = ws.message("alice", "ops", "yes", { threadTs }).delivery!.envelope;
  t.same(differences(sample("36-events_api.message.channel_thread_reply"), reply), []);
  const quiet = await acme();
  t.teardown(() => quiet.close());
  t.equal(quiet.message("alice", "ops", "hello").delivery, null, "not subscribed: no event");
});
