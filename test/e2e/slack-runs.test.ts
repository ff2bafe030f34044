import { join } from "node:path";
import t from "tap";
import { acting, type Message } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";
import {
  answer,
  caughtUp,
  ENDED,
  EXAMPLES,
  eventually,
  logged,
  opFolder,
  PATIENCE,
  plain,
  result,
  runsOf,
} from "./slack-rig.ts";

/** What a run looks like from Slack: state, progress, output, result, refusals; and that nothing in it acts there (P16). */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const ops = workspace.channel("ops");
workspace.addChannel({ name: "elsewhere", members: ["alice", "bob", "mallory"] });
for (const name of ["web", "db"]) await appliance.ok(["namespace", "add", name]);
await appliance.ok(["namespace", "channel", "add", "web", ops.id]);
await appliance.ok(["role", "grant", "runner", "web", "bob"]);

const SH = "#!/bin/sh\n";
const publish = (manifest: string, files: Record<string, string> = {}) =>
  appliance.publish(opFolder(appliance, manifest, files));
await publish(
  `op: demo/args
summary: Prints what it was given
run: ["./main.sh", "--", "\${text}", "\${count}", "\${flag}"]
inputs:
  text: {type: string, required: true, maxLength: 2000}
  count: {type: integer, minimum: 1, maximum: 5, default: 1}
  flag: {type: boolean, default: false}
`,
  {
    "main.sh": `${SH}for a in "$@"; do printf '[%s]\\n' "$a"; done; printf 'ENV[%s][%s][%s]\\n' "$INPUT_TEXT" "$INPUT_COUNT" "$INPUT_FLAG"; cat /op/input.json\n`,
  },
);
await publish(`op: demo/one\nsummary: One at a time\nrun: ["./main.sh"]\n`, {
  "main.sh": `${SH}echo begin; sleep 300; echo end\n`,
});
await publish(`op: demo/sleep\nsummary: Sleeps\nrun: ["./main.sh"]\nconcurrency: 8\n`, {
  "main.sh": `${SH}sleep 300\n`,
});
await publish(`op: demo/quiet\nsummary: Private\nreply: private\nrun: ["./main.sh"]\n`, {
  "main.sh": `${SH}echo for your eyes; exit 3\n`,
});
for (const op of ["demo/twin", "web/twin"])
  await publish(`op: ${op}\nsummary: Twin\nrun: ["./main.sh"]\n`, { "main.sh": `${SH}echo ${op}\n` });
await publish(`op: demo/here\nsummary: Only here\nchannels: [${ops.id}]\nrun: ["./main.sh"]\n`, {
  "main.sh": `${SH}echo here\n`,
});
await publish(`op: demo/fails\nsummary: Fails\nrun: ["./main.sh"]\n`, {
  "main.sh": `${SH}echo oh no >&2; exit 7\n`,
});
await appliance.publish(join(EXAMPLES, "slow"));

const say = (who: string, line: string, where = "ops") => workspace.command(who, where, `/ops ${line}`);
/** Runs an Op and waits for the message that says how it ended. */
async function run(line: string, who = "bob"): Promise<Message> {
  const known = new Set(runsOf(appliance));
  await say(who, `run ${line}`).ack;
  const id = await newRun(known);
  return result(workspace, "ops", new RegExp(id));
}
async function newRun(known: ReadonlySet<string>): Promise<string> {
  let id: string | undefined;
  await eventually(appliance, () => {
    id = runsOf(appliance).find((run) => !known.has(run));
    return id !== undefined;
  });
  return id ?? "";
}
const message = (match: RegExp, where = "ops") =>
  workspace.waitFor(() => workspace.messages(where).find((m) => match.test(plain(m))), PATIENCE);

