import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { hasTmux, Terminal } from "../cli/terminal.ts";
import { program, TestAppliance, until } from "./appliance.ts";
import { opFolder } from "./slack-rig.ts";

/** Secrets from the CLI through keeper and runner to the Op (P9), on a real appliance. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
await appliance.init();
await appliance.serve();
await appliance.unlock();
await appliance.ok(["namespace", "add", "demo"]);
await appliance.ok(["role", "grant", "admin", "demo", "alice"]);

const VALUE = "s3cr3t-of-the-deploy-key";
const manifest = (name: string, secrets: string, more = "") =>
  `op: demo/${name}\nsummary: x\nrun: ["./main.sh"]\nsecrets: ${secrets}\n${more}`;
const script = (text: string) => ({ "main.sh": `#!/bin/sh\n${text}\n` });
const set = (name: string, value: string | Uint8Array, ...more: string[]) =>
  appliance.cli(["secret", "set", `demo/${name}`, "--value-fd", "3", ...more], value);
type Entry = { reason?: string; severity: number; data?: Record<string, unknown>; run?: string; op?: string };
const events = async (type: string) => {
  const said = (await appliance.ok(["audit", "log", "--json", "--type", type])).json();
  return (said as { entries: { entry: Entry }[] }).entries.map(({ entry }) => entry);
};

t.test("set, list, versions: names and dates, and nothing of the value", async (t) => {
  t.equal(
    (await set("DEPLOY_KEY", `${VALUE}\n`, "--description", "for web", "--expires", "2199-01-31")).status,
    0,
  );
  const again = await set("DEPLOY_KEY", "another-value");
  t.equal(again.status, 1);
  t.match(again.stderr, /demo\/DEPLOY_KEY is set already; .*secret rotate demo\/DEPLOY_KEY/);
  await appliance.publish(
    opFolder(appliance, manifest("deploy", "[DEPLOY_KEY]"), script("cat /run/secrets/DEPLOY_KEY")),
  );
  const listed = await appliance.ok(["secret", "list", "demo"]);
  t.match(listed.stdout, /demo\/DEPLOY_KEY +1 +2199-01-31 +demo\/deploy +for web/);
  const versions = await appliance.ok(["secret", "versions", "demo/DEPLOY_KEY", "--json"]);
  t.match(versions.json(), {
    removed: false,
    versions: [{ version: 1, state: "current", by: "alice", runs: [] }],
  });
  for (const { stdout } of [listed, versions]) {
    t.notMatch(stdout, VALUE.slice(0, 6));
    t.notMatch(stdout, new RegExp(`\\b${VALUE.length}\\b`), "nor its length");
  }
  t.match((await appliance.ok(["audit", "log", "--json", "--type", "secret.set"])).stdout, /DEPLOY_KEY/);
});

t.test("what can't be a secret is refused, with the reason", async (t) => {
  for (const [value, why] of [
    ["abc", /shorter than 4 bytes/],
    ["TRUE", /common word/],
    ["", /empty/],
    ["\n", /empty/],
  ] as const) {
    const said = await set("OTHER", value);
    t.equal(said.status, 2, JSON.stringify(value));
    t.match(said.stderr, why);
  }
  t.match((await set("OTHER", Buffer.alloc(65_538, 0x61))).stderr, /More than 65536 bytes/);
  t.match((await set("lower", "some-value")).stderr, /no secret name/);
  t.match(
    (await set("OTHER", "some-value", "--expires", "2001-01-01")).stderr,
    /expiry date 2001-01-01 is past/,
  );
  t.match((await set("OTHER", "some-value", "--expires", "tomorrow")).stderr, /takes a date like/);
  t.match(
    (await appliance.cli(["secret", "rotate", "demo/OTHER", "--value-fd", "3"], "some-value")).stderr,
    /There is no secret demo\/OTHER/,
  );
  t.match((await appliance.cli(["secret", "set", "demo/OTHER"])).stderr, /no terminal/);
});

t.test(
  "a file under /run/secrets, read-only; in the environment only where the manifest says so; never in argv",
  async (t) => {
    await set("TOKEN", "token-in-the-environment");
    await appliance.publish(
      opFolder(
        appliance,
        manifest("look", "[DEPLOY_KEY, {name: TOKEN, as: env}]"),
        script(`stat -c '%a %U %F' /run/secrets/DEPLOY_KEY; ls /run/secrets
grep ' /run/secrets ' /proc/self/mountinfo | sed 's/.* - \\([a-z]*\\) .*/fs=\\1/'
echo "env: [$TOKEN] [$DEPLOY_KEY]"
[ "$(wc -c < /run/secrets/DEPLOY_KEY)" = ${VALUE.length} ] && echo whole
tr '\\0' '\\n' < /proc/self/cmdline | grep -c s3cr3t`),
      ),
    );
    const ran = await appliance.cli(["run", "demo/look"]);
    t.match(ran.stdout, /^400 op regular file\nDEPLOY_KEY\n/m, ran.stderr);
    t.match(ran.stdout, /fs=tmpfs/);
    t.match(ran.stdout, /env: \[\[secret (demo\/)?TOKEN\]\] \[\]/, "what is printed is taken out");
    t.match(ran.stdout, /whole\n0\n/);
    const reads = await events("secret.read");
    t.match(
      reads.map(({ data, op }) => [op, data?.secret, data?.version]),
      [
        ["look", "DEPLOY_KEY", 1],
        ["look", "TOKEN", 1],
      ],
    );
    t.ok(reads.every(({ run }) => run === reads[0]?.run));
  },
);

t.test("binary and of many lines, to the last byte", async (t) => {
  const bytes = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 7) & 0xff));
  bytes[65_535] = 0x0a;
  t.equal((await set("BLOB", Buffer.concat([bytes, Buffer.from("\n")]))).status, 0);
  await appliance.publish(
    opFolder(appliance, manifest("blob", "[BLOB]"), script("sha256sum < /run/secrets/BLOB")),
  );
  const { createHash } = await import("node:crypto");
  t.match(
    (await appliance.ok(["run", "demo/blob"])).stdout,
    createHash("sha256").update(bytes).digest("hex"),
  );
});

t.test("an Op without its secret is refused before anything is recorded, and says who sets it", async (t) => {
  await appliance.publish(opFolder(appliance, manifest("lacks", "[DEPLOY_KEY, ABSENT]"), script("true")));
  const before = (await appliance.ok(["runs", "list", "--json"])).stdout;
  const ran = await appliance.cli(["run", "demo/lacks"]);
  t.equal(ran.status, 1);
  t.match(
    ran.stderr,
    /demo\/lacks needs demo\/ABSENT. An admin of demo sets it on the host: sallyport secret set demo\/ABSENT/,
  );
  t.equal((await appliance.ok(["runs", "list", "--json"])).stdout, before);
});

t.test("a run keeps the version that it was started with; it is erased when that run ends", async (t) => {
  await appliance.publish(
    opFolder(
      appliance,
      manifest("slow", "[DEPLOY_KEY]", "limits: {time: 60s}\n"),
      script("echo started; while :; do sleep 0.2; done"),
    ),
  );
  const running = appliance.cli(["run", "demo/slow"]);
  type Shown = { versions: { version: number; state: string; runs: string[] }[] };
  const versions = async () =>
    ((await appliance.ok(["secret", "versions", "demo/DEPLOY_KEY", "--json"])).json() as Shown).versions;
  await until(
    async () => (await versions())[0]?.runs.length === 1,
    30_000,
    () => appliance.log,
  );
  const [run] = (await versions())[0]!.runs;
  const rotated = await appliance.cli(
    ["secret", "rotate", "demo/DEPLOY_KEY", "--value-fd", "3"],
    "the-next-deploy-key",
  );
  t.match(rotated.stdout, /rotated, version 2/, rotated.stderr);
  t.match(await versions(), [
    { version: 2, state: "current", runs: [] },
    { version: 1, state: "retired", runs: [run] },
  ]);
  await appliance.ok(["cancel", run!]);
  await running;
  t.match(await versions(), [
    { version: 2, state: "current" },
    { version: 1, state: "erased", runs: [] },
  ]);
  t.match((await appliance.cli(["run", "demo/deploy"])).stdout, /\[secret (demo\/)?DEPLOY_KEY\]/);
});

t.test("a new key while everything runs on; then removal", async (t) => {
  const said = await appliance.ok(["namespace", "rotate-key", "demo", "--json"]);
  t.same(said.json(), { namespace: "demo", values: 3 });
  t.match((await appliance.cli(["run", "demo/deploy"])).stdout, /\[secret (demo\/)?DEPLOY_KEY\]/);
  await appliance.stopServing();
  appliance.log = "";
  await appliance.serve();
  await appliance.unlock();
  t.match(
    (await appliance.cli(["run", "demo/deploy"])).stdout,
    /\[secret (demo\/)?DEPLOY_KEY\]/,
    "after a restart",
  );
  t.match(
    (await appliance.ok(["secret", "remove", "demo/DEPLOY_KEY"])).stdout,
    /These Ops ask for it.*demo\/deploy/,
  );
  t.equal((await appliance.cli(["run", "demo/deploy"])).status, 1);
  t.match(
    (await appliance.ok(["secret", "versions", "demo/DEPLOY_KEY"])).stdout,
    /was removed[\s\S]*2 +erased[\s\S]*1 +erased/,
  );
  t.equal((await set("DEPLOY_KEY", VALUE)).status, 0);
  t.match(
    (await appliance.ok(["secret", "list"])).stdout,
    /demo\/DEPLOY_KEY +3 /,
    "no number names two values",
  );
  t.equal((await events("secret.key_added")).length, 2);
});

const crun = existsSync("/usr/bin/crun") ? false : "crun is not installed here";
t.test("under an OCI runtime too", { skip: crun }, async (t) => {
  await appliance.publish(
    opFolder(
      appliance,
      manifest("boxed", "[DEPLOY_KEY, {name: TOKEN, as: env}]", "engine: crun\n"),
      script(
        "stat -c '%a' /run/secrets/DEPLOY_KEY; cat /run/secrets/DEPLOY_KEY; echo; echo $TOKEN; ls /run/secrets",
      ),
    ),
  );
  const ran = await appliance.cli(["run", "demo/boxed"]);
  t.match(
    ran.stdout,
    /^400\n\[secret (demo\/)?DEPLOY_KEY\]\n\[secret (demo\/)?TOKEN\]\nDEPLOY_KEY\n/,
    ran.stderr,
  );
});

t.test("a helper has what is in the environment, and no descriptor or argument of a secret", async (t) => {
  await appliance.publish(
    opFolder(
      appliance,
      manifest("helper", "[DEPLOY_KEY, {name: TOKEN, as: env}]"),
      script(
        `env -u TOKEN sh -c 'echo "without: [$TOKEN]"'\nsh -c 'ls -l /proc/self/fd | grep -c secrets; tr "\\0" "\\n" < /proc/1/cmdline | grep -c -e deploy -e environment'`,
      ),
    ),
  );
  const ran = await appliance.cli(["run", "demo/helper"]);
  t.match(ran.stdout, /^without: \[\]\n0\n0\n/, ran.stderr);
});

t.test(
  "at a terminal: asked twice, nothing of it on the screen",
  { skip: hasTmux ? false : "needs tmux" },
  async (t) => {
    const command = (action: string, name: string) =>
      new Terminal([...program(), "secret", action, `demo/${name}`], appliance.env);
    const tty = command("set", "TYPED");
    t.teardown(() => tty.close());
    await tty.shows(/Value of demo\/TYPED \(one line, not shown\): /);
    tty.enter("zebra-crossing-42");
    await tty.shows("The same again");
    tty.enter("zebra-crossing-42");
    t.equal(await tty.status(), 0);
    t.match(tty.screen(), /demo\/TYPED: set, version 1\./);
    t.notMatch(tty.screen(), /zebra|\*/);
    const differs = command("rotate", "TYPED");
    t.teardown(() => differs.close());
    await differs.shows("Value of demo/TYPED");
    differs.enter("zebra-crossing-43");
    await differs.shows("The same again");
    differs.enter("zebra-crossing-44");
    t.equal(await differs.status(), 2);
    t.match(differs.screen(), /The two values differ; nothing was changed/);
    const again = command("set", "TYPED");
    t.teardown(() => again.close());
    t.equal(await again.status(), 1, "refused before a value is typed");
    t.notMatch(again.screen(), /Value of/);
  },
);

t.test("publishing refuses what looks like a credential, unless somebody says why it is none", async (t) => {
  const token = ["ghp", "k3Jq9ZtW8vLm2XbR7cYp5HdN4sFg6TaQ1eUo"].join("_");
  const dir = opFolder(appliance, manifest("leaks", "[]"), script(`# once\ncurl -H "x: ${token}"`));
  for (const command of ["publish", "validate"]) {
    const said = await appliance.cli(["op", command, dir]);
    t.equal(said.status, 2, command);
    t.match(said.stderr, /main\.sh:3 a GitHub token \(github-token\).*--allow-secret REASON/);
    t.notMatch(said.stderr, token.slice(4, 12), "never the value");
  }
  t.match(await events("op.refused"), [{ reason: /main\.sh:3/ }]);
  t.equal(
    (await appliance.cli(["op", "publish", dir, "--allow-secret", " "])).status,
    2,
    "a reason is a reason",
  );
  await appliance.ok(["op", "publish", dir, "--allow-secret", "revoked in May, kept as a sample"]);
  t.match(await events("op.secret_allowed"), [
    {
      op: "leaks",
      reason: "revoked in May, kept as a sample",
      severity: 4,
      data: { rules: "github-token", files: 1 },
    },
  ]);
  t.notMatch((await appliance.ok(["audit", "log", "--json"])).stdout, token.slice(4, 12));
});

t.test("what expires soon is in status, for whom it concerns, and in the log", async (t) => {
  const soon = new Date(Date.now() + 5 * 86_400_000).toISOString().slice(0, 10);
  await appliance.ok(["secret", "describe", "demo/TOKEN", "--expires", soon]);
  const status = (await appliance.ok(["status", "--json"])).json() as { secretsExpiring: unknown };
  t.match(status.secretsExpiring, [{ secret: "demo/TOKEN", expires: soon, days: 4 }]);
});

t.test("no value anywhere on the disk, nor in what the appliance says", async (t) => {
  for (const dir of [appliance.stateDir, join(appliance.dir, "log"), join(appliance.dir, "run")])
    for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
      const bytes = read(join(dir, name));
      for (const value of [VALUE, "the-next-deploy-key", "token-in-the-environment"])
        if (bytes?.includes(value) === true) t.fail(`${name} holds a value`);
    }
  for (const value of [VALUE, "the-next-deploy-key", "token-in-the-environment"])
    t.notOk(appliance.log.includes(value) || appliance.events.join("\n").includes(value));
});

function read(file: string): Buffer | null {
  try {
    return readFileSync(file);
  } catch {
    return null;
  }
}
