import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { readAnswers } from "../../src/exec/battery.ts";
import type { Launcher } from "../../src/exec/launch.ts";
import { begin, findProcesses, runOp, sh, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { isRoot, users } from "./users.ts";

/** Two runs at once: neither sees the other, nor can it take from it, nor die with it. */

t.setTimeout(FILE_TIMEOUT);

/** A run of a shell script, once it has written something. */
async function beginReady(launcher: Launcher, script: string): Promise<ReturnType<typeof begin>> {
  const ready = Promise.withResolvers<void>();
  const begun = begin(launcher, { argv: sh(script) }, { onOutput: () => ready.resolve() });
  await Promise.race([ready.promise, begun.seen]);
  return begun;
}

/** What a neighbour has while the other looks for it; it says so only once it could find all of it itself. */
const HAVE = `touch /tmp/mine /dev/shm/mine; ./probe ipc-make:4711 >/dev/null
./probe listen:neighbour >/dev/null &
until ./probe abstract:neighbour | grep -q OK; do sleep 0.05; done
./probe sysv:4711 sem:4711 msg:4711 stat:/tmp/mine stat:/dev/shm/mine | grep -c OK`;
const LOOK = ["sysv:4711", "sem:4711", "msg:4711", "stat:/tmp/mine", "stat:/dev/shm/mine"];

for (const user of users) {
  t.test(`as ${user.name}`, async (t) => {
    const { launcher, stop } = startLauncher({ uid: user.uid });
    t.teardown(stop);
    const bounded = (await launcher.hello).cgroup !== "none";

    await t.test(
      "what one has, the other does not find; they meet nowhere, so no descriptor goes from one to the other",
      async (t) => {
        const sibling = await beginReady(launcher, `${HAVE}; sleep 60`);
        const probes = [...LOOK, "mq:/probe-4711", "abstract:neighbour", "pids"];
        const seen = await runOp(launcher, { argv: ["./probe", ...probes] });
        const answers = readAnswers(seen.stdout);
        for (const probe of LOOK) t.equal(answers.get(probe), "ENOENT", probe);
        t.match(answers.get("mq:/probe-4711"), /^(ENOENT|EACCES)$/);
        t.equal(answers.get("abstract:neighbour"), "ECONNREFUSED");
        t.match(answers.get("pids"), /^1 2 \d+$/);
        sibling.run.cancel(true);
        const { stdout, result } = await sibling.seen;
        t.equal(stdout, "5\n", "it was all there");
        t.equal(result.outcome, "canceled", "the whole time");
      },
    );

    await t.test("kill(-1) and a worse priority for all reach the own tree only", async (t) => {
      const other = startLauncher({ uid: user.uid });
      const script = "trap 'echo alive; exit' TERM; nice; sleep 60 & wait; wait";
      const sibling = await beginReady(launcher, script);
      const seen = await runOp(other.launcher, {
        argv: sh("./probe nice-user:19; kill -KILL -1; echo after"),
      });
      t.match(seen.result.outcome, /exited|signaled/);
      t.match(seen.stdout, "nice-user:19\tOK");
      sibling.run.cancel(false);
      t.equal((await sibling.seen).stdout, "0\nalive\n");
      await other.stop();
    });

    const ends = [
      { name: "its own crash", script: "kill -SEGV $$", outcome: "signaled" },
      {
        name: "killing all it can",
        script: "kill -KILL -1; kill -KILL 1; kill -KILL $$",
        outcome: "signaled",
      },
      ...(bounded ? [{ name: "the memory limit", script: "./probe memory:512", outcome: /./ }] : []),
    ];
    for (const end of ends)
      await t.test(`one that ends by ${end.name} leaves the other alone`, async (t) => {
        const mark = `neighbour-${process.pid}-${user.uid ?? 0}-${ends.indexOf(end)}`;
        const sibling = await beginReady(launcher, `echo ready; : ${mark}; read go < /tmp/none || sleep 60`);
        const seen = await runOp(launcher, { argv: sh(end.script), memoryBytes: 64 << 20 });
        t.match(seen.result.outcome, end.outcome);
        t.ok(findProcesses(mark).length > 0, "the other lives");
        const next = await runOp(launcher, { argv: ["/bin/echo", "next"] });
        t.equal(next.stdout, "next\n", "and new ones start");
        sibling.run.cancel(true);
        t.equal((await sibling.seen).result.outcome, "canceled");
      });

    // The kernel counts these by account, and only under root each run is one of its own (SECURITY.md).
    const ofAccount = isRoot && user.uid === undefined ? ["in-flight:16"] : [];
    const hoards = ["files", "pipes", "sockets", "timers", "signals", "epoll", "inotify", "in-flight"];
    await t.test(`one that hoards ${hoards.join(", ")} leaves the other enough`, async (t) => {
      const much = (what: string) => (/pipes|sockets/.test(what) ? 40 : 5000);
      const script = `${hoards.map((hoard) => `./probe ${hoard}:${much(hoard)}+ & `).join("")}wait`;
      let held = "";
      const hoarder = begin(
        launcher,
        { argv: sh(script), wallMs: 50_000 },
        { onOutput: (_stream, bytes) => (held += bytes.toString()) },
      );
      const all = () => held.split("held\n").length > hoards.length;
      for (let i = 0; i < 600 && !all(); i++) await sleep(25);
      t.ok(all(), `it has them: ${held}`);
      const needs = [
        "files:100",
        "pipes:1",
        "sockets:1",
        "timers:100",
        "signals:100",
        "epoll:100",
        "inotify:4",
      ];
      needs.push(...ofAccount);
      const seen = await runOp(launcher, { argv: ["./probe", ...needs] });
      const answers = readAnswers(seen.stdout);
      for (const need of needs) t.equal(answers.get(need), `${need.split(":")[1]} OK`, need);
      hoarder.run.cancel(true);
      t.equal((await hoarder.seen).result.outcome, "canceled");
    });
  });
}
