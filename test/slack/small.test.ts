import { readFileSync } from "node:fs";
import t from "tap";
import { Alarms } from "../../src/slack/alarms.ts";
import { Bucket, backoff } from "../../src/slack/backoff.ts";
import { isResponseUrl, isSocketUrl, parseEndpoint } from "../../src/slack/endpoint.ts";
import { standingOf } from "../../src/slack/identity.ts";
import type { Link } from "../../src/slack/link.ts";
import { slackManifest, slackManifestJson } from "../../src/slack/manifest.ts";
import { Receiver, type ReceiverOptions } from "../../src/slack/receiver.ts";
import { homeOf } from "../../src/slack/web.ts";

const SLACK = parseEndpoint("https://slack.com/api");
const LOCAL = parseEndpoint("http://127.0.0.1:8080/api/");

t.test("addresses that Slack hands out", async (t) => {
  t.equal(SLACK.apiUrl, "https://slack.com/api/");
  const hooks = "hooks.slack.com/commands/T1/2/x";
  t.ok(isResponseUrl(`https://${hooks}`, SLACK));
  for (const url of [
    `http://${hooks}`,
    "https://hooks.slack.com.evil.example/x",
    "https://hooks.slack.com:8443/x",
    "https://user@hooks.slack.com/x",
    "https://evil.example/hooks.slack.com",
    "https://127.0.0.1/x",
    "https://169.254.169.254/latest/meta-data",
    "file:///etc/passwd",
    "javascript:0",
    "",
  ]) {
    t.notOk(isResponseUrl(url, SLACK), url);
  }
  t.ok(isResponseUrl("http://127.0.0.1:8080/commands/x", LOCAL));
  t.notOk(isResponseUrl("http://10.0.0.1/commands/x", LOCAL));
  t.ok(isSocketUrl("wss://wss-primary.slack.com/link/?ticket=1", SLACK));
  for (const url of [
    "ws://wss-primary.slack.com/link/",
    "wss://evil.example/",
    "wss://notslack.com/",
    "https://x.slack.com/",
  ]) {
    t.notOk(isSocketUrl(url, SLACK), url);
  }
  t.ok(isSocketUrl("ws://127.0.0.1:1/link/", LOCAL));
  t.notOk(isSocketUrl("ws://10.0.0.1/link/", LOCAL));
});

t.test("backoff grows, stays under its cap, differs", async (t) => {
  t.equal(backoff(0, 250, 30_000), 0);
  for (let n = 1; n < 2000; n++) {
    const ms = backoff(n, 250, 30_000);
    if (ms < 125 || ms > 30_000) t.fail(`${n}: ${ms}`);
  }
  t.same(
    [1, 2, 3, 10, 1e9].map((n) => backoff(n, 250, 30_000, () => 1)),
    [250, 500, 1000, 30_000, 30_000],
  );
  t.equal(
    backoff(3, 250, 30_000, () => 0),
    500,
    "half of it is random",
  );
});

t.test("a bucket", async (t) => {
  const bucket = new Bucket(2, 1, 0);
  t.same(
    [bucket.take(0), bucket.take(0), bucket.take(0), bucket.take(500), bucket.take(1000), bucket.take(1000)],
    [0, 0, 1000, 500, 0, 1000],
  );
});

t.test("a flood of alarms of one kind hides no other", async (t) => {
  const sent: string[] = [];
  const alarms = new Alarms((kind, detail) => sent.push(`${kind} ${detail}`));
  for (let i = 0; i < 1000; i++) alarms.raise("malformed_frame", "x".repeat(1000), 0);
  alarms.raise("foreign_identity", "y", 0);
  alarms.raise("malformed_frame", "z", 10_000);
  t.equal(sent.length, 12);
  t.equal(sent.at(-2), "foreign_identity y");
  t.match(sent.at(-1), "z (990 more like it before.)");
  t.ok(sent.every((s) => s.length < 520));
});

