import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { COMMANDS } from "../../src/cli/commands.ts";
import { PASSPHRASE } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT, processTable } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const box = new Box();
t.teardown(() => box.stop());

t.test("nothing runs: 5; mistakes: 2", async (t) => {
  for (const args of [["status"], ["lock"], ["runs"], ["audit", "verify"], ["run", "demo/x"]]) {
    const said = await box.cli(args);
    t.equal(said.status, 5, args.join(" "));
    t.match(said.stderr, /not running.*sallyport serve/);
  }
  for (const args of [
    ["frobnicate"],
    ["status", "--frobnicate"],
    ["user"],
    ["user", "frobnicate"],
    ["user", "add"],
    ["user", "list", "surplus"],
    ["link"],
    ["role", "grant", "emperor", "demo", "alice"],
    ["op", "show"],
    ["audit", "log", "--since", "yesterday-ish"],
    ["audit", "log", "--limit", "many"],
    ["serve", "--slack-api-url", "http://slack.example/api/"],
    ["unlock", "--passphrase-fd", "99"],
    ["--state-dir"],
  ]) {
    const said = await box.cli(args);
    t.equal(said.status, 2, `${args.join(" ")}: ${said.stderr}`);
    t.not(said.stderr, "", `${args.join(" ")} says what is wrong`);
    t.notMatch(said.stderr, /\n\s+at /, "no stack");
  }
});

t.test("help and version: 0, without a keeper", async (t) => {
  for (const args of [["--help"], ["help"], [], ["--version"], ["user", "--help"], ["run", "--help"]]) {
    const said = await box.cli(args);
    t.equal(said.status, 0, args.join(" "));
    t.not(said.stdout + said.stderr, "");
  }
  const help = (await box.cli(["--help"])).stdout;
  for (const word of Object.keys(COMMANDS)) t.match(help, word, `help names ${word}`);
});

t.test("unlocked", async (t) => {
  await box.unlocked();
  await box.demo();
  await box.op(
    "exit",
    'echo out; echo err >&2; exit "$INPUT_STATUS"',
    "inputs:\n  status: {type: integer, default: 0}\n",
  );

  await t.test("every command that prints data prints JSON", async (t) => {
    await box.ok(["group", "add", "leads"]);
    const run = ((await box.ok(["run", "demo/exit", "--json"])).json() as { run: string; output: string })
      .run;
    for (const args of [
      ["status"],
      ["doctor"],
      ["slack", "status"],
      ["user", "list"],
      ["user", "show", "alice"],
      ["user", "add", "carol"],
      ["user", "disable", "carol"],
      ["user", "enable", "carol"],
      ["group", "list"],
      ["group", "add", "others"],
      ["group", "member", "add", "leads", "alice"],
      ["role", "list"],
      ["role", "grant", "runner", "demo", "carol"],
      ["namespace", "list"],
      ["op", "list"],
      ["op", "show", "demo/exit"],
      ["op", "versions", "demo/exit"],
      ["op", "validate", join(box.dir, "ops/exit")],
      ["op", "activate", "demo/exit", "1"],
      ["runs"],
      ["runs", "list", "--limit", "1"],
      ["runs", "show", run],
      ["audit", "log"],
      ["audit", "verify"],
      ["audit", "checkpoint"],
    ]) {
      const said = await box.cli([...args, "--json"]);
      t.ok(
        [0, 1].includes(said.status ?? -1) && parses(said.stdout),
        `${args.join(" ")}: ${said.stdout}${said.stderr}`,
      );
    }
    const slack = await box.cli(["slack", "manifest"]);
    t.ok(parses(slack.stdout), "slack manifest");
  });

  await t.test("run ends with the Op's own status", async (t) => {
    for (const status of [0, 1, 7, 255]) {
      const said = await box.cli(["run", "demo/exit", "--status", String(status)]);
      t.match(said, { status, stdout: "out\n", stderr: "err\n" }, String(status));
    }
  });

  await t.test("what is wrong has its status", async (t) => {
    const is = async (status: number, says: RegExp, ...args: string[]) => {
      const said = await box.cli(args);
      t.equal(said.status, status, `${args.join(" ")}: ${said.stderr}`);
      t.match(said.stderr, says);
    };
    await is(2, /status/, "run", "demo/exit", "--status", "seven");
    await is(2, /./, "run", "demo/exit", "--surplus", "1");
    await is(1, /./, "run", "demo/missing");
    await is(1, /./, "runs", "show", "r-0000000000000000");
    await is(1, /./, "user", "show", "nobody");
    await is(1, /./, "user", "add", "alice");
    await is(2, /./, "user", "add", "No Name!");
    await is(1, /./, "role", "grant", "runner", "nowhere", "alice");
    await is(1, /./, "link", "AAAA-BBBB", "--user", "alice");
    await is(2, /op.yaml/, "op", "validate", empty());
    await is(1, /./, "op", "activate", "demo/exit", "99");
    await is(0, /unlocked already/, "unlock", "--passphrase-fd", "0");
  });

  await t.test("state and run directories by flag win over the environment", async (t) => {
    const said = await box.cli(["status", "--run-dir", join(box.dir, "nowhere")]);
    t.equal(said.status, 5);
    const flagged = await box.cli(["--run-dir", box.runDir, "status", "--json"], undefined, {
      SALLYPORT_RUN_DIR: "/nonexistent",
    });
    t.equal(flagged.status, 0, flagged.stderr);
  });

  await t.test("no secret in any argv or environment", (t) => {
    const roles = box.processes();
    t.ok(roles.length >= 4);
    for (const { pid, argv } of [...roles, { pid: box.serving?.pid ?? 0, argv: "serve" }]) {
      t.notOk(argv.includes(PASSPHRASE));
      try {
        const environ = readFileSync(`/proc/${pid}/environ`, "latin1");
        t.notOk(environ.includes(PASSPHRASE), argv.slice(0, 80));
      } catch (error) {
        t.match(error, { code: /EACCES|EPERM/ }, "not dumpable, so not even readable by its own account");
      }
    }
    t.notOk(processTable().some(({ argv }) => argv.includes(PASSPHRASE)));
    t.end();
  });
});

function parses(text: string): boolean {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}

function empty(): string {
  const dir = join(box.dir, "empty-op");
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "readme"), "");
  return dir;
}
