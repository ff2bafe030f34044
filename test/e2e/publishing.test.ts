import { join } from "node:path";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { needsRoot, OTHER_ACCOUNT, TestAppliance } from "./appliance.ts";
import { caughtUp, logged, opFolder } from "./slack-rig.ts";

/** Publishing is a right, activating is another: versions, the way back, how they differ, and two persons for one change. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
await appliance.init();
await appliance.serve();
await appliance.unlock();
await appliance.ok(["namespace", "add", "demo"]);
const folder = (text: string, more = "") =>
  opFolder(appliance, `op: demo/it\nsummary: It\nrun: ["./main.sh"]\n${more}`, {
    "main.sh": `#!/bin/sh\n${text}\n`,
  });
const json = async <T>(args: string[]): Promise<T> => (await appliance.ok([...args, "--json"])).json() as T;
const says = async () => (await appliance.ok(["run", "demo/it"])).stdout;

t.test("stored, activated, rolled back; by whom and from where", async (t) => {
  t.match(await appliance.cli(["op", "publish", folder("echo one"), "--no-activate"]), {
    status: 0,
    stdout: /version 1, sha256:[0-9a-f]{64}, not active/,
  });
  t.match(await appliance.cli(["run", "demo/it"]), { status: 1, stderr: /No active Op/ });
  t.match(await appliance.ok(["op", "list"]), { stdout: /demo\/it +- +not activated/ });
  t.match(await appliance.cli(["op", "rollback", "demo/it"]), {
    status: 1,
    stderr: /No version of demo\/it is active/,
  });
  await appliance.ok(["op", "activate", "demo/it", "1"]);
  t.equal(await says(), "one\n");
  t.match(await appliance.cli(["op", "rollback", "demo/it"]), { status: 1, stderr: /No other version/ });
  await appliance.ok(["op", "publish", folder("echo two")]);
  t.equal(await says(), "two\n");
  await appliance.ok(["op", "rollback", "demo/it"]);
  t.equal(await says(), "one\n");
  await appliance.ok(["op", "rollback", "demo/it", "2"]);
  t.equal(await says(), "two\n");
  for (const [args, why] of [
    [["activate", "demo/it", "9"], /no version 9/],
    [["activate", "demo/it", "x"], /whole number/],
    [["rollback", "demo/none"], /No active Op/],
    [["activate", "it", "1"], /in full/],
    [["diff", "demo/it", "1", "9"], /no version 9/],
  ] as const)
    t.match(await appliance.cli(["op", ...args]), { stderr: why }, args.join(" "));
  type Versions = { active: number; versions: object[]; activations: object[] };
  const versions = await json<Versions>(["op", "versions", "demo/it"]);
  const uid = process.getuid?.();
  t.match(versions, {
    active: 2,
    versions: [
      { version: 2, publisher: "alice", from: { uid } },
      { version: 1, publisher: "alice", from: { uid } },
    ],
    activations: [
      { version: 2, by: "alice", from: { uid } },
      { version: 1, by: "alice" },
      { version: 2, by: "alice" },
      { version: 1, by: "alice" },
    ],
  });
  await caughtUp(appliance);
  t.match(
    logged(appliance, "op.activated").map(({ sallyport }) => [
      sallyport.version,
      sallyport.previous,
      (sallyport.account as { uid?: number } | undefined)?.uid,
    ]),
    [
      [1, null, uid],
      [2, 1, uid],
      [1, 2, uid],
      [2, 1, uid],
    ],
  );
  await appliance.ok(["op", "disable", "demo/it"]);
  t.match(await appliance.ok(["op", "list"]), { stdout: /demo\/it +2 +disabled/ });
  t.match(await appliance.ok(["op", "versions", "demo/it"]), { stdout: /^Disabled: nothing of it runs/ });
  t.match(await appliance.cli(["run", "demo/it"]), { status: 3, stderr: /disabled/ });
  await appliance.ok(["op", "activate", "demo/it", "2"]);
  t.equal(await says(), "two\n");
});

t.test("how two versions differ: what they may do first, then their text", async (t) => {
  await appliance.ok([
    "op",
    "publish",
    folder("echo three", 'network: ["example.com:443"]\nlimits: {time: 5s}\n'),
    "--no-activate",
  ]);
  const { stdout } = await appliance.ok(["op", "diff", "demo/it"]);
  t.match(
    stdout,
    /version 2 -> 3[\s\S]*network: \[\] -> [\s\S]*limits\.timeMs: 60000 -> 5000\n[\s\S]*main\.sh: changed[\s\S]*-echo two[\s\S]*\+echo three/,
  );
  t.match(await appliance.ok(["op", "diff", "demo/it", "3", "3"]), { stdout: /No difference/ });
  const { files } = await json<{ files: object[] }>(["op", "diff", "demo/it", "1", "2"]);
  t.match(files, [{ path: "main.sh", change: "changed" }]);
  await caughtUp(appliance);
  t.ok(logged(appliance, "op.code_read").length >= 4, "reading code is in the log");
});

t.test("two persons: nobody activates what they published", { skip: needsRoot }, async (t) => {
  await appliance.ok(["user", "add", "carl", "--host-user", "nobody"]);
  await appliance.ok(["role", "grant", "coder", "demo", "carl"]);
  await appliance.ok(["namespace", "two-person-publish", "demo", "on"]);
  const mine = folder("echo four");
  t.match(await appliance.ok(["op", "publish", mine]), {
    stdout: /version 4.*not active[\s\S]*warning: it is not active: In this namespace nobody/,
  });
  t.equal(await says(), "two\n");
  for (const args of [
    ["activate", "demo/it", "4"],
    ["rollback", "demo/it", "4"],
    ["publish", mine],
  ])
    t.match(
      await appliance.cli(["op", ...args]),
      args[0] === "publish"
        ? { status: 0, stdout: /not active/ }
        : { status: 3, stderr: /two-person-publish/ },
      args.join(" "),
    );
  t.equal(await says(), "two\n");
  // Publishing the same again makes nobody else its publisher: whoever did not write it may activate it.
  t.match(await appliance.cliAs(OTHER_ACCOUNT, ["op", "activate", "demo/it", "4"]), { status: 0 });
  t.equal(await says(), "four\n");
  t.match(await appliance.cliAs(OTHER_ACCOUNT, ["namespace", "two-person-publish", "demo", "off"]), {
    status: 3,
  });
  await appliance.ok(["namespace", "two-person-publish", "demo", "off"]);
  await appliance.ok(["op", "publish", folder("echo five")]);
  t.equal(await says(), "five\n");
  await appliance.ok(["user", "add", "rita"]);
  t.match(await appliance.cliAs(OTHER_ACCOUNT, ["op", "diff", "demo/it", "4", "5"]), {
    status: 0,
    stdout: /five/,
  });
  await appliance.ok(["role", "revoke", "coder", "demo", "carl"]);
  await appliance.ok(["role", "grant", "runner", "demo", "carl"]);
  t.match(await appliance.cliAs(OTHER_ACCOUNT, ["op", "diff", "demo/it", "4", "5"]), {
    status: 3,
    stderr: /read the code/,
  });
  t.match(await appliance.cliAs(OTHER_ACCOUNT, ["op", "activate", "demo/it", "4"]), { status: 3 });
  await caughtUp(appliance);
  t.match(
    logged(appliance, "namespace.two_person_publish").map(({ sallyport }) => sallyport.on),
    [true, false],
  );
});

t.test("of two activations at once one is the last, and both are in the log", async (t) => {
  const run = join(appliance.dir, "run");
  const activate = (version: number) => callKeeper(run, "op.activate", { op: "demo/it", version });
  await Promise.all([activate(1), activate(2), activate(1), activate(2)]);
  const { active, activations } = await json<{ active: number; activations: { version: number }[] }>([
    "op",
    "versions",
    "demo/it",
  ]);
  t.equal(activations[0]?.version, active);
  t.equal(await says(), active === 1 ? "one\n" : "two\n");
});
