import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { begin, findProcesses, runOp, sh, startLauncher, waitProcesses } from "./launcher.ts";

t.setTimeout(FILE_TIMEOUT);

/** Every process that a run started carries this in its command line. */
let serial = 0;
const newMarker = () => `sallyport-marker-${process.pid}-${++serial}-`;

const started = startLauncher();
const { launcher } = started;
t.teardown(() => started.stop());

/** Ignores TERM in every process. */
const stubborn = (marker: string) => sh(`trap "" TERM; exec ./probe stubborn:${marker}`);
const gone = (marker: string) => waitProcesses(marker, (n) => n === 0, 10_000);
const alive = (marker: string, count: number) => waitProcesses(marker, (n) => n >= count, 15_000);

t.test("cancel: TERM first, so that an Op can tidy up", async (t) => {
  const marker = newMarker();
  const ready = Promise.withResolvers<void>();
  const { run, seen } = begin(
    launcher,
    { argv: sh(`trap 'echo tidy; exit 5' TERM; echo ready; while :; do sleep 0.05; done # ${marker}`) },
    { onOutput: () => ready.resolve() },
  );
  await ready.promise;
  run.cancel(false);
  const { result, stdout } = await seen;
  t.match(result, { outcome: "canceled" });
  t.match(stdout, /tidy/);
  t.equal(await gone(marker), 0);
});

t.test("cancel: what ignores TERM is killed within a second", async (t) => {
  const marker = newMarker();
  const { run, seen } = begin(launcher, { argv: stubborn(marker) });
  t.ok((await alive(marker, 2)) >= 2);
  const at = Date.now();
  run.cancel(false);
  const { result } = await seen;
  t.match(result, { outcome: "canceled", signal: "SIGKILL" });
  t.ok(Date.now() - at < 10_000, `${Date.now() - at} ms; the rest over a second is for a busy machine`);
  t.equal(await gone(marker), 0);
});

t.test("lock: killed at once", async (t) => {
  const marker = newMarker();
  const { run, seen } = begin(launcher, { argv: sh(`trap 'echo tidy' TERM; sleep 60 & wait # ${marker}`) });
  t.ok((await alive(marker, 1)) >= 1);
  run.cancel(true);
  const { result, stdout } = await seen;
  t.match(result, { outcome: "canceled", signal: "SIGKILL" });
  t.equal(stdout, "");
  t.equal(await gone(marker), 0);
});

t.test("cancel before it began, twice, and after its end", async (t) => {
  const { run, seen } = begin(launcher, { argv: ["/bin/sleep", "60"] });
  run.cancel(true);
  run.cancel(true);
  t.equal((await seen).result.outcome, "canceled");
  run.cancel(true);
  run.cancel(false);
  t.equal((await runOp(launcher, { argv: ["/bin/echo", "still there"] })).stdout, "still there\n");
});

t.test("time limit, TERM ignored", async (t) => {
  const marker = newMarker();
  const at = Date.now();
  const { result } = await runOp(launcher, { argv: stubborn(marker), wallMs: 300, graceMs: 300 });
  t.match(result, { outcome: "timed_out", signal: "SIGKILL" });
  const took = Date.now() - at;
  t.ok(took >= 500 && took < 10_000, `${took} ms`);
  t.equal(await gone(marker), 0);
});

t.test("the Op ends: what it left behind ends with it", async (t) => {
  for (const kind of ["daemon", "stopped"]) {
    const marker = newMarker();
    // The sandbox's init, the shell and what the probe left: nothing else is there when the shell counts by itself.
    const count =
      "i=0; while set -- /proc/[0-9]*; [ $# -lt 3 ] && [ $i -lt 150 ]; do sleep 0.1; i=$((i+1)); done; echo $#";
    const seen = await runOp(launcher, { argv: sh(`./probe ${kind}:${marker}; ${count}`) });
    t.match(seen.stdout, /OK\n[3-9]\n/, `${kind}: it was alive while the Op was`);
    t.match(seen.result, { outcome: "exited", exit: 0 });
    t.equal(await gone(marker), 0, kind);
  }
});

t.test("cancel takes daemons and stopped processes along", async (t) => {
  const marker = newMarker();
  const { run, seen } = begin(launcher, {
    argv: sh(`./probe daemon:${marker}a; ./probe stopped:${marker}b; sleep 60 & wait # ${marker}c`),
  });
  t.ok((await alive(marker, 3)) >= 3);
  run.cancel(false);
  t.equal((await seen).result.outcome, "canceled");
  t.equal(await gone(marker), 0);
});

t.test("a fork bomb is bounded and ends", async (t) => {
  const marker = newMarker();
  const { seen } = begin(launcher, {
    argv: ["./probe", `bomb:${marker}`],
    pids: 40,
    wallMs: 700,
    graceMs: 100,
    cpu: 0.5,
  });
  const most = await alive(marker, 20);
  t.ok(most >= 20 && most <= 41, `${most} processes`);
  t.equal((await seen).result.outcome, "timed_out");
  t.equal(await gone(marker), 0);
});

t.test("kill -9 of the launcher: nothing of its runs is left", async (t) => {
  const other = startLauncher();
  const marker = newMarker();
  begin(other.launcher, { argv: sh(`./probe daemon:${marker}a; exec ./probe stubborn:${marker}b`) });
  begin(other.launcher, { argv: ["./probe", `stubborn:${marker}c`] });
  t.ok((await alive(marker, 5)) >= 5);
  other.child.kill("SIGKILL");
  t.match(await other.launcher.ended, /closed/);
  t.equal(await gone(marker), 0);
  const { result } = await runOp(other.launcher, { argv: ["/bin/true"] });
  t.match(result, { outcome: "launch_failed", detail: /launcher has ended/ });
});

t.test("the runner's end of the socket closes: the launcher ends, and all runs", async (t) => {
  const other = startLauncher();
  const marker = newMarker();
  begin(other.launcher, { argv: ["./probe", `stubborn:${marker}`] });
  t.ok((await alive(marker, 2)) >= 2);
  await other.stop();
  t.equal(await gone(marker), 0);
  t.strictSame(findProcesses(marker), []);
});
