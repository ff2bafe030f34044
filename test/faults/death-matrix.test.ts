import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { until } from "../e2e/appliance.ts";
import {
  BAD_OPS,
  badScript,
  filesOf,
  groupsOf,
  inWords,
  mountsOf,
  newMark,
  timeToGone,
} from "../exec/bad-ops.ts";
import { waitProcesses } from "../exec/launcher.ts";
import { Box, FILE_TIMEOUT } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

/** Publishes one Op that runs any of them, by number. */
async function publish(box: Box): Promise<void> {
  const dir = join(box.dir, "ops/bad");
  mkdirSync(dir, { recursive: true });
  copyFileSync(join(import.meta.dirname, "../../build/probe"), join(dir, "probe"));
  const branches = Object.keys(BAD_OPS).map((kind, i) => `${i}) ${badScript(kind, '"$2"', "./probe")};;`);
  writeFileSync(join(dir, "main.sh"), `#!/bin/sh\ncase "$1" in\n${branches.join("\n")}\nesac\n`, {
    mode: 0o755,
  });
  writeFileSync(
    join(dir, "op.yaml"),
    `op: demo/bad
summary: does not want to end
run: ["./main.sh", "\${kind}", "\${mark}"]
inputs:
  kind: {type: string, required: true}
  mark: {type: string, required: true}
limits: {time: 5m, pids: 24, cpu: 0.3}
concurrency: 16
`,
  );
  await box.publish(dir);
}

const launcherOf = (box: Box): number =>
  box.processes().find(({ argv }) => /^\/proc\/self\/fd\/[0-9]+ runner /.test(argv))?.pid ?? 0;

/** What happens to the appliance, and how it is as before afterwards. */
const ENDS: Record<string, { act: (box: Box) => Promise<unknown>; sealed: boolean }> = {
  lock: { act: (box) => box.ok(["lock"]), sealed: true },
  "kill -9 of the runner": { act: async (box) => process.kill(box.role("runner"), "SIGKILL"), sealed: false },
  "kill -9 of the launcher": { act: async (box) => process.kill(launcherOf(box), "SIGKILL"), sealed: false },
  "kill -9 of the keeper": { act: async (box) => process.kill(box.role("keeper"), "SIGKILL"), sealed: true },
};

t.test("Ops that do not want to end, when something of the appliance does", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.unlocked();
  await box.demo();
  await publish(box);

  for (const [end, { act, sealed }] of Object.entries(ENDS))
    await t.test(end, async (t) => {
      const mounts = mountsOf("self");
      const launcher = launcherOf(box);
      const runner = box.role("runner");
      const marks = new Map(Object.keys(BAD_OPS).map((kind) => [kind, newMark()]));
      const commands = [...marks.values()].map((mark, i) =>
        box.cli(["run", "demo/bad", "--kind", String(i), "--mark", mark]),
      );
      for (const [kind, mark] of marks) {
        // The command and the keeper's own process have the mark in their arguments too.
        const least = BAD_OPS[kind]!.processes + 1;
        const count = await waitProcesses(mark, (n) => n >= least, 20_000);
        t.ok(count >= least, `${kind}: ${count} processes are there. ${box.log.slice(-500)}`);
      }

      const from = performance.now();
      await act(box);
      // The commands that wait for their runs end too: what has the mark then is the run's.
      const gone = await timeToGone(marks, from);
      t.comment(`gone after ${inWords(gone)}`);
      for (const [kind, ms] of gone) t.ok(ms < 15_000, `${kind}: no process is left`);
      for (const { status } of await Promise.all(commands)) t.not(status, 0);
      t.same(mountsOf("self"), mounts, "no mount");
      t.same(filesOf(marks.values(), ["/tmp", "/dev/shm", "/var/tmp", join(box.dir, "run")]), [], "no file");

      if (sealed) {
        await box.sealedAgain();
        await box.unlock();
      }
      await until(() => box.role("runner") !== 0 && box.role("runner") !== runner, 20_000);
      await until(async () => (await box.status()).roles.runner, 20_000);
      await box.tested();
      await until(
        () => groupsOf(launcher).length === 0,
        15_000,
        () => groupsOf(launcher).join("\n"),
      );
      t.pass("no cgroup of its launcher is left");
    });
});
