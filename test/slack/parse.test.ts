import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { type Envelope, readFrame } from "../../src/slack/frame.ts";
import { parseEnvelope } from "../../src/slack/parse.ts";
import type { Home, Parsed } from "../../src/slack/types.ts";

const FOLDERS = ["../workspace/payloads/", "payloads/"].map((path) => new URL(path, import.meta.url));
const HOME: Home = {
  team: "T0ACME0001",
  org: false,
  teamName: "Acme",
  enterprise: null,
  botUser: "U0BOT00001",
};
/** A workspace of an Enterprise organisation, and the organisation as a whole. */
const GRID: Home = { ...HOME, enterprise: "E0CORP0001" };
const ORG: Home = { ...GRID, org: true };

type Json = Record<string, unknown>;

/** Each sample envelope; the samples' own command is /run, ours is /ops. */
const samples = new Map<string, Json>();
for (const folder of FOLDERS) {
  for (const file of readdirSync(folder)) {
    if (!/^[123]\d-/.test(file)) continue;
    const frame = JSON.parse(readFileSync(new URL(file, folder), "utf8"));
    if (frame.payload.command !== undefined) frame.payload.command = "/ops";
    samples.set(file.slice(3, -5), frame);
  }
}

function envelope(frame: unknown): Envelope {
  const read = readFrame(JSON.stringify(frame));
  if (read.kind !== "envelope") throw new Error(`no envelope: ${JSON.stringify(read)}`);
  return read.envelope;
}

function parse(name: string, home: Home = HOME, change: (payload: Json) => void = () => {}): Parsed {
  const frame = structuredClone(samples.get(name));
  if (frame === undefined) throw new Error(`no sample ${name}`);
  change(frame.payload as Json);
  return parseEnvelope(envelope(frame), home);
}

const ACCEPTED: Record<string, Json> = {
  "slash_commands.public_channel": {
    surface: "slash",
    text: "deploy api --env prod",
    channel: { id: "C0OPS00001", kind: "public" },
  },
  "slash_commands.private_channel": { surface: "slash", channel: { id: "C0SECRET01", kind: "private" } },
  "slash_commands.dm": { surface: "slash", channel: { id: "D0ALICE001", kind: "im" } },
  "slash_commands.mpim": { surface: "slash", channel: { id: "G0MPIM0001", kind: "mpim" } },
  "slash_commands.escaped_entities": {
    text: "grant <@U0BOB00001|bob> in <#C0OPS00001|ops> see <https://example.com|example.com>",
  },
  "interactive.block_actions.message": {
    surface: "button",
    action: { id: "approve", value: "req_01J…nonce" },
    thread: "1795215190.000100",
  },
  "interactive.block_actions.ephemeral": { surface: "button", thread: null },
  "interactive.block_actions.modal": { surface: "modal", action: { id: "v", value: "prod" }, channel: null },
  "interactive.view_submission": { surface: "modal", text: '{"env":"prod","why":"hotfix 123"}' },
  "events_api.app_mention": { surface: "mention", text: "status", dedupe: "event:Ev0ABCDEF12", thread: null },
  "events_api.app_mention.in_thread": { surface: "mention", thread: "1795215190.000100" },
  "events_api.app_mention.retry": { surface: "mention", retry: 1, dedupe: "event:Ev0ABCDEF12" },
};

/** Rule and alarm. */
const REFUSED: Record<string, [string, string | null]> = {
  "slash_commands.enterprise_org_install": ["foreign", "foreign_identity"],
  "interactive.block_actions.external_user": ["foreign", "foreign_identity"],
  "interactive.block_actions.org_install": ["foreign", "foreign_identity"],
  "interactive.view_closed": ["view_closed", null],
  "events_api.app_mention.slack_connect_external_user": ["foreign", "foreign_identity"],
  "events_api.app_mention.by_bot": ["bot", "bot_identity"],
  "events_api.message.im": ["ignored_message", null],
  "events_api.message.channel_thread_reply": ["ignored_message", null],
  "events_api.message.bot_message": ["ignored_message", null],
  "events_api.message_changed": ["ignored_message", null],
  "events_api.app_rate_limited": ["app_rate_limited", "rate_limited"],
};

