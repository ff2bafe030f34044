import { spawn } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { repoPath } from "../../src/host/self.ts";
import { programForOthers, type Result, TestAppliance } from "./appliance.ts";
import { answer, caughtUp, EXAMPLES, logged, opFolder, plain } from "./slack-rig.ts";

/** Ops on their way in: what `op validate` and `op publish` refuse, who may publish, which version runs. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
await appliance.ok(["user", "add", "carol", "--host-user", "61234"]);

const GOOD = `op: demo/good\nsummary: Fine\nrun: ["./main.sh"]\n`;
const MAIN = { "main.sh": "#!/bin/sh\necho one\n" };
const folder = (manifest = GOOD, files: Record<string, string> = MAIN) =>
  opFolder(appliance, manifest, files);
const with_ = (extra: string) => folder(GOOD + extra);
function dir(make: (dir: string) => void): string {
  const made = folder();
  make(made);
  return made;
}

const BAD: Record<string, string> = {
  "no op.yaml": dir((d) => {
    cpSync(join(d, "op.yaml"), join(d, "other.yaml"));
    chmodSync(join(d, "op.yaml"), 0o644);
    writeFileSync(join(d, "op.yaml"), "");
  }),
  "an empty folder": (() => {
    const made = join(appliance.dir, "empty");
    mkdirSync(made);
    return made;
  })(),
  "a folder that is not there": join(appliance.dir, "none"),
  "a file": join(EXAMPLES, "hello/op.yaml"),
  "an unknown key": with_("colour: red\n"),
  "an unknown key further down": with_("limits: {time: 1s, colour: red}\n"),
  "a key twice": with_("summary: Again\n"),
  "a tag": with_("limits: !!js/function 'x'\n"),
  "an alias": with_("inputs: &a {x: {type: string}}\nsecrets: *a\n"),
  "two documents": with_("---\nop: demo/other\n"),
  "text that is no YAML": folder("op: [\n"),
  "a list": folder("- op\n"),
  "no name": folder(`summary: x\nrun: ["./main.sh"]\n`),
  "a name without namespace": folder(`op: good\nsummary: x\nrun: ["./main.sh"]\n`),
  "a name in capitals": folder(`op: demo/Good\nsummary: x\nrun: ["./main.sh"]\n`),
  "a name that climbs": folder(`op: demo/../x\nsummary: x\nrun: ["./main.sh"]\n`),
  "no command": folder("op: demo/good\nsummary: x\n"),
  "two commands": with_("runtime: shell\nentry: main.sh\n"),
  "a command as text": folder(`op: demo/good\nsummary: x\nrun: ./main.sh --x\n`),
  "an input inside an element": folder(
    `op: demo/good\nsummary: x\nrun: ["./main.sh", "--name=\${x}"]\ninputs: {x: {type: string, required: true}}\n`,
    MAIN,
  ),
  "an input that is not declared": folder(`op: demo/good\nsummary: x\nrun: ["./main.sh", "\${x}"]\n`),
  "a type that does not exist": with_("inputs: {x: {type: object}}\n"),
  "a default of another type": with_("inputs: {x: {type: integer, default: one}}\n"),
  "a default beyond its bound": with_("inputs: {x: {type: integer, maximum: 3, default: 4}}\n"),
  "an input named like a prototype": with_("inputs: {__proto__: {type: string}}\n"),
  "a time limit of nothing": with_("limits: {time: 0s}\n"),
  "a time limit of a year": with_("limits: {time: 9000h}\n"),
  "memory without a unit": with_("limits: {memory: lots}\n"),
  "a channel by name": with_("channels: ['#ops']\n"),
  "a network target without a port": with_("network: [api.internal]\n"),
  "a secret in lower case": with_("secrets: [key]\n"),
  "a confirmation that does not exist": with_("confirm: maybe\n"),
  "concurrency of nothing": with_("concurrency: 0\n"),
  "a program that is not in the folder": folder(`op: demo/good\nsummary: x\nrun: ["./other.sh"]\n`),
  "a program that climbs out": folder(`op: demo/good\nsummary: x\nrun: ["./../main.sh"]\n`),
  "a program that can't be executed": folder(GOOD, { "main.sh": "echo no hashbang, mode 644\n" }),
  "an entry that is not there": folder("op: demo/good\nsummary: x\nruntime: shell\nentry: gone.sh\n"),
  "a symbolic link": dir((d) => symlinkSync("/etc/passwd", join(d, "passwd"))),
  "a folder by link": dir((d) => symlinkSync("/etc", join(d, "etc"))),
  "a name with a line break": dir((d) => writeFileSync(join(d, "a\nb"), "")),
  "the name that sallyport writes itself": dir((d) => writeFileSync(join(d, "input.json"), "{}")),
  "a description that no log can hold": with_('inputs: {x: {type: string, description: "\\ud800"}}\n'),
  "an input as a shell's script": folder(
    `op: demo/good\nsummary: x\nrun: [sh, "-c", "\u0024{x}"]\ninputs: {x: {type: string, required: true}}\n`,
  ),
  "less memory than the files need": dir((d) => {
    writeFileSync(join(d, "op.yaml"), `${GOOD}limits: {memory: 4MiB}\n`);
    writeFileSync(join(d, "big"), Buffer.alloc(4 * 1024 * 1024));
  }),
  "a folder where sallyport writes a file": dir((d) => {
    mkdirSync(join(d, "input.json"));
    writeFileSync(join(d, "input.json/x"), "");
  }),
  "513 files": dir((d) => {
    for (let i = 0; i < 513; i++) writeFileSync(join(d, `f${i}`), "");
  }),
  "more than 8 MiB": dir((d) => writeFileSync(join(d, "big"), Buffer.alloc(8 * 1024 * 1024 + 1))),
  "op.yaml of a megabyte": folder(`${GOOD}# ${"x".repeat(1024 * 1024)}\n`),
  "too deep": dir((d) => {
    const deep = join(d, ...Array.from({ length: 17 }, () => "d"));
    mkdirSync(deep, { recursive: true });
    writeFileSync(join(deep, "f"), "");
  }),
};

t.test(
  "a bad folder gets one clear error from validate and from publish, and nothing is stored",
  async (t) => {
    for (const [what, path] of Object.entries(BAD)) {
      const [validated, published] = await Promise.all([
        appliance.cli(["op", "validate", path]),
        appliance.cli(["op", "publish", path]),
      ]);
      for (const said of [validated, published] as Result[]) {
        t.equal(said.status, 2, `${what}: ${said.stderr.trim().slice(0, 160)}${said.stdout.slice(0, 80)}`);
        t.notMatch(said.stderr, /\n\s+at |internal error|undefined/, `${what}: no trace`);
        t.ok(said.stderr.trim().split("\n").length <= 2, `${what}: one error`);
      }
    }
    t.same((await appliance.ok(["op", "list", "--json"])).json(), { ops: [] });
    await caughtUp(appliance);
    t.equal(logged(appliance, "op.published").length, 0);
  },
);

t.test("what reaches the keeper all the same is refused there, and that is an event", async (t) => {
  const call = callKeeper(
    join(appliance.dir, "run"),
    "op.publish",
    { activate: true },
    { parts: [Buffer.from("SPB1")] },
  );
  await t.rejects(call, { code: "bundle_invalid" });
  const { entries } = (await appliance.ok(["audit", "log", "--type", "op.refused", "--json"])).json() as {
    entries: { entry: { outcome: string; data: { code: string } } }[];
  };
  t.match(
    entries.map(({ entry }) => entry),
    [{ outcome: "denied", data: { code: "bundle_invalid" } }],
  );
});

t.test("a good one: same content, same version; another content, the next; and back", async (t) => {
  const one = folder();
  t.equal((await appliance.cli(["op", "validate", one])).status, 0);
  type Published = { version: number; digest: string };
  const first = (await appliance.publish(one)).json() as Published;
  const same = (await appliance.publish(folder())).json() as Published;
  t.same([same.version, same.digest], [first.version, first.digest]);
  const two = (
    await appliance.publish(folder(GOOD, { "main.sh": "#!/bin/sh\necho two\n" }))
  ).json() as Published;
  t.equal(two.version, first.version + 1);
  t.not(two.digest, first.digest);
  const output = async (): Promise<string> => {
    const before = workspace.messages("ops").length;
    await workspace.command("bob", "ops", "/ops run demo/good").ack;
    const shown = await workspace.waitFor(
      () => workspace.messages("ops").find((m, i) => i >= before && /succeeded/.test(plain(m))),
      20_000,
    );
    return /│ (\w+)/.exec(plain(shown))?.[1] ?? "";
  };
  t.equal(await output(), "two");
  await appliance.ok(["op", "rollback", "demo/good", "1"]);
  t.equal(await output(), "one");
  t.equal((await appliance.cli(["op", "activate", "demo/good", "9"])).status, 1, "no such version");
  for (const args of [
    ["op", "activate", "demo/good", "two"],
    ["op", "show", "demo/good", "--version-number", "1e1"],
  ])
    t.match(await appliance.cli(args), { status: 2, stderr: /A version is a whole number/ });
  await appliance.ok(["op", "activate", "demo/good", "2"]);
  t.equal(await output(), "two");

  await appliance.ok(["op", "disable", "demo/good"]);
  await caughtUp(appliance);
  const runs = logged(appliance, "run.requested").length;
  const refused = await answer(workspace.command("bob", "ops", "/ops run demo/good"));
  t.match(refused, /disabled/);
  await caughtUp(appliance);
  t.equal(logged(appliance, "authz.denied").at(-1)?.rule?.id, "op-disabled");
  t.notMatch(await answer(workspace.command("bob", "ops", "/ops list")), /demo\/good/);
  await caughtUp(appliance);
  t.equal(logged(appliance, "run.requested").length, runs);
  await appliance.ok(["op", "activate", "demo/good", "2"]);
  t.equal(await output(), "two", "activated again");
});

t.test("validate says what publish says", async (t) => {
  const path = folder(
    `op: demo/asks\nsummary: x\nrun: ["./main.sh", "\u0024{x}"]\ninputs: {x: {type: string, required: true}}\nsecrets: [KEY]\nconfirm: totp\n`,
  );
  type Told = { digest: string; warnings: string[] };
  const validated = (await appliance.ok(["op", "validate", path, "--json"])).json() as Told;
  const published = (await appliance.publish(path)).json() as Told;
  t.same(validated.warnings, published.warnings);
  t.equal(validated.digest, published.digest);
  t.match(validated.warnings, [/may be read as an option/]);
});

t.test("a system call profile of the bundle's own", async (t) => {
  const shipped = JSON.parse(readFileSync(repoPath("policies/seccomp/network.json"), "utf8"));
  const allow = (...names: string[]) => ({ names, action: "SCMP_ACT_ALLOW" });
  for (const rule of shipped.syscalls)
    rule.names = (rule.names as string[]).filter((name) => name !== "umask");
  const profile = {
    ...shipped,
    defaultErrnoRet: 1,
    syscalls: [...shipped.syscalls, allow("clone", "ptrace")],
  };
  const made = (own: object) =>
    folder(`${GOOD.replace("good", "own")}seccomp: own.json\n`, {
      "main.sh": "#!/bin/sh\numask 22\necho ran\n",
      "own.json": JSON.stringify(own),
    });
  const warnings = [/some arguments only: clone\./, /keeps these refused: ptrace\./];
  const path = made(profile);
  t.match(
    ((await appliance.ok(["op", "validate", path, "--json"])).json() as { warnings: string[] }).warnings,
    warnings,
  );
  t.match(((await appliance.publish(path)).json() as { warnings: string[] }).warnings, warnings);
  const run = (await appliance.ok(["run", "demo/own", "--json"])).json() as { run: string; output: string };
  t.equal(run.output, "ran\n");
  await caughtUp(appliance);
  t.ok(
    logged(appliance, "sandbox.denied").some((e) => JSON.stringify(e).includes("umask")),
    "a refusal is an event",
  );

  const wide = made({ ...profile, syscalls: [allow("read", "bpf")] });
  for (const word of ["validate", "publish"]) {
    const said = await appliance.cli(["op", word, wide]);
    t.equal(said.status, 2, word);
    t.match(said.stderr, /seccomp, own\.json: it allows what the ceiling never does: bpf/, word);
  }
  await caughtUp(appliance);
  t.ok(logged(appliance, "op.refused").some((e) => JSON.stringify(e).includes("never does: bpf")));
});

t.test("who is no coder does not publish, roll back, disable or look", { skip: rootOnly() }, async (t) => {
  const path = join(appliance.dir, "carol");
  cpSync(folder(`op: demo/carols\nsummary: x\nrun: ["./main.sh"]\n`), path, { recursive: true });
  chmodSync(path, 0o755);
  const carol = (args: string[]) => asUser(61234, args);
  const TRIES: string[][] = [
    ["op", "publish", path],
    ["op", "rollback", "demo/good", "1"],
    ["op", "disable", "demo/good"],
    ["op", "show", "demo/good"],
    ["op", "versions", "demo/good"],
    ["role", "grant", "admin", "*", "carol"],
    ["user", "add", "eve"],
    ["audit", "log"],
    ["run", "demo/good"],
  ];
  for (const args of TRIES) {
    const said = await carol(args);
    t.equal(said.status, 3, `${args.join(" ")}: ${said.stderr.trim()}`);
  }
  await caughtUp(appliance);
  const denied = logged(appliance, "authz.denied").slice(-TRIES.length);
  t.ok(denied.every((line) => line.rule?.id === "default-deny"));
  t.same((await carol(["op", "list", "--json"])).json(), { ops: [] });
  t.equal((await carol(["op", "validate", path])).status, 0, "to validate needs no right");
  await appliance.ok(["role", "grant", "coder", "demo", "carol"]);
  t.equal((await carol(["op", "publish", path])).status, 0, "a coder does");
  t.equal((await asUser(61999, ["op", "list"])).status, 3, "a host account that is nobody's");
  await appliance.ok(["user", "disable", "carol"]);
  t.equal((await carol(["op", "list"])).status, 3, "a disabled user");
});

t.test("a namespace that is not there", async (t) => {
  const said = await appliance.cli([
    "op",
    "publish",
    folder(`op: nowhere/x\nsummary: x\nrun: ["./main.sh"]\n`),
  ]);
  t.equal(said.status, 1);
  t.match(said.stderr, /sallyport namespace add nowhere/);
});

function rootOnly(): string | false {
  return process.getuid?.() === 0 ? false : "only root can call as another host account";
}

function asUser(uid: number, args: string[]): Promise<Result> {
  const [file = "", ...own] = programForOthers();
  const child = spawn(file, [...own, ...args], {
    env: appliance.env,
    stdio: ["ignore", "pipe", "pipe"],
    uid,
    gid: uid,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  return new Promise((resolve) => {
    child.once("close", (status) =>
      resolve({ status, stdout, stderr, json: () => JSON.parse(stdout) as never }),
    );
  });
}
