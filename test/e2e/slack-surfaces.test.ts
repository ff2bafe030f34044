import { join } from "node:path";
import t from "tap";
import { acting, type Delivery, type Message } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";
import { otherEnvelopes } from "./other-envelopes.ts";
import {
  answer,
  caughtUp,
  type Ecs,
  ENDED,
  EXAMPLES,
  eventually,
  logged,
  PATIENCE,
  plain,
  result,
} from "./slack-rig.ts";

/**
 * Every command, from every surface, by every kind of person, against a table written by hand: what the person is told, which
 * policy refused, and that nothing ran which the table does not name.
 */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const refused = ["dave", "gus", "bert", "fred", "dora"];
for (const name of refused) workspace.addPerson({ name });
await appliance.ok(["group", "add", "team"]);
// Rights are not what keeps them out.
await appliance.ok(["role", "grant", "runner", "demo", "team", "--group"]);
await Promise.all(
  refused.map(async (name) => {
    await appliance.ok(["user", "add", name]);
    await appliance.link(name);
    await appliance.ok(["group", "member", "add", "team", name]);
  }),
);
const cast = ["alice", "bob", "mallory", "ursula", "gina", "dave", "gus", "bert", "fred", "dora"];
workspace.addPerson({ name: "ursula" });
workspace.addPerson({ name: "gina", kind: "guest" });
await appliance.ok(["user", "disable", "dave"]);
workspace.person("gus").restricted = true;
workspace.person("bert").bot = true;
workspace.person("fred").teamId = "T0OTHER0001";
workspace.person("dora").deleted = true;
await appliance.publish(join(EXAMPLES, "hello"));
// A gateway that asks Slack anew about everybody.
await appliance.connectSlack();
for (const name of cast) workspace.channel("ops").members.add(workspace.person(name).id);
workspace.addChannel({ name: "back", kind: "private", members: cast });
workspace.addChannel({ name: "mpdm-alice--bob-1", id: "C0MPIM0001", kind: "mpim", members: cast });

const first = workspace.command("bob", "ops", "/ops run demo/hello --name Zoe");
await first.ack;
const shown = await result(workspace, "ops", /demo\/hello/);
const oldRun = /r-[0-9a-z]{16}/.exec(plain(shown))?.[0] ?? "";
/** The internal id of each person, as the log names them. */
const ids = new Map(
  logged(appliance, "link.confirmed").map((line) => [
    String(line.sallyport.slackUser),
    String(line.sallyport.user),
  ]),
);

// ---- the table ------------------------------------------------------------------------------------------------------
const VERBS = {
  "": "help",
  help: "help",
  whoami: "whoami",
  link: "link",
  status: "status",
  list: "list",
  "show demo/hello": "showOp",
  [`show ${oldRun}`]: "showRun",
  "run demo/hello --name Max": "run",
  "log demo/hello": "log",
  log: "logAll",
  [`cancel ${oldRun}`]: "cancel",
  frobnicate: "unknown",
  [`approve ${oldRun}`]: "approve",
  [`deny ${oldRun}`]: "approve",
} as const;
type Verb = (typeof VERBS)[keyof typeof VERBS];
type Expected = { says: RegExp; policy?: string; runs?: true };
const ok = (says: RegExp): Expected => ({ says });
const no = (policy: string, says: RegExp): Expected => ({ says, policy });

