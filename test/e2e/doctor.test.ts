import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { ROLE_NAMES } from "../../src/keeper/doctor-checks.ts";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";
import { asAccount, OTHER_ACCOUNT, programForOthers, until } from "./appliance.ts";

/** Those that are always there: without a vault in sallyport.yaml no courier. */
const ROLES = ROLE_NAMES.filter((role) => role !== "courier");

t.setTimeout(FILE_TIMEOUT);

type Report = { ok: boolean; checks: { name: string; ok: boolean; warn?: true; detail: string }[] };
const INSIDE = "DOCTOR_TEST";
const SETTING = "/proc/sys/user/max_user_namespaces";
/** Within it a new question is answered with the last test. */
const FRESH_MS = 5000;
const box = new Box();
t.teardown(() => box.stop());
const doctor = async () => (await callKeeper(box.runDir, "doctor", {})) as Report;
const named = (report: Report, begin: string) => report.checks.filter(({ name }) => name.startsWith(begin));

if (process.env[INSIDE] === undefined) {
  t.test("sealed: host, roles and sandbox are told of without a key", async (t) => {
    await box.init();
    await box.serve();
    await until(
      async () =>
        (await doctor()).checks.filter(({ name }) => name.endsWith(": system calls")).length === ROLES.length,
      20_000,
      () => box.log,
    );
    const report = await doctor();
    for (const role of ROLES)
      t.match(named(report, `${role}: system calls`), [
        { ok: true, detail: /^[3-9] seccomp filters, no_new_privs, no capabilities$/ },
      ]);
    t.ok(named(report, "sandbox: ").length > 100, "the whole self-test");
    for (const fact of ["kernel", "processor", "SMT", "user namespaces", "Yama", "Landlock", "auditd"])
      t.equal(named(report, `host: ${fact}`).length > 0, true, fact);
    t.notMatch(
      JSON.stringify(named(report, "host: processor")),
      /can't be read/,
      "Landlock lets the runner read what it needs of /sys",
    );
    const told = await box.cli(["doctor"]);
    t.match(told.stdout, /^(fine |warn ) {2}host: kernel: [0-9]/m);
  });

  t.test("unlocked: what the host is like is in the log, once", async (t) => {
    await box.unlock();
    await box.tested();
    const { entry } = await box.event("sandbox.selftest");
    t.match(entry.data, { kernel: /^[0-9]+\./, landlock: /=/, auditd: /./, cgroup: /./ });
    await doctor();
    t.equal(
      (await box.entries({ type: "sandbox.selftest" })).length,
      1,
      "a test that says the same is no news",
    );
    await box.stopServing();
  });

  // Root outside could map no other account to a run: an ordinary user's namespace maps its own.
  const drop = process.getuid?.() === 0 ? asAccount(OTHER_ACCOUNT) : [];
  const self = fileURLToPath(import.meta.url);
  const inside = (command: string[]) => {
    const [file = "", ...args] = [...drop, "unshare", "-U", "-r", ...command];
    return spawnSync(file, args, {
      env: { ...process.env, HOME: "/", [INSIDE]: "1", SALLYPORT_TEST_PROGRAM: programForOthers()[0] },
      encoding: "utf8",
    });
  };
  const skip =
    inside(["sh", "-c", `echo 100 > ${SETTING} && cat ${self}`]).status === 0
      ? false
      : "needs an ordinary user's namespace, to forbid more of them in it, and a checkout that such a user can read";
  t.test("a setting that changes while it serves", { skip }, (t) => {
    const ran = inside([process.execPath, self]);
    t.equal(ran.status, 0, "is found");
    if (ran.status !== 0) t.comment(`${ran.stdout}\n${ran.stderr}`);
    t.match(ran.stdout, /no Op runs any more/);
    t.end();
  });
} else {
  t.test("inside", async (t) => {
    writeFileSync(SETTING, "1000");
    await box.unlocked();
    await box.demo();
    await box.op("hello", "echo hello");
    await box.op("slow", "echo begun; sleep 3; echo ended");
    t.equal((await box.cli(["run", "demo/hello"])).stdout, "hello\n");
    t.equal((await doctor()).checks.find(({ name }) => name === "sandbox: set up a sandbox")?.ok, true);

    const slow = box.cli(["run", "demo/slow"]);
    await until(async () => (await box.status()).running === 1, 15_000);
    writeFileSync(SETTING, "0");
    await new Promise((resolve) => setTimeout(resolve, FRESH_MS));
    const report = await doctor();
    t.equal(report.ok, false);
    t.match(
      report.checks.find(({ ok, name }) => !ok && name.startsWith("sandbox")),
      { detail: /user\.max_user_namespaces/ },
    );
    t.match(named(report, "host: user namespaces"), [{ warn: true, detail: /no Op runs/ }]);
    t.match(await slow, { status: 0, stdout: "begun\nended\n" }, "what was running has run on");
    const refused = await box.cli(["run", "demo/hello"]);
    t.equal(refused.status === 0, false, "no Op runs any more");
    t.match(refused.stderr, /self-test failed.*user\.max_user_namespaces/is);
    const { entry } = await box.event("sandbox.selftest", ({ outcome }) => outcome === "failure");
    t.match(entry.reason, /user\.max_user_namespaces/, "the event says what to change");

    writeFileSync(SETTING, "1000");
    await new Promise((resolve) => setTimeout(resolve, FRESH_MS));
    t.equal((await doctor()).checks.find(({ name }) => name === "sandbox: set up a sandbox")?.ok, true);
    t.equal((await box.cli(["run", "demo/hello"])).stdout, "hello\n", "and again when it is mended");
    t.equal((await box.entries({ type: "sandbox.selftest" })).length, 3);
  });
}
