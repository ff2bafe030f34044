import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { compile } from "../sandbox/support/probe.ts";
import { runOp, sh, startLauncher, waitProcesses } from "./launcher.ts";

t.setTimeout(FILE_TIMEOUT);

const MIB = 1 << 20;
const ROOT = join(import.meta.dirname, "../..");
const isRoot = process.getuid?.() === 0;
/** An ordinary user has no cgroup on these machines; root has, where a hierarchy can be written. */
const users = isRoot
  ? [{ name: "root" }, { name: "an ordinary user", uid: 54_321 }]
  : [{ name: "this user" }];

for (const { name, uid } of users as { name: string; uid?: number }[]) {
  t.test(`as ${name}`, async (t) => {
    const { launcher, stop } = startLauncher({ uid });
    t.teardown(stop);
    const { cgroup } = await launcher.hello;
    const limitedBy = cgroup === "none" ? "best-effort" : `cgroup ${cgroup}`;
    t.comment(`limited by ${limitedBy}`);

    await t.test("what a run used, and what bounded it, is told", async (t) => {
      const work = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done";
      const { result } = await runOp(launcher, { argv: sh(`sleep 2 & sleep 2 & sleep 2 & ${work}; wait`) });
      t.match(result, { outcome: "exited", exit: 0, limitedBy });
      t.ok(result.processes >= 4 && result.processes <= 6, `${result.processes} processes`);
      t.ok(
        result.peakMemoryBytes > 100_000 && result.peakMemoryBytes < 64 * MIB,
        `${result.peakMemoryBytes}`,
      );
      t.ok(result.userMs > 0 && Math.abs(result.userMs + result.systemMs - result.cpuMs) < 0.01);
      t.ok(result.durationMs >= 1900, `${result.durationMs} ms`);
    });

    await t.test("memory of several processes together", async (t) => {
      // Each alone is within the limit.
      const { result } = await runOp(launcher, {
        argv: sh("for i in 1 2 3 4 5 6; do ./probe hold:20 & done; wait; echo survived"),
        memoryBytes: 80 * MIB,
        wallMs: 30_000,
      });
      t.match(result.detail, /memory limit/);
      t.not(result.outcome, "timed_out");
    });

    await t.test("processes", async (t) => {
      const seen = await runOp(launcher, { argv: ["./probe", "forks:500"], pids: 20 });
      const [, made, why] = /forks:500\t(\d+) (\w+)/.exec(seen.stdout) ?? [];
      t.ok(Number(made) > 5 && Number(made) <= 20, `${made} processes`);
      t.equal(why, "EAGAIN");
      t.ok(seen.result.processes <= 20, `${seen.result.processes}`);
    });
  });
}

t.test("the watcher counts what forks share once, orphans too, and says what is over", async (t) => {
  const program = compile([join(ROOT, "test/sandbox/support/watch_look.c"), join(ROOT, "sandbox/watch.c")]);
  // In a session of its own, whose group it kills at its end.
  const look = (...args: string[]) =>
    spawnSync("setsid", ["-w", program, ...args], { encoding: "utf8" }).stdout.trim();
  // 64 MiB shared by five, and 32 of one's own: 96 together, 384 if each counted.
  t.match(look("200", "20"), /^fine 6 (9\d|1[0-2]\d)$/);
  t.match(look("80", "20"), /^memory 6 /);
  t.match(look("0", "5"), /^pids 6 /);
  t.match(look("0", "6"), /^fine 6 /);
  // Two have touched what all six share.
  t.match(look("80", "20", "shared"), /^fine 6 (6\d|7\d)$/);
  t.match(look("40", "20", "shared"), /^memory 6 /);
  t.match(look("0", "500", "many"), /^pids 1006 /, "as many children as no page of numbers holds");
  t.equal(await waitProcesses(program, (count) => count === 0, 10_000), 0);
});
