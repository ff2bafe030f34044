import t from "tap";
import { until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT, isAlive, type LogEntry, marker, processTable } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

async function make(t: { teardown(call: () => unknown): void }): Promise<Box> {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.unlocked();
  await box.demo();
  await box.op(
    "nap",
    'echo up; (setsid sleep "$INPUT_FOR" &); exec sleep "$INPUT_FOR"',
    "inputs:\n  for: {type: string}\n",
  );
  return box;
}

async function nap(box: Box): Promise<{ mark: string; ended: ReturnType<Box["cli"]> }> {
  const mark = marker();
  const ended = box.cli(["run", "demo/nap", "--for", mark]);
  await until(
    () => isAlive(mark),
    15_000,
    () => box.log,
  );
  return { mark, ended };
}

const outcomes = async (box: Box): Promise<LogEntry[]> => box.entries({ type: "run.finished" });

t.test("kill -9 of each role", async (t) => {
  const box = await make(t);
  const keeper = box.role("keeper");
  let mark = "";

  for (const role of ["gateway", "notary"] as const) {
    await t.test(`${role}: started again, said so; the others and a run don't mind`, async (t) => {
      const { mark, ended } = await nap(box);
      await box.killAndWait(role);
      t.match(box.log, new RegExp(`${role} ended by itself and is started again`));
      t.match((await box.event("role.lost", (e) => e.data?.role === role)).entry, { outcome: "failure" });
      await box.event("role.started", (e) => e.data?.role === role);
      t.equal(box.role("keeper"), keeper);
      t.match(await box.status(), { state: "unlocked", halted: null });
      t.ok(isAlive(mark), "the run goes on");
      const [live] = await runsOf(box);
      await box.ok(["cancel", live ?? ""]);
      await ended;
      t.ok(await box.verifies(), "the log is signed on");
    });
  }

  await t.test("runner: its runs are dead and recorded as lost, once", async (t) => {
    const lost = await nap(box);
    const before = (await outcomes(box)).length;
    await box.killAndWait("runner");
    const said = await lost.ended;
    t.equal(said.status, 1);
    t.match(said.stderr, /lost: The runner's process ended; nothing of the run is left/);
    t.notOk(isAlive(lost.mark), "which is true");
    const now = await outcomes(box);
    t.equal(now.length, before + 1);
    t.match(now.at(-1)?.entry, { outcome: "unknown", data: { state: "lost" } });
    t.equal(box.role("keeper"), keeper);
    await box.tested();
    mark = (await nap(box)).mark;
    t.ok(isAlive(mark), "and the next one runs");
  });

  await t.test(
    "keeper: everything starts anew, sealed; its runs are dead and recorded as lost, once",
    async (t) => {
      const [run = ""] = await runsOf(box);
      t.ok(isAlive(mark), "a run is live");
      process.kill(keeper, "SIGKILL");
      await until(() => box.role("keeper") !== keeper, 15_000);
      await box.sealedAgain();
      t.notOk(isAlive(mark), "nothing of the run");
      await box.unlock();
      await box.tested();
      const own = await box.entries({ type: "run.finished", run });
      t.equal(own.length, 1);
      t.match(own[0]?.entry, { outcome: "unknown", data: { state: "lost" } });
      t.ok(await box.verifies());
      t.match(await box.cli(["runs", "show", run, "--json"]), { status: 0, stdout: /"state": "lost"/ });
    },
  );
});

t.test("five deaths within a minute stop everything", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.init();
  await box.serve();
  for (let i = 0; i < 4; i++) await box.killAndWait("gateway");
  const pids = new Set(box.processes().map(({ pid }) => pid));
  process.kill(box.role("gateway"), "SIGKILL");
  t.equal(await box.exited(), 1);
  await until(() => /5 deaths within 60 s: sallyport stops/.test(box.log), 15_000);
  t.same(
    processTable().filter(({ pid }) => pids.has(pid)),
    [],
  );
});

t.test("kill -9 of the launcher, and of the supervisor", async (t) => {
  const box = await make(t);
  await t.test("the launcher takes its runs and the runner with it; both are started again", async (t) => {
    const { mark, ended } = await nap(box);
    const runner = box.role("runner");
    const launcher = box.processes().find(({ argv }) => /^\/proc\/self\/fd\/[0-9]+ runner /.test(argv));
    t.ok(launcher);
    process.kill(launcher?.pid ?? 0, "SIGKILL");
    t.match(await ended, { status: 1, stderr: /lost/ });
    await until(() => !isAlive(mark), 15_000);
    await until(
      async () => ![0, runner].includes(box.role("runner")) && (await box.status()).roles.runner,
      15_000,
    );
    t.equal((await outcomes(box)).length, 1);
    await box.tested();
  });

  await t.test("the supervisor takes every role and run with it; the next start goes on", async (t) => {
    const { mark } = await nap(box);
    const pids = new Set(box.processes().map(({ pid }) => pid));
    box.serving?.kill("SIGKILL");
    const left = () => processTable().filter(({ pid }) => pids.has(pid));
    await until(
      () => left().length === 0 && !isAlive(mark),
      15_000,
      () => JSON.stringify(left()),
    );
    t.pass("nothing is left");
    await box.serve();
    await box.unlock();
    await box.tested();
    const all = await outcomes(box);
    t.equal(all.length, 2, "one outcome each");
    // The keeper sees its supervisor's socket close before the kernel kills it, and may still record the end itself.
    t.match(all.at(-1)?.entry.data, { state: /^(lost|canceled)$/ });
    t.ok(await box.verifies());
    const next = await nap(box);
    t.ok(isAlive(next.mark));
  });
});

/** Ids of the runs that are live. */
async function runsOf(box: Box): Promise<string[]> {
  const said = (await box.ok(["runs", "--json"])).json() as { runs: { run: string; state: string }[] };
  return said.runs.filter(({ state }) => state === "running").map(({ run }) => run);
}
