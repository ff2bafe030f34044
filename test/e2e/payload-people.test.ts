import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Person, Workspace } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";
import { caughtUp, type Ecs, EXAMPLES, eventually, logged } from "./slack-rig.ts";

/**
 * Each sample payload of Slack's, sent as each kind of person through the real gateway and keeper, and asking for a run: the
 * linked member is served, everybody else refused with one event that says why, and nothing else runs. Once with the app in one
 * workspace, once with it installed for an Enterprise organisation.
 */

t.setTimeout(600_000);

type Json = Record<string, unknown>;
const samples = new Map<string, Json>();
for (const folder of ["../workspace/payloads/", "../slack/payloads/"])
  for (const file of readdirSync(new URL(folder, import.meta.url)))
    if (/^[123]\d-/.test(file))
      samples.set(
        file.slice(0, 2),
        JSON.parse(readFileSync(new URL(`${folder}${file}`, import.meta.url), "utf8")) as Json,
      );

/** What a sample is: asks for a run, comes from somebody foreign or a bot by its own words, is ignored or only raises an alarm. */
type Kind = "asks" | "foreign" | "bot" | "modal" | "ignored" | "alarm";
const KINDS: Record<string, Kind> = {
  "10": "asks",
  "11": "asks",
  "12": "asks",
  "13": "asks",
  "14": "asks",
  "15": "asks",
  "20": "asks",
  "21": "foreign",
  "22": "asks",
  "23": "asks",
  "24": "modal",
  "25": "ignored",
  "26": "modal",
  "30": "asks",
  "31": "asks",
  "32": "asks",
  "33": "foreign",
  "34": "bot",
  "35": "ignored",
  "36": "ignored",
  "37": "ignored",
  "38": "ignored",
  "39": "alarm",
};
/** Of the organisation alone: for a workspace that is in none, theirs is another's. */
const OF_ORG = ["14", "22"];

/** What Slack says of a person by the time they ask; linked before unless `unlinked`. */
const CAST: Record<string, { becomes: (person: Person) => void; policy: string | null; linked?: false }> = {
  member: { becomes: () => undefined, policy: null },
  unlinked: { becomes: () => undefined, policy: "not_linked", linked: false },
  disabled: { becomes: () => undefined, policy: "user_disabled" },
  guest: { becomes: (p) => Object.assign(p, { restricted: true }), policy: "slack-guest" },
  ultra: {
    becomes: (p) => Object.assign(p, { restricted: true, ultraRestricted: true }),
    policy: "slack-guest",
  },
  robot: { becomes: (p) => Object.assign(p, { bot: true }), policy: "slack-bot" },
  workflow: { becomes: (p) => Object.assign(p, { bot: true, workflowBot: true }), policy: "slack-bot" },
  deleted: { becomes: (p) => Object.assign(p, { deleted: true }), policy: "slack-deleted" },
  // To users.info only somebody of another workspace has the mark.
  stranger: {
    becomes: (p) => Object.assign(p, { stranger: true, teamId: "T0OTHER002" }),
    policy: "slack-foreign",
  },
  foreign: { becomes: (p) => Object.assign(p, { teamId: "T0OTHER001" }), policy: "slack-foreign" },
  // users.info knows nobody of the id that the payload names.
  unknown: { becomes: (p) => Object.assign(p, { id: "U0ELSEWHER" }), policy: "slack-unverified" },
};

let sent = 0;
const uuid = () => `00000000-0000-4000-8000-${String(sent++).padStart(12, "0")}`;

/** The sample as this person's, asking for a run wherever it has words. A foreign person's own workspace is named where Slack names it. */
function ask(number: string, user: string, team: string | null): string {
  const frame = structuredClone(samples.get(number)) as Json & { payload: Json };
  const { payload } = frame;
  frame.envelope_id = uuid();
  const line = "run demo/hello --name Max";
  const set = (at: unknown, values: Json) => {
    for (const [key, value] of Object.entries(values))
      if (typeof at === "object" && at !== null && key in at) (at as Json)[key] = value;
  };
  set(payload, {
    command: "/ops",
    text: line,
    user_id: user,
    event_id: `Ev${String(sent).padStart(9, "0")}`,
    trigger_id: `${sent}.2.x`,
    response_url: null,
  });
  set(payload.user, { id: user, ...(team === null ? {} : { team_id: team }) });
  set(payload.view, { callback_id: "run", private_metadata: "demo/hello --name Max" });
  for (const action of (payload.actions as Json[] | undefined) ?? [])
    set(action, { action_id: "run", value: "demo/hello --name Max" });
  set(payload.event, { user, text: `<@U0BOT00001> ${line}`, ...(team === null ? {} : { team }) });
  return JSON.stringify(frame);
}