const DEFAULT_NO = no("default-deny", /Refused/);
/** As of one that is not there. */
const HIDDEN = no("hidden", /There is nothing of that name\. Run r-/);
const SERVED: Record<Verb, Expected> = {
  help: ok(/\/ops list[\s\S]*\/ops run[\s\S]*demo\/hello/),
  whoami: ok(/You are (alice|bob)\./),
  link: ok(/linked to (alice|bob) already/),
  status: ok(/sallyport is up/),
  list: ok(/demo\/hello/),
  showOp: ok(/Greet somebody/),
  showRun: ok(/Hello, Zoe/),
  run: { says: /Hello, Max/, runs: true },
  // The refused of this test are in it too, and may be more than what is shown.
  log: ok(/demo\/hello (run\.finished succeeded|authz\.denied)/),
  logAll: ok(/demo\/hello (run\.finished succeeded|authz\.denied)/),
  cancel: ok(/has ended: succeeded/),
  unknown: ok(/There is no command/),
  approve: ok(/waits for nobody: it is succeeded/),
};
const NO_RIGHTS: Record<Verb, Expected> = {
  ...SERVED,
  help: ok(/\/ops list(?![\s\S]*(\/ops run|\/ops approve|demo\/))/),
  whoami: ok(/You are mallory\.[\s\S]*Roles: none/),
  link: ok(/linked to mallory already/),
  list: ok(/no Op that you may run here/),
  showOp: DEFAULT_NO,
  showRun: HIDDEN,
  run: DEFAULT_NO,
  log: DEFAULT_NO,
  logAll: ok(/Nothing is logged here that you may read/),
  cancel: HIDDEN,
  approve: HIDDEN,
};
const all = (expected: Expected, except: Partial<Record<Verb, Expected>> = {}): Record<Verb, Expected> => ({
  ...(Object.fromEntries(Object.values(VERBS).map((verb) => [verb, expected])) as Record<Verb, Expected>),
  ...except,
});
const NOT_LINKED = no("not_linked", /not linked[\s\S]*\/ops link/);
const GUEST = no("slack-guest", /guests are not served/);
const TABLE: Record<string, Record<Verb, Expected>> = {
  alice: SERVED,
  bob: SERVED,
  mallory: NO_RIGHTS,
  ursula: all(NOT_LINKED, {
    help: ok(/\/ops link[\s\S]*not linked[\s\S]*\/ops link/),
    whoami: ok(/not linked[\s\S]*Member ID/),
    link: ok(/sallyport link [0-9A-Z]{4}-[0-9A-Z]{4}/),
  }),
  // A guest without a link hears why the help is refused, and for the rest that there is no link.
  gina: all(NOT_LINKED, { help: GUEST, whoami: GUEST, link: GUEST }),
  dave: all(no("user_disabled", /disabled/)),
  gus: all(GUEST),
  bert: all(no("slack-bot", /Bots and workflows are not served/)),
  fred: all(
    no("slack-foreign", /Only members of the installing Slack workspace|only members of the Slack workspace/),
  ),
  dora: all(no("slack-deleted", /deactivated/)),
};

// ---- the surfaces ---------------------------------------------------------------------------------------------------
type Surface = { channel: (who: string) => string; send: (who: string, line: string) => Delivery };
const slash = (where: (who: string) => string): Surface => ({
  channel: where,
  send: (who, line) => workspace.command(who, where(who), `/ops ${line}`),
});
const ops = () => workspace.channel("ops").id;
const SURFACES: Record<string, Surface> = {
  "slash command, public channel": slash(ops),
  "slash command, private channel": slash(() => workspace.channel("back").id),
  "slash command, direct message": slash((who) => workspace.im(who).id),
  "slash command, group message": slash(() => "C0MPIM0001"),
  mention: { channel: ops, send: (who, line) => workspace.mention(who, "ops", line) },
  "button, forged": { channel: ops, send: (who, line) => forgedClick(who, shown, line) },
};

/** A click on a button that sallyport never made: any command as its action, any text as its value. */
function forgedClick(who: string, on: Message, line: string): Delivery {
  const [verb = "", ...rest] = line.split(" ");
  const id = verb === "" ? "help" : verb;
  const element = {
    type: "button",
    action_id: id,
    value: rest.join(" "),
    text: { type: "plain_text", text: "x" },
  };
  const forged = { ...on, blocks: [{ type: "actions", block_id: "forged", elements: [element] }] };
  return workspace.click(who, forged, id);
}

/** Refused by the gateway for what the envelope itself says; a mention then has nobody or no way to answer. */
const unanswered = (surface: string, who: string) => surface === "mention" && ["bert", "fred"].includes(who);

async function told(surface: string, who: string, delivery: Delivery, since: number): Promise<string> {
  if (surface !== "mention") return answer(delivery);
  const { id } = workspace.person(who);
  const message = await workspace.waitFor(
    () => workspace.messages("ops").find((m, i) => i >= since && m.ephemeralFor === id),
    PATIENCE,
  );
  return plain(message);
}

function refusal(who: string, policy: string, since: number): Ecs | undefined {
  const { id, teamId } = workspace.person(who);
  const people = [ids.get(id), `${workspace.team.id}/${id}`, `${teamId}/${id}`];
  return logged(appliance, "authz.denied", "authn.denied", "slack.alarm")
    .filter((line) => line.event.sequence > since && line.rule?.id === policy)
    .find((line) => people.includes(line.user?.id) || line.event.reason?.includes(id) === true);
}
const lastEntry = () => logged(appliance).at(-1)?.event.sequence ?? -1;