t.test("standing", async (t) => {
  const home = { team: "T1", org: false, teamName: null, enterprise: "E1", botUser: "U0" };
  const ask = { team: "T1", user: "U1" };
  const user = (over: object) => ({ id: "U1", team_id: "T1", deleted: false, is_bot: false, ...over });
  t.equal(standingOf(home, ask, user({})), "member");
  for (const flag of ["is_restricted", "is_ultra_restricted"])
    t.equal(standingOf(home, ask, user({ [flag]: true })), "guest");
  for (const flag of ["is_bot", "is_workflow_bot"])
    t.equal(standingOf(home, ask, user({ [flag]: true })), "bot");
  t.equal(standingOf(home, ask, user({ is_stranger: true })), "foreign");
  t.equal(standingOf(home, ask, user({ team_id: "T2" })), "foreign");
  t.equal(standingOf(home, ask, user({ deleted: true })), "deleted");
  t.equal(standingOf(home, ask, user({ id: "U2" })), "unknown", "an answer about someone else");
  t.equal(standingOf(home, ask, user({ team_id: null })), "unknown");
  t.equal(standingOf(home, ask, null), "unknown");
  const grid = { team_id: "T2", enterprise_user: { enterprise_id: "E1", teams: ["T2"] } };
  t.equal(standingOf(home, ask, user(grid)), "foreign", "another workspace of the organisation");
  const both = { ...grid, enterprise_user: { enterprise_id: "E1", teams: ["T2", "T1"] } };
  t.equal(standingOf(home, ask, user(both)), "member", "who is in ours as well");
  const evil = { ...grid, enterprise_user: { enterprise_id: "E2", teams: ["T1"] } };
  t.equal(standingOf(home, ask, user(evil)), "foreign");
});

t.test("standing, where the app is installed for an organisation", async (t) => {
  const variants = JSON.parse(
    readFileSync(new URL("../workspace/payloads/51-users.info.variants.json", import.meta.url), "utf8"),
  ) as Record<string, { user: { id: string } }>;
  const org = { team: "T0ACME0001", org: true, teamName: null, enterprise: "E0CORP0001", botUser: "U0" };
  const byId = { ...org, team: "E0CORP0001" };
  const asked = (name: string, team: string, home = org) => {
    const user = variants[name]?.user;
    return standingOf(home, { team, user: user?.id ?? "" }, user);
  };
  for (const home of [org, byId]) {
    t.equal(asked("grid_user", "T0ACME0001", home), "member");
    t.equal(asked("grid_user", "E0CORP0001", home), "member", "where no payload named a workspace");
    t.equal(
      asked("grid_user", "T0SISTER01", home),
      "foreign",
      "a workspace that Slack does not list for them",
    );
    t.equal(asked("external_slack_connect", "T0OTHER001", home), "foreign");
    t.equal(asked("external_slack_connect", "T0ACME0001", home), "foreign");
    t.equal(asked("stranger", "T0OTHER002", home), "foreign");
    t.equal(asked("not_found", "T0ACME0001", home), "unknown");
  }
  // Of the workspace that auth.test named, also where Slack says nothing of the organisation.
  t.equal(asked("deactivated", "T0ACME0001"), "deleted");
  t.equal(asked("multi_channel_guest", "T0ACME0001"), "guest");
  t.equal(asked("single_channel_guest", "T0ACME0001"), "guest");
  t.equal(asked("bot", "T0ACME0001"), "bot");
  t.equal(asked("workflow_bot", "T0ACME0001"), "bot");
  t.equal(
    asked("member", "T0ACME0001", byId),
    "foreign",
    "by the organisation's id alone: not said to be of it",
  );
  const grid = (enterprise_id: string, teams: unknown, team_id: string | null = "T2") =>
    standingOf(
      byId,
      { team: "T3", user: "W1" },
      { id: "W1", team_id, enterprise_user: { enterprise_id, teams } },
    );
  t.equal(grid("E0CORP0001", ["T2", "T3"]), "member", "of several workspaces");
  t.equal(grid("E0CORP0001", ["T3"], null), "member");
  t.equal(grid("E0EVIL0001", ["T2", "T3"]), "foreign");
  for (const teams of [[], undefined, "T3", [7]])
    t.equal(grid("E0CORP0001", teams), "foreign", String(teams));
  // The same id in another organisation's workspace is somebody else.
  t.equal(standingOf(byId, { team: "T9", user: "W1" }, { id: "W1", team_id: "T9" }), "foreign");
});

