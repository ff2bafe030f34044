import t from "tap";
import type { Message } from "../../src/workspace/index.ts";
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

/** What was approved is what runs (P6): in Slack and at the terminal, withdrawn, denied, restarted, and without it by break glass. */

t.setTimeout(300_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const ops = workspace.channel("ops");
await appliance.ok(["namespace", "channel", "add", "demo", ops.id]);
for (const name of ["lee", "zoe", "otto"]) {
  workspace.addPerson({ name });
  await appliance.ok(["user", "add", name]);
}
for (const name of ["lee", "zoe", "otto"]) ops.members.add(workspace.person(name).id);
for (const name of ["lee", "zoe", "otto"]) await appliance.link(name);
await appliance.ok(["group", "add", "leads"]);
for (const name of ["lee", "zoe", "bob"]) await appliance.ok(["group", "member", "add", "leads", name]);
await appliance.ok(["role", "grant", "runner", "demo", "otto"]);

const publish = (name: string, more: string, text = "echo ran with $INPUT_ENV") =>
  appliance.publish(
    opFolder(
      appliance,
      `op: demo/${name}\nsummary: ${name}\nrun: ["./main.sh"]\ninputs:\n  env: {type: string, default: staging}\n${more}\n`,
      { "main.sh": `#!/bin/sh\n${text}\n` },
    ),
  );
await publish("one", "approval: {count: 1, group: leads}");
await publish("two", "approval: {count: 2, group: leads}");
await publish("any", "approval: {count: 1}");
await publish("host", "confirm: local");
await publish("hosts", "approval: {count: 1, confirm: local}");
await publish("ghost", "approval: {count: 1, group: nobody}");

/** Asks in Slack; the run's id and the message that approvers see. */
async function asked(line: string, who = "bob"): Promise<{ id: string; said: string; shown: () => Message }> {
  const known = new Set(runsOf(appliance));
  const delivery = workspace.command(who, "ops", `/ops run ${line}`);
  const said = await answer(delivery);
  let id = "";
  await eventually(appliance, () => {
    id = runsOf(appliance).find((run) => !known.has(run)) ?? "";
    return id !== "";
  });
  const shown = () => {
    const found = workspace.messages("ops").find((m) => plain(m).includes(id) && /Approval/.test(plain(m)));
    if (found === undefined) throw new Error(`nothing shown for ${id}`);
    return found;
  };
  return { id, said, shown };
}
const visible = (shown: () => Message) =>
  workspace.waitFor(() => {
    try {
      return shown();
    } catch {
      return undefined;
    }
  }, PATIENCE);
const click = (who: string, message: Message, action: "approve" | "deny") =>
  answer(workspace.click(who, message, action));
const entries = async (run: string, type: string) => {
  await caughtUp(appliance);
  return logged(appliance, type).filter((line) => line.process?.entity_id === run);
};

t.test("approved in Slack by one of the group: shown what runs, never by the requester, once", async (t) => {
  const { id, said, shown } = await asked("one --env prod");
  t.match(said, /demo\/one waits for approval/);
  t.match(said, /1 of group leads/);
  const message = structuredClone(await visible(shown));
  const text = plain(message);
  for (const part of [/--env prod/, /bob/, /Digest/, /0 of 1/, new RegExp(id)]) t.match(text, part);
  const digest = /Digest: ([0-9a-f ]{15})/.exec(text)?.[1];
  t.ok(digest !== undefined && said.includes(digest), "the same short digest for both");
  t.match(await click("bob", message, "approve"), /Nobody approves their own run/);
  t.match(await click("otto", message, "approve"), /has to be approved by 1 of group leads/);
  t.match(await click("mallory", message, "approve"), /No policy allows you/);
  t.equal((await entries(id, "run.started")).length, 0);
  t.match(await click("lee", message, "approve"), /You approved demo\/one/);
  t.match(plain(await result(workspace, "ops", new RegExp(`${id}[\\s\\S]*ran with prod`))), /succeeded/);
  t.match(await click("lee", message, "approve"), /waits for nobody: it is (running|succeeded)/);
  const seen = await answer(workspace.command("lee", "ops", `/ops show ${id}`));
  t.match(seen, /demo\/one succeeded/);
  t.notMatch(seen, /ran with prod/, "who may not run it reads not what it printed");
  t.match(await answer(workspace.command("bob", "ops", `/ops show ${id}`)), /ran with prod/);
  t.match(plain(shown()), /approved/);
  t.match(plain(shown()), /Approved by: lee/);
  t.match((await appliance.ok(["runs", "show", id, "--json"])).json(), {
    approvals: [{ by: "lee", verdict: "approved", confirmed: "none", from: "slack" }],
  });
  t.equal((await entries(id, "run.approved")).length, 1);
  t.equal((await entries(id, "run.started")).length, 1);
  t.match(await entries(id, "authz.denied"), [
    { rule: { id: "self-approval" } },
    { rule: { id: "manifest" } },
    { rule: { id: /default-deny/ } },
  ]);
});

t.test("two together count once each, and a double click once", async (t) => {
  const first = await asked("two");
  const one = await visible(first.shown);
  const twice = await Promise.all([click("lee", one, "approve"), click("lee", one, "approve")]);
  t.match(twice.sort().join("\n"), /already[\s\S]*You approved/);
  t.equal((await entries(first.id, "run.started")).length, 0, "one of two");
  await eventually(appliance, () => /1 of 2/.test(plain(first.shown())));
  await click("zoe", first.shown(), "approve");
  await result(workspace, "ops", new RegExp(first.id));

  const second = await asked("two");
  const other = await visible(second.shown);
  await Promise.all([click("lee", other, "approve"), click("zoe", other, "approve")]);
  await result(workspace, "ops", new RegExp(`${second.id}[\\s\\S]*ran with`));
  t.equal((await entries(second.id, "run.approved")).length, 2);
  t.equal((await entries(second.id, "run.started")).length, 1);
});

t.test("denied: it ends, and an approval after that changes nothing", async (t) => {
  const { id, shown } = await asked("one");
  const message = structuredClone(await visible(shown));
  t.match(await click("zoe", message, "deny"), /You denied/);
  t.match(await click("lee", message, "approve"), /waits for nobody: it is denied/);
  const shownRun = (await appliance.ok(["runs", "show", id, "--json"])).json() as { state: string };
  t.equal(shownRun.state, "denied");
  t.match(plain(shown()), /was denied/);
  t.match(await entries(id, "run.finished"), [
    { event: { outcome: "failure" }, sallyport: { state: "denied" } },
  ]);
});

t.test("withdrawn: another version, a lost role, a changed group, a disabled person", async (t) => {
  const reasonOf = async (id: string) =>
    (await appliance.ok(["runs", "show", id, "--json"])).json() as { state: string; reason: string };
  const version = await asked("one");
  const versionShown = structuredClone(await visible(version.shown));
  await publish("one", "approval: {count: 1, group: leads}", "echo another");
  t.match(await reasonOf(version.id), { state: "canceled", reason: /Withdrawn: Another version/ });
  t.match(await click("lee", versionShown, "approve"), /waits for nobody/);

  const role = await asked("one");
  await appliance.ok(["role", "revoke", "runner", "demo", "bob"]);
  t.match(await reasonOf(role.id), { state: "canceled", reason: /Withdrawn: No policy allows/ });
  await appliance.ok(["role", "grant", "runner", "demo", "bob"]);

  const disabled = await asked("one");
  await appliance.ok(["user", "disable", "bob"]);
  t.match(await reasonOf(disabled.id), { state: "canceled", reason: /Withdrawn: .*disabled/ });
  await appliance.ok(["user", "enable", "bob"]);

  // A link that was wrong takes with it what was asked for and said through it.
  const unlinked = await asked("one");
  await appliance.ok(["unlink", workspace.person("bob").id]);
  t.match(await reasonOf(unlinked.id), { state: "canceled", reason: /Withdrawn: .*unlinked/ });
  await appliance.link("bob");
  const said = await asked("two");
  await click("lee", await visible(said.shown), "approve");
  await appliance.ok(["unlink", workspace.person("lee").id]);
  await click("zoe", said.shown(), "approve");
  t.match(await reasonOf(said.id), { state: "waiting" });
  await appliance.ok(["cancel", said.id]);
  await appliance.link("lee");

  // An approver who is one no more does not count.
  const lost = await asked("two");
  await click("lee", await visible(lost.shown), "approve");
  await appliance.ok(["group", "member", "remove", "leads", "lee"]);
  await click("zoe", lost.shown(), "approve");
  t.match(await reasonOf(lost.id), { state: "waiting" });
  await appliance.ok(["group", "member", "add", "leads", "lee"]);
  await appliance.ok(["cancel", lost.id]);
  t.match(await reasonOf(lost.id), { state: "canceled" });
});

t.test("whoever published it is no approver where the Op says so; a rotated secret withdraws", async (t) => {
  await publish("coder", "approval: {count: 1, exclude_coder: true}");
  const { id, shown } = await asked("coder");
  t.match(await appliance.cli(["approve", id]), { status: 3, stderr: /not who published it/ });
  t.match(await click("otto", await visible(shown), "approve"), /You approved/);
  await result(workspace, "ops", new RegExp(id));

  await appliance.ok(["secret", "set", "demo/KEY", "--value-fd", "3"], "first-value-of-it");
  await publish("keyed", "approval: {count: 1}\nsecrets: [KEY]");
  const keyed = await asked("keyed");
  await visible(keyed.shown);
  await appliance.ok(["secret", "rotate", "demo/KEY", "--value-fd", "3"], "second-value-of-it");
  t.match((await appliance.ok(["runs", "show", keyed.id, "--json"])).json(), {
    state: "canceled",
    reason: /Withdrawn: What would run is not what was asked for/,
  });
});

t.test("what can't be approved by anybody is refused at once", async (t) => {
  const said = await answer(workspace.command("bob", "ops", "/ops run ghost"));
  t.match(said, /there is no such group/);
});

t.test("on the host: one's own confirmed, another's approved, and what Slack may not", async (t) => {
  const own = await asked("host", "alice");
  t.match(own.said, new RegExp(`sallyport approve ${own.id}`));
  const done = await appliance.ok(["approve", own.id]);
  t.match(done.stdout, /requester\s+alice/);
  t.match(done.stdout, /Confirmed: /);
  await result(workspace, "ops", new RegExp(own.id));
  t.match(await entries(own.id, "run.confirmed"), [{ sallyport: { confirm: "local", source: "tty" } }]);

  const others = await asked("hosts");
  const message = await visible(others.shown);
  t.match(await click("otto", message, "approve"), new RegExp(`sallyport approve ${others.id}`));
  t.equal((await entries(others.id, "authz.denied")).length, 1);
  const wrong = await appliance.cli(["approve", others.id, "--digest", "000 000 000 000"]);
  t.match(wrong, { status: 3, stderr: /not the one that you gave/ });
  await appliance.ok(["approve", others.id]);
  await result(workspace, "ops", new RegExp(others.id));

  // From the host to begin with: the kernel says who it is.
  const direct = await appliance.ok(["run", "demo/host"]);
  t.match(direct.stdout, /ran with staging/);
  const self = appliance.cli(["run", "demo/any"]);
  let id = "";
  await eventually(appliance, () => {
    id = logged(appliance, "run.waiting").at(-1)?.process?.entity_id ?? "";
    return id !== "" && id !== others.id;
  });
  t.match(await appliance.cli(["approve", id]), { status: 3, stderr: /Nobody approves their own run/ });
  t.match(await answer(workspace.command("otto", "ops", `/ops approve ${id}`)), /You approved/);
  const ran = await self;
  t.equal(ran.status, 0, ran.stderr);
  t.match(ran.stderr, /waits for the approval of 1 person[\s\S]*Approved by otto/);
  t.match(ran.stdout, /ran with staging/);
});

t.test("break glass: on the host, with a reason, seen by everybody", async (t) => {
  t.match(await appliance.cli(["run", "demo/one", "--break-glass"]), {
    status: 2,
    stderr: /takes the reason/,
  });
  t.match(await appliance.cli(["run", "demo/host", "--break-glass", "no need"]), {
    status: 2,
    stderr: /needs no approval/,
  });
  const ran = await appliance.ok([
    "run",
    "demo/one",
    "--env",
    "prod",
    "--break-glass",
    "the site is down, T-1",
  ]);
  t.match(ran.stdout, /another/);
  await workspace.waitFor(
    () =>
      workspace
        .messages("ops")
        .find((m) => /Break glass: alice runs demo\/one/.test(plain(m)) && /T-1/.test(plain(m))),
    PATIENCE,
  );
  await caughtUp(appliance);
  t.match(logged(appliance, "run.break_glass"), [
    { event: { reason: "the site is down, T-1" }, sallyport: { approvals: /1 of group leads/, told: 1 } },
  ]);
});

t.test("it waits on over a crash and over a restart, and then runs as it was approved", async (t) => {
  const kept = await asked("one --env kept");
  await visible(kept.shown);
  const crashed = await asked("one --env crashed");
  await visible(crashed.shown);
  appliance.serving?.kill("SIGKILL");
  await eventually(appliance, () => appliance.serving?.signalCode !== null);
  appliance.log = "";
  await appliance.serve();
  await appliance.unlock();
  await eventually(appliance, () => workspace.connections.some((c) => !c.draining));
  t.match(await click("lee", kept.shown(), "approve"), /You approved/);
  await result(workspace, "ops", new RegExp(`${kept.id}[\\s\\S]*another`));
  t.match(plain(kept.shown()), /approved/);
  await appliance.ok(["lock"]);
  await eventually(appliance, () => appliance.log.includes("sealed"));
});
