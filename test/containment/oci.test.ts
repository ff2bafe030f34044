import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import t from "tap";
import { OCI_ENGINES } from "../../src/core/engines.ts";
import { judge, readAnswers } from "../../src/exec/battery.ts";
import { testEngines } from "../../src/exec/engines.ts";
import { asEngine } from "../../src/exec/oci-battery.ts";
import { runOp, sh, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { layBait, lookAt } from "./bait.ts";
import { tableDifferences } from "./oci-table.ts";
import { isReported } from "./reported.ts";
import { containmentTable } from "./table.ts";
import { users } from "./users.ts";

t.setTimeout(FILE_TIMEOUT);

const bait = await layBait(t);

for (const user of users) {
  const { launcher, child, stop } = startLauncher({ uid: user.uid });
  t.teardown(stop);
  await launcher.hello;
  const before = lookAt(bait, child);
  const reports = await testEngines(launcher);

  for (const engine of OCI_ENGINES) {
    const report = reports.find((r) => r.engine === engine);
    const skip =
      report?.path === null ? `${engine} is not installed here (scripts/setup --tests installs it)` : false;
    t.test(`${engine} as ${user.name}`, { skip }, async (t) => {
      t.match(report, { ok: true }, "the engine's own self-test");

      for (const [group, table] of Object.entries(containmentTable(bait)))
        await t.test(group, async (t) => {
          const attempts = asEngine(table, engine, tableDifferences(bait));
          const argv = ["./probe", ...attempts.map((a) => a.probe)];
          const seen = await runOp(launcher, { engine, argv });
          t.match(seen.result, { outcome: "exited", exit: 0 });
          const answers = readAnswers(seen.stdout);
          for (const attempt of attempts) {
            const answer = answers.get(attempt.probe);
            const what = `${attempt.name}: ${answer}, expected ${attempt.expect.source}`;
            t.ok(judge(attempt, answer, false), what);
          }
          const told = seen.result.denied.reduce((sum, { count }) => sum + count, 0);
          const reported = engine === "gvisor" ? 0 : attempts.filter(isReported).length;
          t.equal(told, reported, `reported: ${seen.result.denied.map(({ call }) => call)}`);
        });

      await t.test("masked files of /proc hold nothing", async (t) => {
        const files = ["kallsyms", "keys", "timer_list", "cmdline", "iomem", "interrupts", "partitions"];
        const script =
          'for f; do printf "%s %s\\n" "$f" "$(head -c 64 "/proc/$f" 2>/dev/null | wc -c)"; done';
        const seen = await runOp(launcher, { engine, argv: sh(script, ...files) });
        for (const line of seen.stdout.trim().split("\n")) {
          // gVisor's own, made up: it says nothing of the host.
          if (engine === "gvisor" && line.startsWith("cmdline")) continue;
          t.match(line, / 0$/);
        }
        t.equal(seen.stdout.trim().split("\n").length, files.length);
      });

      await t.test("what the engine itself takes is not held against the Op", async (t) => {
        // Longer than the launcher's watcher, which counts processes where no cgroup does, waits between two looks.
        const seen = await runOp(launcher, { engine, argv: sh("sleep 0.7; echo done") });
        t.match(seen, { result: { outcome: "exited", exit: 0 }, stdout: "done\n" });
      });

      await t.test("the host's /proc/cmdline is not what it sees", async (t) => {
        const seen = await runOp(launcher, { engine, argv: ["/bin/cat", "/proc/cmdline"] });
        t.not(seen.stdout.trim(), readFileSync("/proc/cmdline", "utf8").trim());
      });

      await t.test("the engine, its bundle and its state are out of sight", async (t) => {
        const script = "ls -d /bundle /rootfs /run/state /run/log /sys/fs/cgroup/* 2>/dev/null | wc -l";
        t.equal((await runOp(launcher, { engine, argv: sh(script) })).stdout.trim(), "0");
      });

      await t.test("kill(-1) reaches the own tree only", async (t) => {
        const seen = await runOp(launcher, { engine, argv: sh("kill -KILL -1; echo after") });
        t.match(seen.result.outcome, /exited|signaled/);
        t.equal(hostname(), bait.hostname);
      });

      await t.test("disk, processes and descriptors end at their limits", async (t) => {
        const probes = ["fill:/tmp/x", "fill:/dev/shm/x"];
        // gVisor makes a process, a file or a descriptor in milliseconds; what bounds them is the run's cgroup.
        if (engine !== "gvisor") probes.push("inodes:/tmp", "inodes:/dev/shm", "forks:500", "files:5000");
        const argv = ["./probe", ...probes];
        const answers = readAnswers((await runOp(launcher, { engine, argv, tmpBytes: 2 << 20 })).stdout);
        t.equal(answers.get("fill:/tmp/x"), "2048 ENOSPC");
        t.equal(answers.get("fill:/dev/shm/x"), "16384 ENOSPC");
        if (engine === "gvisor") return;
        t.match(answers.get("inodes:/tmp"), /^\d{1,4} ENOSPC$/);
        t.match(answers.get("inodes:/dev/shm"), /^\d{1,4} ENOSPC$/);
        t.match(answers.get("forks:500"), /^\d\d EAGAIN$/);
        t.equal(answers.get("files:5000"), "1020 EMFILE");
      });

      await t.test("what it tried to change of the host is as it was", async (t) => {
        t.strictSame(lookAt(bait, child), before);
      });
    });
  }
}