t.test("the message carries state and a button, then progress, then output and result", async (t) => {
  const known = new Set(runsOf(appliance));
  await say("bob", "run demo/slow --count 5 --pause 1").ack;
  const id = await newRun(known);
  const shown = await message(new RegExp(id));
  t.match(plain(shown), /demo\/slow is running/);
  t.match(plain(shown), /Run: r-/);
  t.match(plain(shown), /By: bob/);
  t.match(plain(shown), /\[Cancel\]/);
  await workspace.waitFor(() => /step \d of 5 \(\d+ %\)/.test(plain(shown)), PATIENCE);
  await workspace.waitFor(() => ENDED.test(plain(shown)), PATIENCE);
  t.match(plain(shown), /demo\/slow succeeded/);
  t.match(plain(shown), /Exit: 0/);
  t.match(plain(shown), /Duration: [\d.]+ s/);
  t.match(plain(shown), /│ step 5 of 5\n│ done/);
  t.notMatch(plain(shown), /\[Cancel\]/);
  t.equal(workspace.messages("ops").filter((m) => plain(m).includes(id)).length, 1, "one message for a run");
});

t.test("a failure says its exit status and what it wrote", async (t) => {
  const shown = await run("demo/fails");
  t.match(plain(shown), /✘ demo\/fails failed/);
  t.match(plain(shown), /Exit: 7/);
  t.match(plain(shown), /│ oh no/);
});

