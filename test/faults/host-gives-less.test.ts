import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { ROLE_NAMES } from "../../src/keeper/doctor-checks.ts";
import { asAccount, OTHER_ACCOUNT, programForOthers } from "../e2e/appliance.ts";
import { compileFilter } from "../sandbox/support/spec.ts";
import { Box, FILE_TIMEOUT } from "./support.ts";

/** Those that are always there: without a vault in sallyport.yaml no courier. */
const ROLES = ROLE_NAMES.filter((role) => role !== "courier");

/** What is around sallyport takes something from it: either no Op runs, or it is told what is missing. Each by a whole `serve`. */
t.setTimeout(FILE_TIMEOUT);

type Check = { name: string; ok: boolean; warn?: true; detail: string };
const self = fileURLToPath(import.meta.url);
const INSIDE = "HOST_GIVES_LESS";
const inside = process.env[INSIDE];

if (inside === undefined) {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-less-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const under = join(folder, "under");
  execFileSync("gcc", ["-std=gnu11", "-O1", "-o", under, join(import.meta.dirname, "under.c")]);
  const filter = (names: string[]) => {
    const path = join(folder, `${names[0]}.bpf`);
    writeFileSync(path, compileFilter([{ names, action: "SCMP_ACT_ERRNO", errnoRet: 1 }]));
    return path;
  };
  chmodSync(folder, 0o755);
  const isRoot = process.getuid?.() === 0;
  const masked = ["unshare", "-m", "sh", "-c", 'mount --bind /proc/sys /proc/sys && exec "$@"', "sh"];
  const around: readonly [name: string, command: string[], skip: string | false][] = [
    ["no Landlock", [under, filter(["landlock_create_ruleset"])], false],
    ["hidden refusals", [under, filter(["bpf", "ptrace"])], false],
    ["another listener", [under, "listener"], false],
    ["masked /proc", [...masked, ...asAccount(OTHER_ACCOUNT)], isRoot ? false : "needs root to mask one"],
  ];
  const inIt = (command: readonly string[], name: string, program: readonly string[]) => {
    const [file = "", ...args] = [...command, ...program];
    const env = { ...process.env, HOME: "/", [INSIDE]: name, SALLYPORT_TEST_PROGRAM: programForOthers()[0] };
    return spawnSync(file, args, { env, encoding: "utf8" });
  };
  for (const [name, command, needs] of around) {
    const skip =
      needs !== false || inIt(command, name, ["cat", self]).status === 0
        ? needs
        : "this host does not allow it, or an ordinary user can't read this checkout";
    t.test(name, { skip }, (t) => {
      const ran = inIt(command, name, [process.execPath, self]);
      t.equal(ran.status, 0, ran.status === 0 ? name : `${ran.stdout}\n${ran.stderr}`);
      t.match(ran.stdout, new RegExp(`# Subtest: ${name}`), "it was looked at");
      t.end();
    });
  }
} else {
  t.test(inside, async (t) => {
    const box = new Box();
    t.teardown(() => box.stop());
    await box.unlocked();
    await box.demo();
    await box.op("hello", "echo hello");
    const report = (await callKeeper(box.runDir, "doctor", {})) as { ok: boolean; checks: Check[] };
    const told = (begin: string) => report.checks.filter(({ name }) => name.startsWith(begin));
    const { sandbox } = await box.status();
    const { entry } = await box.event("sandbox.selftest");
    const ran = await box.cli(["run", "demo/hello"]);

    if (inside === "another listener") {
      const advice = /listener of its own.*start the container without it/;
      t.match(told("sandbox: set up a sandbox"), [{ ok: false, detail: advice }]);
      t.match(entry, { outcome: "failure", reason: advice });
      t.match(ran, { status: 1, stdout: "", stderr: advice });
      t.same(await box.entries({ type: "run.started" }), []);
      return;
    }
    t.match(ran, { status: 0, stdout: "hello\n" }, "the other fences stand");
    t.equal(entry.outcome, "success");
    if (inside === "no Landlock") {
      const roles = report.checks.filter(
        ({ name }) => name.endsWith(": Landlock") && !name.startsWith("host"),
      );
      t.equal(roles.length, ROLES.length);
      for (const role of roles)
        t.match(role, { ok: false, detail: /^refused=EPERM: .*\/sys\/kernel\/security\/lsm/ });
      t.equal(report.ok, false, "and doctor ends with 1");
      t.match(told("host: Landlock"), [{ warn: true, detail: /^refused=EPERM/ }]);
    }
    const missing = {
      "no Landlock": /run without Landlock/,
      "hidden refusals": /before ours can report them: ptrace, bpf$/,
      "masked /proc": /run without \/proc/,
    }[inside];
    t.not(missing, undefined, inside);
    t.ok(
      told("sandbox: degraded").some(({ warn, detail }) => warn === true && missing?.test(detail)),
      `doctor tells of it: ${JSON.stringify(told("sandbox: degraded"))}`,
    );
    t.match(sandbox, new RegExp(`degraded.*${missing?.source.replace("$", "")}`), "status too");
    t.match(entry.data?.degraded, missing?.source.endsWith("$") ? /ptrace, bpf/ : missing, "and the log");
    if (inside === "masked /proc")
      t.equal(readFileSync("/proc/self/status", "utf8").includes("Uid:\t0\t"), false);
  });
}