t.test("each sample payload is a request or refused by name", async (t) => {
  t.ok(samples.size >= 23, "the samples are there");
  for (const name of samples.keys()) {
    const parsed = parse(name);
    if (ACCEPTED[name] !== undefined) {
      t.equal(parsed.refusal, null, `${name} is accepted`);
      t.match(
        parsed.request,
        { ...ACCEPTED[name], identity: { enterprise: null, team: "T0ACME0001", user: "U0ALICE001" } },
        name,
      );
    } else {
      t.ok(REFUSED[name], `${name} has its row here`);
      t.same([parsed.refusal?.name, parsed.refusal?.alarm], REFUSED[name], name);
    }
  }
});

t.test("what is done once has one trigger, whatever envelope brings it", async (t) => {
  const trigger = (name: string, trigger_id: unknown) =>
    parse(name, HOME, (p) => Object.assign(p, { trigger_id })).request?.trigger;
  for (const name of [
    "slash_commands.public_channel",
    "interactive.block_actions.message",
    "interactive.view_submission",
  ]) {
    t.match(parse(name).request?.trigger, /^12345678901/, name);
    t.equal(trigger(name, "1.2.3"), "1.2.3");
    for (const none of [null, undefined, ""]) t.equal(trigger(name, none), null, "none is nobody's");
    for (const bad of [7, "x".repeat(151)])
      t.equal(parse(name, HOME, (p) => Object.assign(p, { trigger_id: bad })).refusal?.name, "malformed");
  }
  t.equal(parse("events_api.app_mention").request?.trigger, null, "events have an id of their own");
});

const COMMAND = "slash_commands.enterprise_org_install";
const CLICK = "interactive.block_actions.org_install";
const SISTER = "T0SISTER01";
const MEMBER = { enterprise: "E0CORP0001", team: "T0ACME0001", user: "W0ALICE001" };
/** What names the person's workspace, on each surface. */
const SISTERS: [string, (p: Json) => void][] = [
  [COMMAND, (p) => Object.assign(p, { team_id: SISTER })],
  [CLICK, (p) => Object.assign(p.user as Json, { team_id: SISTER })],
  ["events_api.app_mention", (p) => Object.assign(p.event as Json, { user_team: SISTER })],
];
const EVIL = { id: "E0EVIL0001", name: "Evil" };
const OTHER_ORG: [string, (p: Json) => void][] = [
  [COMMAND, (p) => Object.assign(p, { enterprise_id: EVIL.id })],
  [CLICK, (p) => Object.assign(p, { enterprise: EVIL })],
  ["events_api.app_mention", (p) => Object.assign(p, { enterprise_id: EVIL.id })],
];

t.test("installed in one workspace of an organisation: that one is served", async (t) => {
  t.same(parse(COMMAND, GRID).request?.identity, MEMBER);
  t.same(parse(CLICK, GRID).request?.identity, MEMBER, "the outer team is null there");
  for (const [name, change] of [...SISTERS, ...OTHER_ORG])
    t.equal(parse(name, GRID, change).refusal?.alarm, "foreign_identity", name);
});

t.test("installed for an organisation: each of its workspaces, and no other organisation", async (t) => {
  for (const home of [ORG, { ...ORG, team: "E0CORP0001" }]) {
    t.same(parse(COMMAND, home).request?.identity, MEMBER);
    t.same(parse(CLICK, home).request?.identity, MEMBER);
    for (const [name, change] of SISTERS)
      t.match(
        parse(name, home, change).request?.identity,
        { enterprise: MEMBER.enterprise, team: SISTER },
        name,
      );
    for (const [name, change] of OTHER_ORG)
      t.equal(parse(name, home, change).refusal?.alarm, "foreign_identity", name);
  }
  for (const flag of ["true", true, "false", false, null, undefined])
    for (const name of [COMMAND, CLICK])
      t.same(
        parse(name, ORG, (p) => Object.assign(p, { is_enterprise_install: flag })).request?.identity,
        MEMBER,
        "what the envelope says of the installation counts for nothing",
      );
  const named = (team: string | null) =>
    parse("events_api.app_mention", { ...ORG, team: "E0CORP0001" }, (p) => {
      const none = { user_team: team, source_team: team, team, user_profile: { team } };
      Object.assign(p.event as Json, none);
      Object.assign(p, { team_id: team });
    });
  t.match(named(null).request?.identity, { team: "E0CORP0001" }, "no workspace: the organisation");
  t.match(named("E0CORP0001").request?.identity, { team: "E0CORP0001" });
  t.equal(named("E0EVIL0001").refusal?.alarm, "foreign_identity");
  t.equal(
    parse(CLICK, ORG, (p) => Object.assign(p.user as Json, { team_id: null })).refusal?.name,
    "malformed",
  );
});

