import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import t from "tap";
import { BATTERY, judge, readAnswers } from "../../src/exec/battery.ts";
import { selfTest } from "../../src/exec/selftest.ts";
import { harden } from "../../src/host/harden.ts";
import { runOp, sh, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { layBait, lookAt } from "./bait.ts";
import { containmentTable } from "./table.ts";
import { isRoot, users } from "./users.ts";

t.setTimeout(FILE_TIMEOUT);

/** A program that would run as root outside. */
const setuid =
  ["su", "passwd", "newgrp", "chsh", "mount"]
    .map((name) => `/usr/bin/${name}`)
    .find((path) => existsSync(path) && (statSync(path).mode & 0o4000) !== 0) ?? null;

const missing = (program: string): string | false =>
  program === "native" || spawnSync(program, ["--version"]).status === 0
    ? false
    : `${program} is not installed here (scripts/setup --tests installs it)`;

const bait = await layBait(t);

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

    await t.test("a crash leaves no core, and none can be had", async (t) => {
      // Where the host would let it.
      const before = isRoot ? ["prlimit", "--core=unlimited:unlimited"] : [];
      const lenient = startLauncher({ uid: user.uid, before });
      const crashes = "sh -c 'kill -SEGV $$'; sh -c 'kill -ABRT $$'; ls -A /tmp; echo end";
      for (const wish of ["true", "ulimit -c unlimited"]) {
        const seen = await runOp(lenient.launcher, { argv: sh(`cd /tmp; ${wish}; ${crashes}`) });
        t.equal(seen.stdout, "end\n", wish);
        t.notMatch(seen.stderr, /core dumped/);
      }
      await lenient.stop();
    });

    await t.test(
      "Landlock stands behind the mounts, where the launcher does not say that it is missing",
      async (t) => {
        let missing = false;
        const seen = await runOp(
          launcher,
          // The host's own /dev/null, which is no file of the run's; by the modes and mounts alone it opens.
          { argv: ["./probe", "reopen:0"] },
          { onStarted: (frame) => (missing = frame.noLandlock || frame.noProc) },
        );
        if (missing) t.pass("", { skip: "no Landlock or no /proc here" });
        else t.equal(readAnswers(seen.stdout).get("reopen:0"), "EACCES");
      },
    );

    const needsRoot = isRoot ? false : "needs root to make one";
    for (const engine of ["native", "crun", "runc"] as const)
      await t.test(
        `a device of its own account stays as it is, ${engine}`,
        { skip: needsRoot || missing(engine) },
        async (t) => {
          const uid = user.uid ?? 0;
          const script = `mount -t tmpfs tmpfs /mnt && mknod -m 666 /mnt/null c 1 3 && chown ${uid} /mnt/null &&
          mount --bind /mnt/null /dev/null && exec "$@"`;
          const owning = startLauncher({
            uid: user.uid,
            before: ["unshare", "--mount", "sh", "-c", script, "sh"],
          });
          const device = `/proc/${owning.child.pid}/root/dev/null`;
          await owning.launcher.hello;
          t.match(statSync(device), { uid, mode: 0o020666 });
          const probes = ["chmod", "chown", "times", "xattr"].map((change) => `${change}:/dev/null`);
          const seen = await runOp(owning.launcher, {
            engine,
            argv: sh('echo fine >/dev/null && echo written; exec ./probe "$@"', ...probes),
          });
          const answers = readAnswers(seen.stdout);
          t.equal(answers.size, probes.length, JSON.stringify(seen.result));
          t.match(seen.stdout, /^written$/m, "it can be used all the same");
          for (const answer of answers.values()) t.match(answer, /^(EROFS|EPERM|EACCES)$/);
          t.match(statSync(device), { uid, mode: 0o020666 });
          await owning.stop();
        },
      );

    const shared = isRoot ? false : "needs root to share mounts";
    await t.test("mounts that the host shares are private in a run", { skip: shared }, async (t) => {
      const before = ["unshare", "--mount", "--propagation", "shared"];
      const sharing = startLauncher({ uid: user.uid, before });
      const seen = await runOp(sharing.launcher, { argv: ["./probe", "propagation"] });
      t.equal(seen.stdout, "propagation\tnone\n");
      await sharing.stop();
    });

    await t.test("what they tried to change of the host is as it was", async (t) => {
      t.strictSame(lookAt(bait, child), before);
    });
  });
}

t.test("the same probe outside the sandbox gets what it asks for: the attempts are real", async (t) => {
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