async function walk(t: Test, enterprise: { id: string; name: string } | null): Promise<void> {
  const appliance = new TestAppliance();
  t.teardown(() => appliance.stop());
  const workspace: Workspace = await appliance.ready({ enterprise });
  await appliance.ok(["group", "add", "team"]);
  // Rights are not what keeps anybody out.
  await appliance.ok(["role", "grant", "runner", "demo", "team", "--group"]);
  for (const [name, { linked }] of Object.entries(CAST)) {
    workspace.channel("ops").members.add(workspace.addPerson({ name }).id);
    if (linked === false) continue;
    await appliance.ok(["user", "add", name]);
    await appliance.ok(["group", "member", "add", "team", name]);
    await appliance.link(name);
  }
  await appliance.ok(["user", "disable", "disabled"]);
  await appliance.publish(join(EXAMPLES, "hello"));
  const slackIds = new Map(Object.keys(CAST).map((name) => [name, workspace.person(name).id]));
  const users = new Map(
    logged(appliance, "link.confirmed").map((line) => [
      line.sallyport.slackUser,
      String(line.sallyport.user),
    ]),
  );
  for (const [name, { becomes }] of Object.entries(CAST)) becomes(workspace.person(name));
  // A gateway that asks Slack anew about everybody.
  await appliance.connectSlack();

  const REFUSALS = ["authn.denied", "authz.denied", "request.refused"];
  const ofPerson = (id: string) => (line: Ecs) =>
    line.user?.id === users.get(id) ||
    line.user?.id?.endsWith(`/${id}`) === true ||
    (line.event.action === "slack.alarm" && line.event.reason?.includes(id) === true);
  const since = (mark: number, ...types: string[]) =>
    logged(appliance, ...types).filter(({ event }) => event.sequence > mark);
  const lastEntry = () => logged(appliance).at(-1)?.event.sequence ?? -1;

  /** By which rule, and whether the gateway says so by an alarm; of a flood of those it leaves some out, which has a test of its own. */
  function expected(number: string, name: string): { policy: string | null; alarm: boolean } | null {
    const kind = KINDS[number];
    const foreign = { policy: "slack-foreign", alarm: enterprise === null };
    if (kind === "modal" || kind === "ignored" || kind === "alarm" || kind === undefined) return null;
    if (kind === "bot") return { policy: "slack-bot", alarm: true };
    if (enterprise === null && OF_ORG.includes(number)) return foreign;
    // Of an organisation's workspaces no payload tells which are its own, and of this one users.info tells nothing.
    if (kind === "foreign" && !foreign.alarm && name === "unknown")
      return { policy: "slack-unverified", alarm: false };
    if (kind === "foreign") return foreign;
    const isSaid = name === "foreign" && !number.startsWith("1");
    return isSaid ? foreign : { policy: CAST[name]?.policy ?? null, alarm: false };
  }

  let runs = 0;
  await Promise.all(
    Object.keys(CAST).map(async (name) => {
      const id = slackIds.get(name) ?? "";
      const isTheirs = ofPerson(id);
      for (const number of samples.keys()) {
        const what = `${name}: ${number}`;
        const mark = lastEntry();
        const wanted = expected(number, name);
        workspace.faults.send(ask(number, id, name === "foreign" ? "T0OTHER001" : null));
        if (wanted === null || wanted.alarm) continue;
        if (wanted.policy === null) {
          runs++;
          await eventually(appliance, () => since(mark, "run.finished").some(isTheirs));
          continue;
        }
        await eventually(appliance, () => since(mark, ...REFUSALS).some(isTheirs));
        const [event] = since(mark, ...REFUSALS).filter(isTheirs);
        t.equal(event?.rule?.id, wanted.policy, what);
        t.ok(event?.event.reason, `${what}: with a reason`);
        t.equal(event?.event.outcome, "failure");
      }
    }),
  );
  await caughtUp(appliance);
  t.equal(runs, enterprise === null ? 10 : 12, "the member asked in each way that there is");
  const requested = logged(appliance, "run.requested");
  t.equal(requested.length, runs, "and nothing else was ever asked to run");
  t.ok(requested.every(ofPerson(slackIds.get("member") ?? "")));
  t.equal(logged(appliance, "run.started").length, runs);
  for (const name of Object.keys(CAST)) {
    const id = slackIds.get(name) ?? "";
    const refused = logged(appliance, ...REFUSALS).filter(ofPerson(id));
    const wanted = [...samples.keys()].filter((number) => {
      const one = expected(number, name);
      return one !== null && one.policy !== null && !one.alarm;
    });
    t.equal(refused.length, wanted.length, `${name}: one refusal for each of ${wanted.length}`);
  }
  const alarms = logged(appliance, "slack.alarm");
  const kinds = new Set(alarms.map(({ sallyport }) => sallyport.kind));
  for (const kind of ["bot_identity", "rate_limited", ...(enterprise === null ? ["foreign_identity"] : [])])
    t.ok(kinds.has(kind), `an alarm of ${kind}`);
  for (const { rule, sallyport } of alarms)
    if (sallyport.kind !== "rate_limited") t.match(rule?.id, /^slack-(foreign|bot)$/);
}

t.test("the samples are there, each with its kind", async (t) => {
  t.same([...samples.keys()].sort(), Object.keys(KINDS).sort());
});
t.test("installed in one workspace", (t) => walk(t, null));
t.test("installed for an organisation", (t) => walk(t, { id: "E0CORP0001", name: "Corp" }));
