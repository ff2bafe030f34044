import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { TestAppliance } from "./appliance.ts";
import { answer, caughtUp, logged, opFolder } from "./slack-rig.ts";

/** A site's own policies, at the real command line: put in force, asked, taken away, and what is refused. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
await appliance.publish(
  opFolder(
    appliance,
    `op: demo/deploy\nsummary: d\nrun: ["./main.sh"]\ninputs:\n  env: {type: string, default: staging}\n  count: {type: integer, default: 1}\n`,
    { "main.sh": "#!/bin/sh\necho deployed $INPUT_ENV\n" },
  ),
);
const file = (name: string, text: string): string => {
  const path = join(appliance.dir, name);
  writeFileSync(path, text);
  return path;
};
const add = (name: string, text: string, ...more: string[]) =>
  appliance.cli(["policy", "add", name, file(`${name}.cedar`, text), ...more]);
const NO_PROD = `@id("no-prod") @reason("Not in production.")
forbid (principal, action == Action::"run", resource) when { context.args has env && context.args.env == "prod" };`;

t.test("in force from the next request on, until it is removed", async (t) => {
  t.match(await appliance.ok(["run", "demo/deploy", "--env", "prod"]), { stdout: "deployed prod\n" });
  t.match(await add("prod", NO_PROD), { status: 0, stdout: /In force: prod \(no-prod\)/ });
  t.match(await appliance.cli(["run", "demo/deploy", "--env", "prod"]), {
    status: 3,
    stderr: /Not in production.*no-prod/,
  });
  t.match(await answer(workspace.command("bob", "ops", "/ops run deploy --env prod")), /Not in production/);
  t.match(await appliance.ok(["run", "demo/deploy"]), { stdout: "deployed staging\n" });
  const check = (...args: string[]) =>
    appliance.cli(["policy", "check", "--user", "bob", "--op", "demo/deploy", ...args]);
  t.match(await check("--arg", "env=prod"), {
    status: 3,
    stdout: /Refused\. Not in production\.[\s\S]*no-prod \(site\/prod\)[\s\S]*context\.args\.env/,
  });
  t.match(await check("--arg", "env=staging"), { status: 0, stdout: /Allowed\.[\s\S]*runner-run/ });
  t.match(await check("--channel", "C0NOWHERE1"), { status: 0 });
  t.match(await check("--channel", "ops"), { status: 2, stderr: /no channel id/ });
  t.match(await check("--arg", "env"), { status: 2, stderr: /NAME=VALUE/ });
  t.match(await check("--arg", "other=1"), { status: 2 });
  t.match(await check("--standing", "guest", "--source", "slack"), { status: 3, stdout: /slack-guest/ });
  t.match(await appliance.cli(["policy", "check", "--user", "nobody", "--op", "demo/deploy"]), {
    status: 1,
    stderr: /User nobody/,
  });
  t.match(await appliance.cli(["policy", "check", "--user", "bob", "--op", "demo/none"]), {
    status: 1,
    stderr: /No active Op/,
  });
  t.match(await appliance.ok(["policy", "list"]), { stdout: /prod +no-prod +alice/ });
  t.match(await appliance.ok(["policy", "show", "prod"]), { stdout: /Not in production/ });
  t.match(await appliance.ok(["policy", "show", "self-approval"]), {
    stdout: /principal == resource\.requester/,
  });
  t.match(await appliance.cli(["doctor"]), {
    stdout: /fine +site policies: all that are in force can be read/,
  });
  await appliance.ok(["policy", "remove", "prod"]);
  t.match(await appliance.ok(["run", "demo/deploy", "--env", "prod"]), { stdout: "deployed prod\n" });
  t.match(await appliance.cli(["policy", "remove", "prod"]), { status: 1, stderr: /policy list/ });
  await caughtUp(appliance);
  t.match(logged(appliance, "policy.added", "policy.removed"), [
    { event: { action: "policy.added" }, sallyport: { policy: "prod", number: 1, ids: "no-prod" } },
    { event: { action: "policy.removed" }, sallyport: { policy: "prod", number: 1 } },
  ]);
});

t.test("it asks for approvals and codes, and explain tells of the past with the text of then", async (t) => {
  const two = `@id("lead") @reason("Leads only.") @approval("1") @approval_group("leads")
forbid (principal, action == Action::"run", resource) when { context.args.env == "prod" };`;
  t.match(
    await add("lead", two),
    { status: 2, stderr: /optional|has/ },
    "an argument that may be absent is asked for first",
  );
  t.match(await add("lead", two.replace("when { context", "when { context.args has env && context")), {
    status: 0,
  });
  t.match(await appliance.cli(["run", "demo/deploy", "--env", "prod"]), {
    status: 1,
    stderr: /no such group/,
  });
  await appliance.ok(["group", "add", "leads"]);
  await appliance.ok(["group", "member", "add", "leads", "mallory"]);
  t.match(
    await appliance.cli(["policy", "check", "--user", "bob", "--op", "demo/deploy", "--arg", "env=prod"]),
    {
      status: 0,
      stdout: /First: approved by 1 of group leads \(lead\)/,
    },
  );
  const approve = (user: string, requester: string, ...more: string[]) =>
    appliance.cli([
      ...["policy", "check", "--action", "approve", "--op", "demo/deploy", "--arg", "env=prod"],
      ...["--user", user, ...(requester === "" ? [] : ["--requester", requester]), ...more],
    ]);
  t.match(await approve("mallory", "bob"), { status: 0, stdout: /Allowed\.[\s\S]*group-approve/ });
  t.match(await approve("bob", "bob"), { status: 3, stdout: /Nobody approves their own run/ });
  t.match(await approve("bob", "mallory"), { status: 2, stderr: /mallory could not ask for that run/ });
  t.match(await approve("bob", "nobody"), { status: 1, stderr: /User nobody/ });
  t.match(await approve("bob", ""), { status: 2, stderr: /--requester/ });
  const listed = ["policy", "check", "--user", "bob", "--op", "demo/deploy", "--action", "list"];
  t.match(await appliance.cli(listed), { status: 0 });
  t.match(await appliance.cli([...listed, "--arg", "env=prod"]), {
    status: 2,
    stderr: /Only a run has arguments/,
  });
  const running = appliance.cli(["run", "demo/deploy", "--env", "prod", "--json"]);
  const waiting = async () => {
    const { runs } = (await appliance.ok(["runs", "list", "--json"])).json() as {
      runs: { run: string; state: string }[];
    };
    return runs.find(({ state }) => state === "waiting")?.run;
  };
  let run: string | undefined;
  while (run === undefined) run = await waiting();
  const own = `@id("others") @reason("Somebody else, for production.")
forbid (principal == User::"mallory", action == Action::"approve", resource) when { context.args has env && context.args.env == "prod" };`;
  await appliance.ok(["policy", "add", "others", file("others.cedar", own)]);
  t.match(await approve("mallory", "bob"), { status: 3, stdout: /Somebody else/ });
  t.match(
    await answer(workspace.command("mallory", "ops", `/ops approve ${run}`)),
    /Somebody else, for production/,
    "arguments count for whoever approves, too",
  );
  await appliance.ok(["policy", "remove", "others"]);
  t.match(await answer(workspace.command("mallory", "ops", `/ops approve ${run}`)), /You approved/);
  t.match(await running, { status: 0 });
  await appliance.ok(["policy", "remove", "lead"]);
  const said = (await appliance.ok(["policy", "explain", run])).stdout;
  t.match(said, /request: alice from tty, confirmed: local[\s\S]*asked for first by lead/);
  t.match(said, /approve: mallory from slack/);
  t.match(said, /launch: alice from tty/);
  t.match(said, /group-approve[\s\S]*principal in resource\.approvers/);
  t.match(await appliance.cli(["policy", "explain", "r-0000000000000000"]), { status: 1 });
});

t.test("what would not count, or lock every admin out, is refused with the reason", async (t) => {
  for (const [text, why] of [
    ["forbid (", /unexpected|expected/],
    ["", /no policy/],
    [`forbid (principal, action, resource);`, /lacks its @id/],
    [`@id("x") permit (principal, action == Action::"fly", resource);`, /fly/],
    [`@id("x") forbid (principal, action, resource) when { context.nothing };`, /nothing/],
    [`@id("self-approval") permit (principal, action, resource);`, /used already/],
    [`@id("x") permit (principal == ?principal, action, resource);`, /templates/],
    [`@id("x") @approval("1") forbid (principal, action, resource);`, /forbid of Action/],
  ] as const)
    t.match(await add("bad", text), { status: 2, stderr: why }, text);
  t.match(await add("Bad Name", NO_PROD), { status: 2, stderr: /no policy name/ });
  t.match(await add("long", `${NO_PROD}\n// ${"x".repeat(70_000)}`), { status: 2, stderr: /at most 65536/ });
  const lock = await add("lock", `@id("lock") forbid (principal, action, resource);`);
  t.match(lock, { status: 1, stderr: /no admin could administer[\s\S]*lock[\s\S]*unless/ });
  t.match(await appliance.cli(["policy", "add", "gone", "/nonexistent/x"]), {
    status: 2,
    stderr: /can't be read/,
  });
  await appliance.ok(["policy", "add", "prod", join(appliance.dir, "prod.cedar")]);
  t.match(await add("prod", NO_PROD), { status: 1, stderr: /--replace/ });
  t.match(await add("prod", NO_PROD.replace("Not in", "Never in"), "--replace"), { status: 0 });
  t.match(await appliance.cli(["run", "demo/deploy", "--env", "prod"]), {
    status: 3,
    stderr: /Never in production/,
  });
  const more = `@id("many") forbid (principal, action == Action::"run", resource) when { context.args has count && context.args.count > 5 };`;
  t.match(await add("many", more), { status: 0 });
  await appliance.publish(
    opFolder(
      appliance,
      `op: demo/other\nsummary: o\nrun: [ls]\ninputs:\n  env: {type: integer, required: true}\n  count: {type: string}\n`,
    ),
  );
  t.match(
    await appliance.cli(["run", "demo/other", "--env", "3"]),
    { status: 3, stderr: /no-prod could not be evaluated/ },
    "no rule is passed by typing its argument otherwise",
  );
  t.match(await appliance.cli(["run", "demo/other", "--env", "3", "--count", "9"]), {
    status: 3,
    stderr: /could not be evaluated/,
  });
  const without = opFolder(appliance, `op: demo/deploy\nsummary: d\nrun: [ls]\n`);
  t.match(await appliance.cli(["op", "publish", without]), {
    status: 2,
    stderr:
      /inputs of demo\/deploy[\s\S]*policy no-prod[\s\S]*env, string until now, would be integer as demo\/other has it/,
  });
  t.match(await appliance.ok(["run", "demo/deploy"]), { stdout: "deployed staging\n" });
});

t.test("it counts after a restart too", async (t) => {
  await appliance.stopServing();
  appliance.log = "";
  await appliance.serve();
  await appliance.unlock();
  t.match(await appliance.cli(["run", "demo/deploy", "--env", "prod"]), {
    status: 3,
    stderr: /Never in production/,
  });
});