t.test("whoever belongs to another workspace is refused on every surface", async (t) => {
  const evil = "T0OTHER001";
  const cases: [string, (p: Json) => void][] = [
    ["slash_commands.public_channel", (p) => Object.assign(p, { team_id: evil })],
    ["interactive.block_actions.message", (p) => Object.assign(p.user as Json, { team_id: evil })],
    ["interactive.block_actions.message", (p) => Object.assign(p, { team: { id: evil } })],
    ["interactive.view_submission", (p) => Object.assign(p.user as Json, { team_id: evil })],
    ["events_api.app_mention", (p) => Object.assign(p.event as Json, { user_team: evil })],
    ["events_api.app_mention", (p) => Object.assign(p.event as Json, { source_team: evil })],
    ["events_api.app_mention", (p) => Object.assign(p.event as Json, { team: evil })],
    ["events_api.app_mention", (p) => Object.assign(p.event as Json, { user_profile: { team: evil } })],
    ["events_api.app_mention", (p) => Object.assign(p, { team_id: evil })],
  ];
  for (const [name, change] of cases) {
    const parsed = parse(name, HOME, change);
    t.equal(parsed.refusal?.alarm, "foreign_identity", `${name} ${change}`);
    t.match(parsed.refusal?.detail, evil, "the alarm names the workspace");
  }
  const nameless = parse("interactive.block_actions.message", HOME, (p) =>
    Object.assign(p.user as Json, { team_id: null }),
  );
  t.equal(nameless.refusal?.name, "malformed", "a click without the person's workspace is not believed");
});

t.test("mentions that are none", async (t) => {
  const mention = (change: Json) =>
    parse("events_api.app_mention", HOME, (p) => Object.assign(p.event as Json, change));
  t.equal(mention({ bot_id: "B1" }).refusal?.alarm, "bot_identity");
  t.equal(mention({ app_id: "A1" }).refusal?.alarm, "bot_identity");
  t.equal(mention({ user: null }).refusal?.alarm, "bot_identity");
  t.equal(mention({ edited: { user: "U0ALICE001", ts: "1.2" } }).refusal?.name, "edited");
  t.equal(mention({ subtype: "thread_broadcast" }).refusal?.name, "subtype");
  t.equal(mention({ text: "thanks <@U0BOT00001>" }).refusal?.name, "not_addressed");
  t.equal(mention({ text: "<@U0EVIL0001> run x" }).refusal?.name, "not_addressed");
  t.equal(mention({ text: " <@U0BOT00001|ops>  run  x " }).request?.text, "run  x");
});

t.test("each field of a slash command is checked, and what is bad is named", async (t) => {
  const bad: [string, unknown[]][] = [
    ["team_id", [undefined, null, "", "t1", 7, `T${"0".repeat(32)}`]],
    ["enterprise_id", ["", "e1", 7, {}]],
    ["user_id", [undefined, null, "u1\n", ["U0ALICE001"]]],
    ["channel_id", [undefined, "#ops", true]],
    ["command", [undefined, null, "/".repeat(101), {}]],
    ["text", [7, {}, ["help"]]],
    ["thread_ts", [7, "1".repeat(41)]],
    ["response_url", [{}, "h".repeat(501)]],
  ];
  for (const [field, values] of bad) {
    for (const value of values) {
      const parsed = parse("slash_commands.public_channel", HOME, (p) => {
        p[field] = value;
      });
      t.equal(parsed.refusal?.name, "malformed", `${field}: ${JSON.stringify(value)}`);
      t.match(parsed.refusal?.detail, `bad ${field}`);
    }
  }
  const unnamed = parse("slash_commands.public_channel", HOME, (p) => {
    p.channel_name = 7;
    p.enterprise_id = null;
    delete p.text;
  });
  t.match(unnamed.request, { channel: { kind: "unknown" }, text: "" }, "what may be missing");
  for (const payload of [null, [], "x", undefined]) {
    const frame = envelope({ ...samples.get("slash_commands.public_channel"), payload });
    t.equal(parseEnvelope(frame, HOME).refusal?.name, "malformed");
  }
});

