import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import t from "tap";
import { BATTERY, judge, readAnswers } from "../../src/exec/battery.ts";
import type { Launcher } from "../../src/exec/launch.ts";
import { selfTest } from "../../src/exec/selftest.ts";
import { harden } from "../../src/host/harden.ts";
import { begin, runOp, sh, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { layBait } from "./bait.ts";
import { containmentTable } from "./table.ts";

t.setTimeout(FILE_TIMEOUT);

/** A run of a shell script that has written something. */
async function beginReady(launcher: Launcher, script: string): Promise<ReturnType<typeof begin>> {
  const ready = Promise.withResolvers<void>();
  const begun = begin(launcher, { argv: sh(script) }, { onOutput: () => ready.resolve() });
  await Promise.race([ready.promise, begun.seen]);
  return begun;
}

const bait = await layBait(t);
const isRoot = process.getuid?.() === 0;
const users = isRoot
  ? [
      { name: "root", uid: undefined },
      { name: "an ordinary user", uid: 54_321 },
    ]
  : [{ name: "this user", uid: undefined }];

for (const user of users) {
  t.test(`as ${user.name}`, async (t) => {
    const { launcher, stop } = startLauncher({ uid: user.uid });
    t.teardown(stop);

    await t.test("the self-test agrees", async (t) => {
      const test = await selfTest(launcher);
      t.strictSame(
        test.checks.filter((c) => !c.ok),
        [],
      );
      t.ok(test.checks.length > BATTERY.length);
    });

    for (const [group, attempts] of Object.entries(containmentTable(bait))) {
      await t.test(group, async (t) => {
        let noProc = false;
        const seen = await runOp(
          launcher,
          { argv: ["./probe", ...attempts.map((a) => a.probe)] },
          { onStarted: (frame) => (noProc = frame.noProc) },
        );
        t.match(seen.result, { outcome: "exited", exit: 0 });
        const answers = readAnswers(seen.stdout);
        for (const attempt of attempts) {
          const answer = answers.get(attempt.probe);
          t.ok(
            judge(attempt, answer, noProc),
            `${attempt.name}: ${answer}, expected ${attempt.expect.source}`,
          );
        }
        if (group === "files") {
          const told = seen.result.denied.map((d) => d.call);
          for (const call of ["mount", "umount2", "pivot_root", "chroot", "open_by_handle_at"])
            t.ok(told.includes(call), `${call} was reported: ${told}`);
        }
      });
    }

    await t.test("kill(-1) reaches the own tree only", async (t) => {
      const other = startLauncher({ uid: user.uid });
      const sibling = await beginReady(launcher, "trap 'echo alive; exit' TERM; echo ready; sleep 60 & wait");
      const seen = await runOp(other.launcher, { argv: sh("kill -KILL -1; echo after") });
      t.match(seen.result.outcome, /exited|signaled/);
      sibling.run.cancel(false);
      t.equal((await sibling.seen).stdout, "ready\nalive\n");
      await other.stop();
    });

    await t.test("a sibling is out of reach: processes, abstract sockets, shared memory, /tmp", async (t) => {
      const sibling = await beginReady(
        launcher,
        "touch /tmp/mine /dev/shm/mine; ./probe sysv-make:4711; sleep 60",
      );
      const seen = await runOp(launcher, {
        argv: [
          "./probe",
          "sysv:4711",
          "stat:/tmp/mine",
          "stat:/dev/shm/mine",
          "pids",
          "read:/proc/3/cmdline",
        ],
      });
      const answers = readAnswers(seen.stdout);
      t.match(answers.get("sysv:4711"), /^(ENOENT|EPERM|ENOSYS)$/);
      t.equal(answers.get("stat:/tmp/mine"), "ENOENT");
      t.equal(answers.get("stat:/dev/shm/mine"), "ENOENT");
      t.match(answers.get("pids"), /^1 2 \d+$/);
      sibling.run.cancel(true);
      t.equal((await sibling.seen).result.outcome, "canceled", "it was there all the time");
    });

    await t.test("files of the host are what they were", async (t) => {
      t.equal(readFileSync(bait.file, "utf8"), "bait");
      t.equal(hostname(), bait.hostname);
    });
  });
}

t.test("the same probe outside the sandbox gets what it asks for: the attempts are real", async (t) => {
  const { spawnSync } = await import("node:child_process");
  const { repoPath } = await import("../../src/host/self.ts");
  const reach = [
    `read:${bait.file}`,
    `tcp:127.0.0.1 ${bait.port}`,
    `abstract:${bait.abstract}`,
    `unix:${bait.socket}`,
  ];
  const args = [...reach, `kill:${process.pid}`, "call:unshare-user", "call:clone3", "exec-memfd"];
  const { stdout } = spawnSync(repoPath("build/probe"), args, { encoding: "utf8" });
  const answers = readAnswers(stdout);
  for (const attempt of [...reach, `kill:${process.pid}`]) t.equal(answers.get(attempt), "OK", attempt);
  t.not(answers.get("call:clone3"), "ENOSYS");
  t.not(answers.get("exec-memfd"), "EACCES");
  t.ok(harden());
});
