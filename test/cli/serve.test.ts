import childProcess, { type ChildProcess, spawn } from "node:child_process";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { pino } from "pino";
import t from "tap";
import { Supervisor } from "../../src/cli/supervisor.ts";
import { program, until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT, processTable } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

t.test("told to end while it starts, it ends with 0", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.init();
  const [file = "", ...args] = program();
  const serve = spawn(file, [...args, "serve"], { env: box.env, stdio: ["ignore", "ignore", "pipe"] });
  t.teardown(() => serve.kill("SIGKILL"));
  let said = "";
  serve.stderr.on("data", (chunk) => (said += chunk));
  const ended = new Promise<number | null>((resolve) => serve.once("close", resolve));
  const keeper = () => processTable().find(({ parent }) => parent === serve.pid)?.pid;
  await until(
    () => keeper() !== undefined,
    30_000,
    () => said,
  );
  // Stopped, it never gets ready, so that the signal comes before the start is over.
  process.kill(keeper()!, "SIGSTOP");
  serve.kill("SIGTERM");
  t.equal(await ended, 0, said);
});

t.test("a role that dies is named in one field of its own", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.init();
  await box.serve();
  await box.sealedAgain();
  await box.killAndWait("runner");
  const line = box.log.split("\n").find((one) => one.includes("ended by itself")) ?? "{}";
  t.match(JSON.parse(line), { role: "supervisor", child: "runner" });
  t.equal(line.split('"role":').length, 2, line);
});

t.test("a keeper whose process can't be made is said at once", async (t) => {
  const real = childProcess.spawn;
  t.teardown(() => {
    childProcess.spawn = real;
    syncBuiltinESMExports();
  });
  const dir = t.testdir();
  const dirs = { state: join(dir, "state"), run: join(dir, "run"), log: join(dir, "log") };
  const log = pino({ level: "silent" });
  const failing: [string, () => ChildProcess][] = [
    ["ENOENT", () => real("/nonexistent")],
    [
      "EPERM",
      () => {
        throw Object.assign(new Error("spawn EPERM"), { code: "EPERM" });
      },
    ],
  ];
  for (const [code, spawn] of failing) {
    childProcess.spawn = spawn as typeof real;
    syncBuiltinESMExports();
    const supervisor = new Supervisor({
      dirs,
      slackApiUrl: "https://slack.com/api/",
      limits: "best-effort",
      runtimes: "",
      private: [],
      engine: "native",
      resources: [],
      vaults: {},
      log,
    });
    const why = { code: "start_failed", message: new RegExp(`process can't be made \\(${code}\\)`) };
    await t.rejects(supervisor.start(), why);
    await supervisor.stop(1);
    t.equal(await supervisor.ended, 1);
  }
});