t.test("what is not known is refused, by name and with an alarm", async (t) => {
  const other = parse("slash_commands.public_channel", HOME, (p) => Object.assign(p, { command: "/run" }));
  t.equal(other.refusal?.name, "unknown_command");
  const unknown = (type: string, payload: unknown) =>
    parseEnvelope({ id: "e", type, payload, retry: 0, acceptsPayload: false }, HOME).refusal;
  t.match(unknown("hologram", {}), { name: "unknown_type", alarm: "unknown_envelope" });
  t.match(unknown("toString", {}), { alarm: "unknown_envelope" });
  const person = { user: { id: "U0ALICE001", team_id: "T0ACME0001" } };
  for (const type of ["shortcut", "message_action", "block_suggestion", "constructor", "__proto__"]) {
    t.match(unknown("interactive", { type, ...person }), { alarm: "unknown_envelope" }, type);
  }
  t.match(unknown("events_api", { type: "event_callback", event: { type: "link_shared" } }), {
    alarm: "unknown_envelope",
  });
  t.match(
    unknown("events_api", { type: "event_callback" }),
    { alarm: "unknown_envelope" },
    "no event inside",
  );
  t.match(unknown("events_api", { type: "event_callback", event: { type: "tokens_revoked" } }), {
    alarm: "auth_failed",
  });
});

t.test("no payload makes the parser throw", async (t) => {
  const junk = [
    null,
    undefined,
    1,
    "x",
    [],
    {},
    { type: null },
    { event: null },
    { user: [] },
    { actions: [null] },
  ];
  for (const type of ["slash_commands", "interactive", "events_api", "x"]) {
    for (const payload of junk) {
      const { refusal } = parseEnvelope({ id: "e", type, payload, retry: 0, acceptsPayload: true }, HOME);
      t.ok(refusal, `${type} ${JSON.stringify(payload)}`);
    }
  }
  // Every field of every sample, replaced by what does not belong there.
  for (const [name, frame] of samples) {
    t.doesNotThrow(() => {
      for (const path of paths(frame.payload)) {
        for (const value of [null, 7, "", "x".repeat(50_000), { a: 1 }, [{}]]) {
          const copy = structuredClone(frame);
          put(copy.payload as Json, path, value);
          parseEnvelope(envelope(copy), HOME);
        }
      }
    }, name);
  }
});

t.test("bounds", async (t) => {
  const long = parse("slash_commands.public_channel", HOME, (p) =>
    Object.assign(p, { text: "x".repeat(8001) }),
  );
  t.equal(long.refusal?.name, "too_long");
  t.match(long.refusal?.say, "8000 characters");
  t.equal(
    parse("slash_commands.public_channel", HOME, (p) => Object.assign(p, { text: "x".repeat(8000) })).refusal,
    null,
  );
  const form = parse("interactive.view_submission", HOME, (p) => {
    const values = Object.fromEntries(
      Array.from({ length: 9 }, (_, i) => [`b${i}`, { v: { value: "x".repeat(1000) } }]),
    );
    (p.view as { state: Json }).state = { values };
  });
  t.equal(form.refusal?.name, "too_long");
});

function paths(value: unknown, at: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null || at.length > 5) return [];
  return Object.entries(value).flatMap(([key, inner]) => [[...at, key], ...paths(inner, [...at, key])]);
}

function put(target: Json, path: (string | number)[], value: unknown): void {
  let at: Json = target;
  for (const key of path.slice(0, -1)) at = at[key] as Json;
  at[path.at(-1)!] = value;
}
