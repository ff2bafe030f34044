import t from "tap";
import { readAnswers } from "../../src/exec/battery.ts";
import { runOp, sh, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { users } from "./users.ts";

t.setTimeout(FILE_TIMEOUT);

for (const user of users) {
  t.test(`as ${user.name}`, async (t) => {
    const { launcher, stop } = startLauncher({ uid: user.uid });
    t.teardown(stop);
    const bounded = (await launcher.hello).cgroup !== "none";
    const unbounded = bounded
      ? false
      : "no memory controller here; test/exec/limits.test.ts tries what there is instead";

    await t.test("disk and inodes", async (t) => {
      const seen = await runOp(launcher, {
        argv: ["./probe", "fill:/tmp/x", "inodes:/tmp", "fill:/dev/shm/x", "inodes:/dev/shm"],
        tmpBytes: 2 << 20,
      });
      const answers = readAnswers(seen.stdout);
      t.equal(answers.get("fill:/tmp/x"), "2048 ENOSPC");
      t.match(answers.get("inodes:/tmp"), /^\d{1,4} ENOSPC$/);
      t.match(answers.get("fill:/dev/shm/x"), /^\d{1,5} ENOSPC$/);
      t.match(answers.get("inodes:/dev/shm"), /^\d{1,4} ENOSPC$/);
    });

    await t.test("processes", async (t) => {
      const seen = await runOp(launcher, { argv: ["./probe", "forks:500"], pids: 20 });
      const [made, why] = (readAnswers(seen.stdout).get("forks:500") ?? "").split(" ");
      t.ok(Number(made) > 5 && Number(made) <= 20, `${made} processes`);
      t.equal(why, "EAGAIN");
      // Only a cgroup tells that it refused one.
      if (bounded) t.match(seen.result.detail, /limit of processes/);
    });

    await t.test("memory", { skip: unbounded }, async (t) => {
      const fits = await runOp(launcher, { argv: ["./probe", "memory:16"], memoryBytes: 64 << 20 });
      t.match(fits.stdout, /OK/);
      const bomb = await runOp(launcher, { argv: ["./probe", "memory:512"], memoryBytes: 64 << 20 });
      t.match(bomb.stdout, /SIGKILL|^$/);
      t.match(bomb.result.detail, /memory limit/);
      t.ok(bomb.result.peakMemoryBytes <= 66 << 20, `${bomb.result.peakMemoryBytes}`);
      const files = await runOp(launcher, {
        argv: ["./probe", "fill:/tmp/x"],
        memoryBytes: 32 << 20,
        tmpBytes: 512 << 20,
      });
      t.match(files.result.detail, /memory limit/, "what lies in /tmp counts as memory");
    });

    await t.test("CPU spin and zombies end with the time limit", async (t) => {
      const spin = await runOp(launcher, { argv: sh("while :; do :; done"), wallMs: 300, graceMs: 200 });
      t.equal(spin.result.outcome, "timed_out");
      t.ok(spin.result.cpuMs > 20, `${spin.result.cpuMs} ms of CPU`);
      const zombies = await runOp(launcher, {
        argv: sh(
          `i=0; while [ $i -lt 15 ]; do (sleep 0.01 &); i=$((i+1)); done
           count() { ls -d /proc/[0-9]* | wc -l; }
           while [ $(count) -gt 6 ] && [ $i -lt 150 ]; do sleep 0.1; i=$((i+1)); done; count`,
        ),
      });
      t.match(zombies.stdout.trim(), /^[1-6]$/, "orphans are reaped");
    });

    await t.test(
      "memory of no process: segments, memfds, full pipes and sockets",
      { skip: unbounded },
      async (t) => {
        for (const kind of ["segment", "memfd", "pipes", "sockets"]) {
          const fits = await runOp(launcher, { argv: ["./probe", `${kind}:8`], memoryBytes: 64 << 20 });
          t.match(fits.stdout, /OK/, kind);
          const bomb = await runOp(launcher, {
            // Pipes are small again once the account has many large ones: several processes fill what one can't.
            argv: sh(`for i in 1 2 3; do ./probe ${kind}:400 & done; wait`),
            memoryBytes: 64 << 20,
          });
          t.match(bomb.result.detail, /memory limit/, kind);
          t.ok(bomb.result.peakMemoryBytes <= 66 << 20, `${kind}: ${bomb.result.peakMemoryBytes}`);
        }
      },
    );

    await t.test(
      "what each process is given: descriptors, locked memory, timers, signals, inotify",
      async (t) => {
        let noProc = false;
        const probes = ["files:5000", "lock-memory:1", "timers:5000", "signals:5000", "inotify:5000"];
        const seen = await runOp(
          launcher,
          { argv: ["./probe", ...probes] },
          { onStarted: (frame) => (noProc = frame.noProc) },
        );
        const answers = readAnswers(seen.stdout);
        t.equal(answers.get("files:5000"), "1020 EMFILE");
        t.match(answers.get("lock-memory:1"), /^(ENOMEM|EPERM|EAGAIN)$/);
        t.equal(answers.get("timers:5000"), "1024 EAGAIN");
        t.equal(answers.get("signals:5000"), "1024 EAGAIN");
        if (!noProc) t.equal(answers.get("inotify:5000"), "8 EMFILE");
      },
    );

    await t.test("a file of a TiB that holds nothing takes nothing, and can't be filled", async (t) => {
      const seen = await runOp(launcher, { argv: ["./probe", "sparse:/tmp/x", "sparse:/dev/shm/x"] });
      const answers = readAnswers(seen.stdout);
      t.equal(answers.get("sparse:/tmp/x"), "4 ENOSPC", "4 KiB");
      t.equal(answers.get("sparse:/dev/shm/x"), "4 ENOSPC");
    });

    await t.test("floods of stderr and fd 3 are cut, and end with the run", async (t) => {
      const errors = await runOp(launcher, {
        argv: sh("exec yes >&2"),
        wallMs: 600,
        graceMs: 100,
        outputBytes: 1000,
      });
      t.match(errors.result, { outcome: "timed_out", truncated: true });
      t.ok(errors.stderr.length <= 1000);
      const control = await runOp(launcher, { argv: sh("exec yes no-json >&3"), wallMs: 600, graceMs: 100 });
      // The channel is closed over its head: a program that minds ends then.
      t.match(control.result, { outcome: /timed_out|signaled|exited/, detail: /fd 3|there/ });
    });

    await t.test("an output flood of two Ops does not starve a third", async (t) => {
      const flood = () =>
        runOp(launcher, { argv: sh("exec yes"), wallMs: 3000, graceMs: 100, outputBytes: 1000 });
      const floods = [flood(), flood()];
      let ended = 0;
      for (const one of floods) void one.then(() => ended++);
      const small = await runOp(launcher, { argv: ["/bin/echo", "small"] });
      t.equal(small.stdout, "small\n");
      t.equal(ended, 0, "it did not wait for them");
      for (const { result } of await Promise.all(floods))
        t.match(result, { outcome: "timed_out", truncated: true });
    });
  });
}
