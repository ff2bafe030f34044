import t from "tap";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

type Shown = { state: string; usage: Record<string, unknown> };

t.test("what bounded a run and what it used, in its record, the log and the CLI", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.unlocked();
  await box.demo();
  await box.op("work", "sleep 1 & sleep 1 & wait; head -c 1000 /dev/zero | tr '\\0' x");
  await box.op("dies", "kill -KILL $$");

  const { sandbox = "" } = await box.status();
  const limitedBy = /limits by cgroup (v\d)/.exec(sandbox)?.[1];
  const means = limitedBy === undefined ? "best-effort" : `cgroup ${limitedBy}`;
  t.match(sandbox, /^tested, limits by (cgroup v\d|rlimits and watching; degraded: .*best-effort)/);

  t.equal((await box.cli(["run", "demo/work"])).stdout.length, 1000);
  const last = async () =>
    ((await box.ok(["runs", "--json"])).json() as { runs: { run: string }[] }).runs[0]!.run;
  const id = await last();
  const shown = (await box.ok(["runs", "show", id, "--json"])).json() as Shown;
  const { usage } = shown;
  t.match(usage, { limitedBy: means, outputBytes: 1000, truncated: false });
  for (const name of ["wallMs", "cpuMs", "userMs", "systemMs", "peakMemoryBytes", "processes"])
    t.type(usage[name], "number", name);
  t.ok((usage.wallMs as number) >= 900 && (usage.processes as number) >= 3, JSON.stringify(usage));
  t.match((await box.ok(["runs", "show", id])).stdout, new RegExp(`^usage .*limitedBy: ${means}`, "m"));
  const [entry] = await box.entries({ type: "run.finished", run: id });
  t.match(entry?.entry.data, { limitedBy: means, processes: usage.processes });

  const dies = await box.cli(["run", "demo/dies"]);
  t.match(dies.stderr, new RegExp(`failed: .*(MiB).*limited by ${means}`));
});

t.test("no configuration: limits are required", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  // As an ordinary user without a delegated group, or root where no hierarchy can be written, no Op runs.
  box.configure("{}\n");
  await box.unlocked();
  await box.demo();
  await box.op("hello", "echo hello");
  const { sandbox = "" } = await box.status();
  const said = await box.cli(["run", "demo/hello"]);
  const doctor = await box.cli(["doctor"]);
  if (/^tested, limits by cgroup/.test(sandbox)) {
    t.match(said, { status: 0, stdout: "hello\n" });
    t.notMatch(doctor.stdout, /^WRONG.*limits/m);
    return;
  }
  t.equal(sandbox, "failed: limits; sallyport doctor says what to do");
  t.match(doctor, { status: 1, stdout: /^WRONG {2}sandbox: limits: .*Delegate=yes.*limits: best-effort/m });
  t.match(said, {
    status: 1,
    stdout: "",
    stderr: /limits: no cgroup bounds memory and processes.*best-effort/,
  });
  box.configure("limits: best-effort\n");
  await box.stopServing();
  await box.serve();
  await box.unlock();
  await box.tested();
  t.match(await box.cli(["run", "demo/hello"]), { status: 0, stdout: "hello\n" });
});