for (const [name, surface] of Object.entries(SURFACES)) {
  t.test(name, async (t) => {
    await Promise.all(
      cast.map(async (who) => {
        const lines = Object.entries(VERBS);
        // The gateway reports a flood of one kind shortened (a test of its own): stay below that.
        const few =
          who === "fred" && /mention|button/.test(name)
            ? lines.filter(([, v]) => /run|show|help/.test(v)).slice(0, 4)
            : lines;
        const some = name === "mention" && who === "bert" ? lines.filter(([, v]) => v === "run") : few;
        for (const [line, verb] of some) {
          const expected = TABLE[who]?.[verb];
          if (expected === undefined) throw new Error(`the table lacks ${who} ${verb}`);
          const what = `${who}: ${line === "" ? "(nothing)" : line}`;
          const since = workspace.messages("ops").length;
          const mark = lastEntry();
          const channel = surface.channel(who);
          const before = workspace.messages(channel).length;
          const delivery = surface.send(who, line);
          t.equal((await delivery.ack).status, "acked", `${what}: acked`);
          if (expected.runs === true) {
            const mine = await workspace.waitFor(
              () =>
                workspace
                  .messages(channel)
                  .find(
                    (m, i) =>
                      i >= before &&
                      m.ephemeralFor === null &&
                      plain(m).includes(`By: ${who}`) &&
                      ENDED.test(plain(m)),
                  ),
              PATIENCE,
            );
            t.match(plain(mine), expected.says, what);
            continue;
          }
          if (!unanswered(name, who)) {
            const text = await told(name, who, delivery, since);
            t.match(text, expected.says, what);
            if (delivery.responses[0] !== undefined)
              t.equal(delivery.responses[0].ephemeralFor, workspace.person(who).id, `${what}: to them alone`);
          }
          if (expected.policy !== undefined) {
            await eventually(appliance, () => refusal(who, expected.policy ?? "", mark) !== undefined);
            t.ok(
              refusal(who, expected.policy, mark)?.event.reason,
              `${what}: an entry with ${expected.policy}`,
            );
          }
        }
      }),
    );
  });
}

// ---- what is no command ---------------------------------------------------------------------------------------------
t.test("a modal, the Home tab and every other kind of envelope run nothing", async (t) => {
  await caughtUp(appliance);
  const before = lastEntry();
  // Slack is asked anew about who sends a modal: as slowly as on a busy day, so that what comes later overtakes it.
  workspace.faults.api("users.info", { delayMs: 300 }, 3);
  for (const [i, [, type, payload]] of otherEnvelopes(workspace, "bob").entries())
    workspace.faults.send(
      JSON.stringify({
        envelope_id: `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`,
        type,
        payload,
        accepts_response_payload: false,
      }),
    );
  workspace.openHome("bob");
  await workspace.command("bob", "ops", "/ops whoami").ack;
  const surfaces = () =>
    logged(appliance, "request.received")
      .filter((line) => line.event.sequence > before)
      .map((line) => String(line.sallyport.surface));
  await eventually(appliance, () => surfaces().length >= 4);
  // What is asked after all of them is taken up after them.
  await answer(workspace.command("bob", "ops", "/ops whoami"));
  await caughtUp(appliance);
  t.same(surfaces().sort(), ["home", "modal", "modal", "slash", "slash"], "only these reached the keeper");
  t.same(
    logged(appliance).filter((l) => l.event.sequence > before && l.event.action.startsWith("run.")),
    [],
    "no run",
  );
});

t.test("a mention by a bot or a foreign person ends in an alarm, a flood of them in a few", async (t) => {
  await caughtUp(appliance);
  const before = lastEntry();
  const flood = Array.from({ length: 40 }, () =>
    workspace.mention("fred", "ops", "run demo/hello --name Max"),
  );
  await Promise.all(flood.map((mention) => mention.ack));
  await answer(workspace.command("bob", "ops", "/ops whoami"));
  const alarms = () => logged(appliance, "slack.alarm").filter((line) => line.event.sequence > before);
  await eventually(appliance, () => alarms().length >= 1);
  await caughtUp(appliance);
  t.ok(alarms().length < 15, `${alarms().length} entries for 40 attempts`);
});

// ---- and in the end -------------------------------------------------------------------------------------------------
t.test("nothing ran but what the table names, and every private answer was private", async (t) => {
  const runners = ["alice", "bob"].map((name) => ids.get(workspace.person(name).id));
  await caughtUp(appliance);
  const requested = logged(appliance, "run.requested");
  t.equal(requested.length, 1 + 2 * Object.keys(SURFACES).length, "one run for each allowed command");
  t.ok(
    requested.every((line) => runners.includes(line.user?.id)),
    "by those who may",
  );
  t.equal(logged(appliance, "run.started").length, requested.length, "nothing else was started");
  const listed = (await appliance.ok(["runs", "list", "--json"])).json() as { runs: { run: string }[] };
  t.equal(listed.runs.length, requested.length, "no other row of a run");
  for (const message of workspace.messages()) {
    if (message.via === "person") continue;
    // Labels in bold are sallyport's own.
    t.same(
      acting(message).filter((act) => !act.startsWith("bold ")),
      [],
      "nothing in it acts",
    );
    if (message.ephemeralFor === null)
      t.match(plain(message), /demo\/hello succeeded/, "public: results alone");
  }
  t.equal((await appliance.cli(["audit", "verify"])).status, 0);
});