t.test("our workspace, as auth.test names it", async (t) => {
  const answer = { team_id: "T1", team: "Acme", user_id: "U0", enterprise_id: "E1" };
  const home = { team: "T1", org: false, teamName: "Acme", enterprise: "E1", botUser: "U0" };
  t.same(homeOf(answer), home);
  for (const team_id of ["E2", "U1", "", null, undefined])
    t.equal(homeOf({ ...answer, team_id }), null, String(team_id));
  t.same(homeOf({ ...answer, is_enterprise_install: false }), home);
  t.same(homeOf({ ...answer, is_enterprise_install: true }), { ...home, org: true });
  t.same(
    homeOf({ ...answer, team_id: "E1" }),
    { ...home, team: "E1", org: true },
    "the organisation's own id",
  );
  t.same(
    homeOf({ team_id: "T1", user_id: "U0", is_enterprise_install: true }),
    { ...home, teamName: null, enterprise: null },
    "installed for an organisation that it does not name: one workspace",
  );
});

t.test("the keeper is told before Slack is", async (t) => {
  const order: string[] = [];
  const link = { ack: () => order.push("ack") } as unknown as Link;
  const receiver = new Receiver({
    home: { team: "T1", org: false, teamName: null, enterprise: null, botUser: "U0" },
    people: { recent: () => "member" },
    contexts: { add() {}, placed: (parsed: unknown) => parsed },
    alarms: { raise: (kind: string) => order.push(kind) },
    whisper: { respond() {} },
    port: {
      request: ({ id }: { id: string }) => {
        order.push("request");
        receiver.receipt({ id, accepted: true, duplicate: false, text: null });
        receiver.receipt({ id, accepted: true, duplicate: false, text: null });
      },
      acked: (_id: string, accepted: boolean) => order.push(`acked ${accepted}`),
    },
    prefix: "p",
    ackMs: 1000,
  } as unknown as ReceiverOptions);
  const payload = { team_id: "T1", user_id: "U1", channel_id: "C1", command: "/ops", text: "" };
  receiver.envelope(link, { id: "e1", type: "slash_commands", payload, retry: 0, acceptsPayload: true });
  t.same(order, ["request", "acked true", "ack"], "once, and in this order");
});

t.test("an envelope has one end, however often it is delivered", async (t) => {
  const asked: string[] = [];
  const acked: string[] = [];
  const link = (name: string) =>
    ({
      ack: (id: string, payload?: { text: string }) => acked.push(`${name} ${id} ${payload?.text ?? "-"}`),
    }) as unknown as Link;
  const receiver = new Receiver({
    home: { team: "T1", org: false, teamName: null, enterprise: null, botUser: "U0" },
    people: { recent: () => "member" },
    contexts: { add() {}, placed: (parsed: unknown) => parsed },
    alarms: { raise() {} },
    whisper: { respond() {} },
    port: { request: ({ id }: { id: string }) => asked.push(id), acked() {} },
    prefix: "p",
    ackMs: 60_000,
  } as unknown as ReceiverOptions);
  const payload = { team_id: "T1", user_id: "U1", channel_id: "C1", command: "/ops", text: "" };
  const deliver = (on: string, id: string) =>
    receiver.envelope(link(on), { id, type: "slash_commands", payload, retry: 0, acceptsPayload: true });
  for (const [id, accepted, says] of [
    ["e1", true, "-"],
    ["e2", false, "Not accepted, try again."],
  ] as const) {
    deliver("one", id);
    deliver("two", id);
    t.equal(asked.length, 1, "one question to the keeper");
    receiver.receipt({ id: asked[0]!, accepted, duplicate: false, text: null });
    deliver("three", id);
    t.same(acked.splice(0), [`one ${id} ${says}`, `two ${id} ${says}`, `three ${id} ${says}`]);
    t.equal(asked.splice(0).length, 1);
  }
  receiver.stop();
});

t.test("the manifest", async (t) => {
  const manifest = slackManifest({ name: "ops", allowedIpRanges: ["203.0.113.7/32"] });
  t.match(manifest, {
    features: { slash_commands: [{ command: "/ops", should_escape: true }] },
    oauth_config: { scopes: { bot: ["commands", "chat:write", "app_mentions:read", "users:read"] } },
    settings: { socket_mode_enabled: true, allowed_ip_address_ranges: ["203.0.113.7/32"] },
  });
  t.same(JSON.parse(slackManifestJson()), slackManifest());
});
