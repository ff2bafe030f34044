import { existsSync, statSync } from "node:fs";
import t from "tap";
import { BATTERY, judge, readAnswers } from "../../src/exec/battery.ts";
import { selfTest } from "../../src/exec/selftest.ts";
import { harden } from "../../src/host/harden.ts";
import { runOp, sh, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { layBait, lookAt } from "./bait.ts";
import { containmentTable } from "./table.ts";

t.setTimeout(FILE_TIMEOUT);

/** A program that would run as root outside. */
const setuid =
  ["su", "passwd", "newgrp", "chsh", "mount"]
    .map((name) => `/usr/bin/${name}`)
    .find((path) => existsSync(path) && (statSync(path).mode & 0o4000) !== 0) ?? null;

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
    const { launcher, child, stop } = startLauncher({ uid: user.uid });
    t.teardown(stop);
    await launcher.hello;
    const before = lookAt(bait, child);

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
      });
    }

    await t.test(
      "a setuid program stays who it is",
      { skip: setuid === null && "no setuid program here" },
      async (t) => {
        // The loader says who it is, unless it runs as another than who started it.
        const { stdout } = await runOp(launcher, { argv: sh('LD_SHOW_AUXV=1 "$1" --help', setuid!) });
        const [, uid, euid] = /AT_UID: +(\d+)\nAT_EUID: +(\d+)/.exec(stdout) ?? [];
        t.equal(uid, "1000");
        t.equal(euid, "1000");
        t.match(stdout, /AT_SECURE: +0\n/);
      },
    );

    await t.test("a crash leaves no core, and none can be asked for", async (t) => {
      const script =
        "cd /tmp; (kill -SEGV $$); sh -c 'kill -ABRT $$'; ls -A /tmp; ulimit -c unlimited || echo refused";
      const seen = await runOp(launcher, { argv: sh(`ulimit -c; (${script}) 2>&1`) });
      t.match(seen.stdout, /^0\n/);
      t.notMatch(seen.stdout, /core dumped|^core/m);
      const asked = await runOp(launcher, {
        argv: sh("ulimit -c unlimited; sh -c 'cd /tmp; kill -SEGV $$'; ls -A /tmp"),
      });
      t.match(asked.stderr, /ulimit/);
      t.equal(asked.stdout, "");
    });

    await t.test("what they tried to change of the host is as it was", async (t) => {
      t.strictSame(lookAt(bait, child), before);
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
    ...[
      `mq:/probe-${bait.key}`,
      `sysv:${bait.key}`,
      `sem:${bait.key}`,
      `msg:${bait.key}`,
      `read:${bait.shared}`,
    ],
    ...[`symlink:${bait.file}`, `read:/proc/self/root${bait.file}`, "map-exec:/tmp/sallyport-bait-code"],
  ];
  const args = [...reach, `kill:${process.pid}`, "call:unshare-user", "call:clone3", "exec-memfd"];
  const { stdout } = spawnSync(repoPath("build/probe"), args, { encoding: "utf8" });
  const answers = readAnswers(stdout);
  for (const attempt of [...reach, `kill:${process.pid}`]) t.equal(answers.get(attempt), "OK", attempt);
  t.not(answers.get("call:clone3"), "ENOSYS");
  t.not(answers.get("exec-memfd"), "EACCES");
  t.ok(harden());
});
