import t from "tap";
import type { Delivery } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";
import { signalRole } from "./processes.ts";
import { answer, ENDED, eventually, opFolder, PATIENCE, plain } from "./slack-rig.ts";

/**
 * kill -9 at many instants while commands come in (P14): every accepted command ends in exactly one outcome, which Slack is
 * told; none runs twice; one that was not accepted says so.
 */

t.setTimeout(300_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
await appliance.publish(
  opFolder(
    appliance,
    `op: demo/mark
summary: Says its mark
run: ["./main.sh"]
inputs: {mark: {type: string, required: true}}
concurrency: 3
`,
    { "main.sh": '#!/bin/sh\necho "mark $INPUT_MARK"; sleep 0.03\n' },
  ),
);

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const connected = () =>
  eventually(appliance, () => workspace.connections.filter((c) => !c.draining).length >= 2);
type Run = { run: string; state: string; args: { mark?: string }; started: string | null };
type Sent = { mark: string; delivery: Delivery };
const all: Sent[] = [];

async function send(count: number, everyMs: number, round: string): Promise<void> {
  for (let i = 0; i < count; i++) {
    const mark = `m-${round}-${i}-m`;
    all.push({ mark, delivery: workspace.command("bob", "ops", `/ops run demo/mark --mark ${mark}`) });
    await sleep(everyMs);
  }
}

/** The supervisor gives up after five deaths in a minute, so each keeper's death gets a serve of its own. */
async function serveAnew(): Promise<void> {
  const { serving } = appliance;
  if (serving !== undefined && serving.exitCode === null && serving.signalCode === null) {
    const ended = new Promise((resolve) => serving.once("exit", resolve));
    serving.kill("SIGKILL");
    await ended;
  }
  await sleep(200);
  appliance.log = "";
  await appliance.serve();
  await appliance.unlock();
  await connected();
}

async function runs(): Promise<Run[]> {
  return ((await appliance.ok(["runs", "list", "--json", "--limit", "1000"])).json() as { runs: Run[] }).runs;
}

t.test("the keeper is killed", async (t) => {
  await connected();
  for (const [round, ms] of [3, 12, 25, 45, 80, 130].entries()) {
    const sending = send(8, 12, `k${round}`);
    await sleep(ms);
    await signalRole(appliance.serving?.pid, "keeper", "SIGKILL");
    await sending;
    await Promise.all(all.map(({ delivery }) => delivery.ack));
    await serveAnew();
  }
  t.pass("and started again");
});

t.test("the gateway is killed", async (t) => {
  for (const [round, ms] of [2, 10, 30, 60].entries()) {
    await connected();
    const sending = send(8, 12, `g${round}`);
    await sleep(ms);
    await signalRole(appliance.serving?.pid, "gateway", "SIGKILL");
    await sending;
    await connected();
  }
  await serveAnew();
  t.pass("and came back by itself");
});

t.test("the runner is killed, and serve with all its roles", async (t) => {
  for (const ms of [20, 60]) {
    const sending = send(6, 12, `r${ms}`);
    await sleep(ms);
    await signalRole(appliance.serving?.pid, "runner", "SIGKILL");
    await sending;
    await sleep(500);
  }
  await serveAnew();
  const sending = send(8, 10, "s");
  await sleep(50);
  appliance.serving?.kill("SIGKILL");
  await sending;
  await Promise.all(all.map(({ delivery }) => delivery.ack));
  await serveAnew();
  t.pass("and started again");
});

t.test("each accepted command has one outcome, and Slack was told it", async (t) => {
  await answer(workspace.command("bob", "ops", "/ops whoami"));
  await eventually(appliance, () => true);
  let rows = await runs();
  for (let i = 0; i < 100 && rows.some((r) => ["queued", "running", "requested"].includes(r.state)); i++) {
    await sleep(200);
    rows = await runs();
  }
  const log = await entries();
  const counts = { succeeded: 0, lost: 0, other: 0, notAccepted: 0, abandoned: 0, unheard: 0 };
  const given = log.filter((e) => e.type === "request.abandoned").length;
  const direct = () =>
    workspace
      .messages(workspace.im("bob").id)
      .filter((m) => /It did not run; please try again/.test(plain(m))).length;
  await workspace.waitFor(() => direct() >= given, PATIENCE).catch(() => undefined);
  const abandoned = direct();
  for (const { mark, delivery } of all) {
    const ack = await delivery.ack;
    const mine = rows.filter((r) => r.args.mark === mark);
    t.ok(mine.length <= 1, `${mark}: never two runs`);
    const [row] = mine;
    if (row !== undefined) {
      t.match(row.state, /^(succeeded|lost|failed|canceled)$/, `${mark}: an end`);
      if (row.state === "succeeded" || row.state === "lost") counts[row.state]++;
      else counts.other++;
      const ends = log.filter((e) => e.type === "run.finished" && e.run === row.run).length;
      const starts = log.filter((e) => e.type === "run.started" && e.run === row.run).length;
      t.equal(ends, 1, `${mark}: one outcome in the log`);
      t.ok(starts <= 1, `${mark}: started once at most`);
      const told = () =>
        workspace.messages("ops").filter((m) => plain(m).includes(row.run) && ENDED.test(plain(m)));
      await workspace.waitFor(() => told()[0], PATIENCE).catch(() => undefined);
      t.ok(told().length >= 1, `${mark}: Slack was told that it ${row.state}`);
      const unmarked = told().filter((m) => !/may be shown here twice/.test(plain(m)));
      t.ok(unmarked.length <= 1, `${mark}: once, or with a word on why again`, {
        told: told().map((m) => [m.via, m.metadata?.event_payload, m.edits.length, plain(m)]),
      });
      // Each kill while it was on its way leaves it in doubt once more; five times it is told again at most.
      t.ok(told().length <= 6, `${mark}: not without end`);
    } else if (ack.status !== "acked" || JSON.stringify(ack.payload).includes("Not accepted")) {
      // Slack's own words, or ours.
      counts.notAccepted++;
    } else if (delivery.responses.length > 0) counts.notAccepted++;
    else counts.abandoned++;
  }
  t.comment(JSON.stringify(counts));
  t.ok(counts.succeeded > 0, "and some ran, so that the rest says something");
  t.ok(
    counts.abandoned <= abandoned,
    `${counts.abandoned} accepted and given up, ${abandoned} told in direct messages`,
  );
  t.ok(given <= abandoned, `${given} of them in the log`);
  t.equal((await appliance.cli(["audit", "verify"])).status, 0);
});

type Entry = { type: string; run?: string };
async function entries(): Promise<Entry[]> {
  const found: Entry[] = [];
  let before: number | undefined;
  for (;;) {
    const page = (
      await appliance.ok([
        "audit",
        "log",
        "--json",
        "--limit",
        "1000",
        ...(before === undefined ? [] : ["--before", String(before)]),
      ])
    ).json() as { entries: { seq: number; entry: Entry }[] };
    if (page.entries.length === 0) return found;
    found.push(...page.entries.map((line) => line.entry));
    before = page.entries[0]?.seq ?? 0;
    if (before === 0) return found;
  }
}
