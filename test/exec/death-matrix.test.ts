import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { BAD_OPS, badScript, filesOf, groupsOf, inWords, mountsOf, newMark, timeToGone } from "./bad-ops.ts";
import { begin, sh, startLauncher, waitProcesses } from "./launcher.ts";

t.setTimeout(FILE_TIMEOUT);

const isRoot = process.getuid?.() === 0;
const USERS: { name: string; uid?: number }[] = isRoot
  ? [{ name: "root" }, { name: "an ordinary user", uid: 54_321 }]
  : [{ name: "this user" }];
const WALL_MS = 4000;
const SPARES = 2;

type Started = ReturnType<typeof startLauncher>;
type Live = {
  run: { cancel(now: boolean): void };
  started: Promise<number>;
  seen: Promise<{ result: { outcome: string } }>;
};

/** Ways in which runs end; each returns the moment from which they should be gone, and the outcome, null: nobody tells. */
const ENDS: Record<
  string,
  (started: Started, live: readonly Live[]) => Promise<{ from: number; outcome: string | null }>
> = {
  cancel: async (_, live) => {
    for (const { run } of live) run.cancel(false);
    return { from: performance.now(), outcome: "canceled" };
  },
  lock: async (_, live) => {
    for (const { run } of live) run.cancel(true);
    return { from: performance.now(), outcome: "canceled" };
  },
  "time limit": async (_, live) => {
    const last = Math.max(...(await Promise.all(live.map((one) => one.started))));
    await sleep(last + WALL_MS - performance.now());
    return { from: last + WALL_MS, outcome: "timed_out" };
  },
  "the runner's end": async ({ launcher }) => {
    launcher.close();
    return { from: performance.now(), outcome: null };
  },
  "kill -9 of the launcher": async ({ child }) => {
    child.kill("SIGKILL");
    return { from: performance.now(), outcome: null };
  },
};

for (const { name, uid } of USERS)
  for (const [end, act] of Object.entries(ENDS))
    t.test(`${end}, as ${name}`, async (t) => {
      const started = startLauncher({ uid });
      t.teardown(() => started.stop());
      const { cgroup } = await started.launcher.hello;
      const pid = started.child.pid!;
      const mounts = mountsOf(pid);
      const hostMounts = mountsOf("self");
      const marks = new Map(Object.keys(BAD_OPS).map((kind) => [kind, newMark()]));
      const live: Live[] = [...marks].map(([kind, mark]) => {
        const at = Promise.withResolvers<number>();
        const grant = {
          argv: sh(badScript(kind, mark, "./probe")),
          pids: BAD_OPS[kind]!.pids ?? 64,
          cpu: 0.3,
        };
        const { run, seen } = begin(
          started.launcher,
          { ...grant, wallMs: end === "time limit" ? WALL_MS : 60_000 },
          { onStarted: () => at.resolve(performance.now()) },
        );
        return { run, seen, started: at.promise };
      });
      for (const [kind, mark] of marks) {
        const { processes } = BAD_OPS[kind]!;
        const count = await waitProcesses(
          mark,
          (n) => n >= processes,
          end === "time limit" ? WALL_MS : 15_000,
        );
        t.ok(count >= processes, `${kind}: ${count} processes are there`);
      }

      const { from, outcome } = await act(started, live);
      const gone = await timeToGone(marks, from);
      t.comment(`gone after ${inWords(gone)}`);
      for (const [kind, ms] of gone) t.ok(ms < 15_000, `${kind}: no process is left`);
      t.same(filesOf(marks.values(), ["/tmp", "/dev/shm", "/var/tmp"]), [], "no file");
      t.same(mountsOf("self"), hostMounts, "no mount on the host");
      if (outcome === null) {
        await started.stop();
        // Only a successor can remove what one that was killed has left.
        const next = startLauncher({ uid });
        await next.launcher.hello;
        await next.stop();
        t.same(groupsOf(pid), [], "no cgroup");
        return;
      }
      for (const { seen } of live) t.match((await seen).result, { outcome });
      t.same(mountsOf(pid), mounts, "no mount in the launcher's table");
      if (cgroup === "none") return;
      // Spares have groups: in memory, pids and cpu, or in the one hierarchy.
      const most = SPARES * (cgroup === "v1" ? 3 : 1);
      for (let i = 0; i < 500 && groupsOf(pid).length > most; i++) await sleep(20);
      t.ok(groupsOf(pid).length <= most, `${groupsOf(pid).length} groups, those of its spares`);
    });