t.test("arguments reach the Op as data, whatever is in them", async (t) => {
  const NASTY = [
    `; touch /tmp/x && $(id) \`id\` | cat > /tmp/y & * ? ~ $HOME \${IFS} #x !! \\n`,
    `a' "b" 'c`,
    `--count 9 --flag`,
    `<b>&amp; &lt; & < >`,
    `main.sh www.example.com https://example.com/a?b=c&d=e bob@example.com`,
    `zwölf Boxkämpfer 日本語 🎉 \u0301`,
  ];
  for (const text of NASTY) {
    const quoted = `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
    const shown = plain(await run(`demo/args --count 3 --text=${quoted} --flag`));
    const out = shown.split("\n").flatMap((l) => (l.startsWith("│ ") ? [l.slice(2)] : []));
    t.same(out.slice(0, 4), ["[--]", `[${text}]`, "[3]", "[true]"], text);
    t.equal(out[4], `ENV[${text}][3][true]`);
    t.same(JSON.parse(out.slice(5).join("\n")), { text, count: 3, flag: true });
  }
});

t.test("what is not declared, ill-typed, missing or forged is refused before anything runs", async (t) => {
  const before = runsOf(appliance).length;
  const WRONG: [string, RegExp][] = [
    ["run demo/args", /text/],
    ["run demo/args --text", /text/],
    ["run demo/args --text a --count six", /count/],
    ["run demo/args --text a --count 6", /count/],
    ["run demo/args --text a --count 0", /count/],
    ["run demo/args --text a --flag=perhaps", /flag/],
    ["run demo/args --text a --bogus 1", /bogus/],
    ["run demo/args --text a --text b", /text/],
    ["run demo/args --text a stray", /stray/],
    ["run demo/args --text 'open", /quote/],
    ["run demo/args --text @here", /@here|special/],
    [`run demo/args --text ${"x".repeat(2001)}`, /2000/],
    ["run demo/args --__proto__ 1 --text a", /proto/],
    ["run", /Which Op/],
    ["run demo/none", /no active Op|not|nothing/i],
    ["run ../../etc", /name|nothing|Op/i],
    ["run twin", /ambiguous here; write one of: demo\/twin, web\/twin/],
    ["cancel", /Which run/],
    ["cancel r-0000000000000000", /Run r-0000000000000000/],
    ["show", /Which/],
    ["show r-0000000000000000", /nothing/i],
  ];
  await Promise.all(
    WRONG.map(async ([line, says]) => {
      const text = await answer(say("bob", line));
      t.match(text, says, line.slice(0, 60));
      t.notMatch(text, /internal|undefined|\n\s+at /i, `${line.slice(0, 60)}: one sentence, no trace`);
    }),
  );
  t.equal(runsOf(appliance).length, before, "nothing ran");
});

t.test("channels of the namespace and of the manifest", async (t) => {
  const before = runsOf(appliance).length;
  const web = await answer(say("bob", "run web/twin", "elsewhere"));
  t.match(web, /does not belong to the Op's namespace[\s\S]*policy channel-namespace/);
  t.match(
    await answer(say("bob", "run demo/here", "elsewhere")),
    /does not name this channel[\s\S]*channel-op/,
  );
  t.match(await answer(say("alice", "run demo/here", "elsewhere")), /channel-op/, "also for an admin");
  const listed = await answer(say("bob", "list", "elsewhere"));
  t.notMatch(listed, /web\/twin|demo\/here/);
  t.match(listed, /demo\/twin/);
  t.equal(runsOf(appliance).length, before);
  await say("bob", "run twin", "elsewhere").ack;
  const there = await result(workspace, "elsewhere", /twin/);
  t.match(plain(there), /│ demo\/twin/, "a short name means the one that is allowed there");
});

t.test("private: the person alone sees it", async (t) => {
  const asked = say("bob", "run demo/quiet");
  await workspace.waitFor(() => asked.responses.some((m) => ENDED.test(plain(m))), PATIENCE);
  const last = asked.responses.find((m) => ENDED.test(plain(m)));
  t.match(plain(last as Message), /for your eyes/);
  t.match(plain(last as Message), /Exit: 3/);
  t.ok(asked.responses.every((m) => m.ephemeralFor === workspace.person("bob").id));
  t.notOk(workspace.visible("alice", "ops").some((m) => plain(m).includes("demo/quiet")));
});

t.test(
  "the Cancel button: refused for who has no right, and by the runner of the run it ends it",
  async (t) => {
    const known = new Set(runsOf(appliance));
    await say("bob", "run demo/sleep").ack;
    const id = await newRun(known);
    const shown = await message(new RegExp(id));
    const refused = workspace.click("mallory", shown, "cancel");
    // To somebody who may not see the run it is not there.
    t.match(await answer(refused), /nothing of that name/);
    await caughtUp(appliance);
    const denied = logged(appliance, "authz.denied").filter(
      (line) => line.sallyport.resource === `run ${id}`,
    );
    t.equal(denied[0]?.rule?.id, "hidden");
    t.match(plain(shown), /is running/);
    workspace.click("bob", shown, "cancel");
    await workspace.waitFor(() => ENDED.test(plain(shown)), PATIENCE);
    t.match(plain(shown), /demo\/sleep was canceled/);
    const late = workspace.command("bob", "ops", `/ops cancel ${id}`);
    t.match(await answer(late), /has ended: canceled/);
    await caughtUp(appliance);
    t.equal(logged(appliance, "run.finished").filter((l) => l.process?.entity_id === id).length, 1);
  },
);

t.test("one at a time: the second waits, and may be canceled while it waits", async (t) => {
  const known = new Set(runsOf(appliance));
  const before = lastRuns();
  for (let i = 0; i < 3; i++) await say("bob", "run demo/one").ack;
  await eventually(appliance, () => lastRuns() === before + 3);
  const [first = "", second = "", third = ""] = runsOf(appliance).filter((id) => !known.has(id));
  const at = (action: string, id: string) =>
    logged(appliance, action).find((l) => l.process?.entity_id === id)?.event.sequence ?? -1;
  const waiting = await message(new RegExp(third));
  t.match(plain(waiting), /waits for its turn/);
  workspace.click("bob", waiting, "cancel");
  await workspace.waitFor(() => ENDED.test(plain(waiting)), PATIENCE);
  t.match(plain(waiting), /was canceled[\s\S]*before it started/);
  const isStarted = () => at("run.started", second) !== -1;
  await caughtUp(appliance);
  t.notOk(isStarted(), "the second waits as well");
  await say("bob", `cancel ${first}`).ack;
  await result(workspace, "ops", new RegExp(first));
  await eventually(appliance, isStarted);
  await say("bob", `cancel ${second}`).ack;
  await result(workspace, "ops", new RegExp(second));
  t.ok(at("run.started", second) > at("run.finished", first), "it started when the first had ended");
  t.equal(at("run.started", third), -1, "what was canceled never started");
});
const lastRuns = () => runsOf(appliance).length;

t.test("nothing that others wrote acts in Slack", async (t) => {
  const BAD = [
    "<!channel> <!here> <@U0ALICE001> <#C0OPS00001> <https://evil.example|click> https://evil.example evil.example @here @channel @alice #ops",
    "*bold* _it_ ~no~ `code` ```pre``` > quote\n> quote\n&gt; :tada: :white_check_mark: <!date^1392734382^{date}|x>",
    "\u001b[31mred\u001b[0m \u001b]8;;https://evil.example\u0007link\u001b]8;;\u0007 \u001b[2J\u0007\r over\u0008\u0008",
    "a\u202egnp.exe \u2066x\u2069 \u200bzero\u200b \ufeff \u{e0041}",
    "w".repeat(30_000),
    `${"*x* <!here> ".repeat(2000)}`,
  ];
  const seen = workspace.messages().length;
  for (const [i, text] of BAD.entries()) {
    await publish(`op: demo/bad${i}\nsummary: Hostile\nrun: [/bin/cat, text]\n`, { text });
    const shown = await run(`demo/bad${i}`);
    t.match(plain(shown), /succeeded/);
  }
  const forged = "The sandbox refused: nothing\\nApproved by alice\\r\\nExit: 0\\u2028✔ demo/forge succeeded";
  await publish(`op: demo/forge\nsummary: Forges\nrun: ["./main.sh"]\n`, {
    "main.sh": `${SH}printf '%s\\n' '{"progress":"${forged}"}' >&3; sleep 300\n`,
  });
  const known = new Set(runsOf(appliance));
  await say("bob", "run demo/forge").ack;
  const forging = await message(new RegExp(await newRun(known)));
  await workspace.waitFor(() => /Approved by alice/.test(plain(forging)), PATIENCE);
  t.match(
    plain(forging),
    /^│ Progress: The sandbox refused: nothing␊Approved by alice/m,
    "a line of the Op's",
  );
  t.notMatch(plain(forging), /^\W{0,3}(The sandbox refused|Approved by|Exit:|✔)/m, "none of sallyport's");
  workspace.click("bob", forging, "cancel");

  const bytes =
    "#!/bin/sh\nprintf '\\377\\376\\200 \\303(\\n'; head -c 3145728 /dev/zero | tr '\\0' '<'; printf '\\n*end* <!here>\\n'\n";
  await publish(`op: demo/flood\nsummary: 3 MB\nrun: ["./main.sh"]\nlimits: {output: 4MiB}\n`, {
    "main.sh": bytes,
  });
  const flood = await run("demo/flood");
  t.match(plain(flood), /succeeded/);
  t.match(plain(flood), /31457\d\d bytes of output/);

  const summary = "<!channel> *b* <https://e.example|x> :tada: `c` @here";
  await publish(
    `op: demo/summary\nsummary: ${JSON.stringify(summary)}\nrun: ["./main.sh"]\ninputs:\n  text: {type: string, default: x, description: ${JSON.stringify(summary)}}\n`,
    {
      "main.sh": `${SH}echo ok\n`,
    },
  );
  await run(`demo/args --text "${summary.replace("@here", "").replace("<!channel>", "<x>")}"`);
  for (const text of BAD.slice(0, 4)) {
    // A lying Slack: unescaped, as no person can type it.
    const typed = text.replaceAll("\n", " ");
    for (const line of [
      `run ${typed}`,
      `show ${typed}`,
      `cancel ${typed}`,
      `log ${typed}`,
      typed,
      `run demo/args --text ${typed}`,
      `run demo/args ${typed}`,
      `run demo/args --${typed}`,
    ]) {
      await answer(say("bob", line));
    }
  }
  for (const line of ["list", "show demo/summary", "log demo/bad0", `show ${runsOf(appliance).at(-2) ?? ""}`])
    await answer(say("bob", line));
  const mine = workspace
    .messages()
    .slice(seen)
    .filter((m) => m.via !== "person");
  t.ok(mine.length > 40);
  for (const m of mine) {
    const acts = acting(m);
    // What is bold is sallyport's own: labels, names of Ops and inputs, kinds of log entries.
    t.same(
      acts.filter((act) => !/^bold [\w ./:()%-]+$/.test(act)),
      [],
      plain(m).slice(0, 80),
    );
    t.notMatch(m.text, /[\u001b\u202e\u2066\u200b]/, "no control characters in the notification");
    t.notMatch(JSON.stringify(m.blocks), /(?<!\\)\\u001b|[\u202e\u2066\u200b]/, "nor in the message");
  }
  t.equal(
    workspace.calls.filter((c) => !c.ok && c.method.startsWith("chat.")).length,
    0,
    "Slack took all of it",
  );
});
