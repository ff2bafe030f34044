import t from "tap";
import { needsRoot, OTHER_ACCOUNT, TestAppliance } from "./appliance.ts";
import { answer, caughtUp, type Ecs, eventually, logged, opFolder, runsOf } from "./slack-rig.ts";

/** People, their accounts and their rights as an admin changes them: what takes effect at once, and what is refused as it was typed. */

t.setTimeout(300_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const op = (name: string, main: string, more = "") =>
  appliance.publish(
    opFolder(appliance, `op: demo/${name}\nsummary: ${name}\nrun: ["./main.sh"]\n${more}`, {
      "main.sh": `#!/bin/sh\n${main}\n`,
    }),
  );
await op("nap", "echo up; sleep 3", "concurrency: 1\n");
await op("long", "echo up; sleep 600");
await op("asked", "echo ran", "approval: {count: 1}\n");

/** Asks in Slack; the run's id. */
async function asked(name: string): Promise<string> {
  const known = new Set(runsOf(appliance));
  await workspace.command("bob", "ops", `/ops run demo/${name}`).ack;
  let id = "";
  await eventually(appliance, () => {
    id = runsOf(appliance).find((run) => !known.has(run)) ?? "";
    return id !== "";
  });
  return id;
}
const of = (run: string, type: string): Ecs | undefined =>
  logged(appliance, type).find((line) => line.process?.entity_id === run);
const started = (run: string) => eventually(appliance, () => of(run, "run.started") !== undefined);
const ended = async (run: string): Promise<Ecs | undefined> => {
  await eventually(appliance, () => of(run, "run.finished") !== undefined);
  return of(run, "run.finished");
};

t.test("a person who is disabled: refused at once, everywhere, and what they asked for", async (t) => {
  const running = await asked("nap");
  await started(running);
  const queued = await asked("nap");
  const waiting = await asked("asked");
  const said = (await appliance.ok(["user", "disable", "bob", "--json"])).json() as object;
  t.match(said, { user: "bob", status: "disabled", runs: { ended: 1, killed: 0 } });
  t.match(await ended(queued), {
    event: { reason: "The user who asked for it was disabled." },
    sallyport: { state: "canceled" },
  });
  t.match(await ended(waiting), {
    event: { reason: /Withdrawn.*disabled/ },
    sallyport: { state: "canceled", code: "withdrawn" },
  });
  for (const line of ["help", "list", "run demo/nap", `cancel ${running}`, `show ${running}`, "link"])
    t.match(await answer(workspace.command("bob", "ops", `/ops ${line}`)), /disabled/, line);
  t.match(await ended(running), { sallyport: { state: "succeeded" } }, "what ran goes on to its end");
  await appliance.ok(["user", "enable", "bob"]);
  t.match(await answer(workspace.command("bob", "ops", "/ops list")), /demo\/nap/);
});

t.test("--runs kill ends what runs too", async (t) => {
  const running = await asked("long");
  await started(running);
  const said = (await appliance.ok(["user", "disable", "bob", "--runs", "kill", "--json"])).json() as object;
  t.match(said, { runs: { ended: 0, killed: 1 } });
  t.match(await ended(running), {
    event: { reason: "The user who asked for it was disabled." },
    sallyport: { state: "canceled" },
  });
  t.match(of(running, "run.cancel_requested"), { sallyport: { source: "tty", account: {} } });
  t.match(await appliance.cli(["user", "disable", "bob", "--runs", "maybe"]), { status: 2 });
  await appliance.ok(["user", "enable", "bob"]);
});

t.test("host accounts: one is one person's, and an admin keeps one", async (t) => {
  const shown = async (name: string) =>
    ((await appliance.ok(["user", "show", name, "--json"])).json() as { hostAccounts: object[] })
      .hostAccounts;
  await appliance.ok(["user", "host-account", "add", "bob", "nobody"]);
  t.same(await shown("bob"), [{ uid: OTHER_ACCOUNT, login: "nobody" }]);
  const twice = await appliance.cli(["user", "host-account", "add", "mallory", "nobody"]);
  t.match(twice, { status: 1, stderr: /host account 65534 is bob's/ });
  await t.test("bob from there", { skip: needsRoot }, async (t) => {
    t.equal((await appliance.cliAs(OTHER_ACCOUNT, ["runs"])).status, 0);
  });
  const none = await appliance.cli(["user", "host-account", "add", "bob", "no-such-login"]);
  t.match(none, { status: 1, stderr: /This host has no account no-such-login\./ });
  t.match(await appliance.cli(["user", "host-account", "remove", "bob", "daemon"]), {
    status: 1,
    stderr: /daemon is no host account of bob's; theirs are: nobody \(65534\)/,
  });
  await appliance.ok(["user", "host-account", "remove", "bob", String(OTHER_ACCOUNT)]);
  t.same(await shown("bob"), []);
  await caughtUp(appliance);
  t.match(logged(appliance, "user.host_account").at(-1)?.sallyport, { uid: OTHER_ACCOUNT, removed: true });
  await t.test("bob's account is nobody's again", { skip: needsRoot }, async (t) => {
    t.match(await appliance.cliAs(OTHER_ACCOUNT, ["runs"]), { status: 3, stderr: /belongs to no user/ });
  });

  // An admin in name, whom no account of the host can speak for.
  await appliance.ok(["role", "grant", "admin", "*", "mallory"]);
  const own = String(process.getuid?.());
  for (const args of [
    ["user", "host-account", "remove", "alice", own],
    ["user", "disable", "alice"],
    ["role", "revoke", "admin", "*", "alice"],
  ])
    t.match(
      await appliance.cli(args),
      { status: 1, stderr: /without an admin who can reach it: enabled, with an account on this host/ },
      args.join(" "),
    );
  t.equal((await appliance.cli(["user", "list"])).status, 0, "nothing was changed");
  await appliance.ok(["role", "revoke", "admin", "*", "mallory"]);
});

t.test("what is not there, or is no id: one clear error each, and nothing changes", async (t) => {
  await appliance.ok(["group", "add", "team"]);
  const count = async () =>
    (await appliance.ok(["audit", "log", "--limit", "1000", "--json"])).json() as { entries: object[] };
  const before = (await count()).entries.length;
  const cases: [string[], number, RegExp][] = [
    [["user", "show", "bbo"], 1, /User bbo\. Add it with: sallyport user add bbo/],
    [["user", "disable", "bbo"], 1, /User bbo/],
    [["user", "enable", "bbo"], 1, /User bbo/],
    [["user", "host-account", "add", "bbo", "nobody"], 1, /User bbo/],
    [["user", "add", "Bob!"], 2, /"Bob!" is no user name; it is made of/],
    [["user", "add", "bob"], 1, /There is a user named bob/],
    [["user", "add", "erin", "--host-user", "no-such-login"], 1, /This host has no account no-such-login/],
    [["user", "add", "erin", "--host-user", "../x"], 2, /"\.\.\/x" is no login name/],
    [["group", "member", "add", "teem", "bob"], 1, /Group teem/],
    [["group", "member", "add", "team", "bbo"], 1, /User bbo/],
    [["group", "member", "remove", "team", "bob"], 1, /bob is not in team/],
    [["group", "add", "team"], 1, /There is a group named team/],
    [["role", "grant", "owner", "demo", "bob"], 2, /There is no role owner; there are admin, coder, runner/],
    [
      ["role", "grant", "runner", "wep", "bob"],
      1,
      /Namespace wep\. Add it with: sallyport namespace add wep/,
    ],
    [["role", "grant", "runner", "*", "bbo"], 1, /No user or group is named bbo/],
    [["role", "grant", "runner", "demo", "teem", "--group"], 1, /No group is named teem/],
    [["role", "grant", "runner", "demo", "user:team"], 1, /No user or group is named team/],
    [["role", "revoke", "coder", "demo", "bob"], 1, /bob is not coder of demo/],
    [["role", "grant", "runner", "demo", "bob"], 1, /Is runner of demo already/],
    [["role", "list", "--namespace", "wep"], 1, /Namespace wep/],
    [["namespace", "add", "*"], 2, /"\*" is no namespace name/],
    [["namespace", "add", "demo"], 1, /There is a namespace named demo/],
    [["namespace", "channel", "add", "demo", "#ops"], 2, /"#ops" is no channel id.*channel details/],
    [["namespace", "channel", "add", "demo", "ops"], 2, /"ops" is no channel id/],
    [["namespace", "channel", "add", "wep", "C0OPS00001"], 1, /Namespace wep/],
    [["namespace", "channel", "remove", "demo", "C0NONE0001"], 1, /C0NONE0001 is no channel of demo/],
    [["unlink", "U0NOBODY01"], 1, /not linked/],
    [["link", "7K2M-90QD", "--user", "bbo", "--json"], 1, /User bbo/],
    [["audit", "log", "--person", "bbo"], 1, /User bbo/],
    [["audit", "log", "--namespace", "wep"], 1, /Namespace wep/],
  ];
  for (const [args, status, says] of cases) {
    const result = await appliance.cli(args);
    t.equal(result.status, status, args.join(" "));
    t.match(result.stderr, says, args.join(" "));
    t.equal(result.stderr.trimEnd().split("\n").length, 1, `${args.join(" ")}: one line`);
    t.equal(result.stdout, "");
  }
  t.equal(
    (await count()).entries.length,
    before,
    "no entry: nothing was done, and nothing was refused for rights",
  );
});

t.test('a role in "*" counts in every namespace', async (t) => {
  await appliance.ok(["role", "grant", "runner", "*", "mallory"]);
  t.match(await answer(workspace.command("mallory", "ops", "/ops list")), /demo\/nap/);
  await appliance.ok(["role", "revoke", "runner", "*", "mallory"]);
  t.match(await answer(workspace.command("mallory", "ops", "/ops list")), /no Op that you may run here/);
});
