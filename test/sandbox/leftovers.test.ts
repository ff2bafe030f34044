import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { USERS } from "./support/once.ts";
import { KIND, Launcher } from "./support/serve.ts";
import { script } from "./support/spec.ts";

t.setTimeout(FILE_TIMEOUT);

/** What a launcher holds: its descriptors (their targets), threads, children, and groups in every hierarchy. */
function held(launcher: Launcher) {
  const pid = launcher.child.pid!;
  const descriptors = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  const threads = readdirSync(`/proc/${pid}/task`);
  const children = threads
    .flatMap((tid) => readFileSync(`/proc/${pid}/task/${tid}/children`, "utf8").split(" "))
    .filter(Boolean);
  return {
    descriptors: descriptors.map((name) => name.replace(/\d+/g, "")).sort(),
    threads: threads.length,
    children: children.length,
    // Of the spares, whose numbers change.
    groups: groups(pid)
      .map((path) => path.replace(/-\d+$/, ""))
      .sort(),
  };
}

/** Groups named after this launcher, wherever cgroup hierarchies are mounted. */
function groups(pid: number): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4]!);
  const found: string[] = [];
  for (const mount of mounts)
    for (const line of readFileSync("/proc/self/cgroup", "utf8").trim().split("\n"))
      try {
        const path = `${mount}${line.split(":").slice(2).join(":")}`;
        for (const name of readdirSync(path))
          if (name.startsWith(`sallyport-${pid}-`)) found.push(`${path}/${name}`);
      } catch {
        // A path of another hierarchy.
      }
  return found;
}

/** Processes that a launcher keeps ready (sandbox/run.h). */
const SPARES = 2;
const asUser = (user: number | undefined) => (user === undefined ? {} : { user });
const quick = script("echo done", { limits: { memory: 64 << 20, pids: 20, cpuMilli: 1000 } });

for (const { name, user } of USERS) {
  t.test(`what runs leave behind, as ${name}`, async (t) => {
    const launcher = new Launcher(asUser(user));
    t.teardown(() => launcher.end());
    await launcher.wait((f) => f.kind === KIND.hello);
    await launcher.run(quick);
    const before = await settled(launcher);
    t.equal(before.threads, 1);
    t.equal(before.children, SPARES);

    let done = 0;
    for (let i = 0; i < 200; i++) {
      // No pause: each starts the moment that EXITED of the one before has come.
      const r = await launcher.run(quick);
      if (r.exited?.code === 0 && r.stdout === "done\n") done++;
    }
    t.equal(done, 200, "200 runs, one right after the other");
    t.same(await settled(launcher), before, "leave no group, process, thread or descriptor");

    const burst = await Promise.all(Array.from({ length: 24 }, () => launcher.run(quick)));
    t.equal(burst.filter((r) => r.exited?.code === 0).length, 24, "24 at once");
    t.same(await settled(launcher), before, "leave nothing either");
  });

  t.test(`kill -9 of the launcher in the middle of set-ups, as ${name}`, async (t) => {
    for (let i = 0; i < 8; i++) {
      const launcher = new Launcher(asUser(user));
      await launcher.wait((f) => f.kind === KIND.hello);
      const pid = launcher.child.pid!;
      const runs = Array.from({ length: 6 }, () => launcher.start(script("sleep 100")));
      // Ever later: while they are made, half of them started, all running.
      await sleep(i * 4);
      launcher.child.kill("SIGKILL");
      await Promise.all(runs.map((run) => run.ended));
      await launcher.end();
      // Our pipes' end means that nobody holds them any more; groups only the next launcher can remove.
      const tasks = (): string[] => groups(pid).flatMap((path) => tasksOf(path));
      for (let k = 0; k < 100 && tasks().length; k++) await sleep(20);
      t.same(tasks(), [], `nothing runs any more (after ${i * 4} ms)`);
      const next = new Launcher(asUser(user));
      await next.wait((f) => f.kind === KIND.hello);
      t.same(groups(pid), [], "and the next launcher removes the groups");
      await next.end();
    }
  });
}

function tasksOf(group: string): string[] {
  try {
    return readFileSync(`${group}/cgroup.procs`, "utf8").split("\n").filter(Boolean);
  } catch {
    return [];
  }
}

/** The launcher's belongings once they stopped changing: a group may take the kernel a moment to let go of, and a spare is made anew. */
async function settled(launcher: Launcher) {
  for (let i = 0, same = 0, last = ""; ; i++) {
    await sleep(50);
    const now = held(launcher);
    same = JSON.stringify(now) === last && now.children === SPARES ? same + 1 : 0;
    last = JSON.stringify(now);
    if (same === 3 || i === 60) return now;
  }
}
