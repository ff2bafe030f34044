import { spawn } from "node:child_process";
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { isRoot } from "./support/once.ts";
import { probe } from "./support/probe.ts";
import { harden, KIND, Launcher } from "./support/serve.ts";
import { type RunSpec, script } from "./support/spec.ts";

const withProbe = (text: string, extra: Partial<RunSpec> = {}): RunSpec =>
  script(text, { ...extra, files: [{ tree: "op", path: "probe", content: probe() }] });

/** The v1 group of a controller that this process is in, where it can be written. */
function groupOf(controller: string): string | undefined {
  const [, names, own] =
    new RegExp(`^\\d+:((?:[^:]*,)?${controller}(?:,[^:]*)?):(.*)$`, "m").exec(
      readFileSync("/proc/self/cgroup", "utf8"),
    ) ?? [];
  const path = `/sys/fs/cgroup/${names}${own ?? ""}`;
  try {
    accessSync(path, constants.W_OK);
    return own === undefined ? undefined : path;
  } catch {
    return undefined;
  }
}

const group = groupOf("memory");
const skip = group === undefined || !isRoot ? "no writable cgroup v1 memory hierarchy here" : false;
const groups = (): string[] => readdirSync(group ?? "/").filter((name) => name.startsWith("sallyport-"));
const MIB = 1 << 20;

t.test("limits by cgroup v1", { skip }, async (t) => {
  const launcher = new Launcher();
  t.teardown(() => launcher.end());
  const hello = await launcher.wait((f) => f.kind === KIND.hello);
  t.equal(hello?.payload.readUInt32LE(4), 1);
  const mine = (): string[] => groups().filter((name) => name.startsWith(`sallyport-${launcher.child.pid}-`));

  const limits = { memory: 64 * MIB, pids: 20 };
  const [stdin, end] = harden.pipe();
  const slow = launcher.start(script("cat", { limits: { ...limits, cpuMilli: 500 }, cgroupRequired: true }), {
    stdin,
  });
  harden.closeFd(stdin);
  const started = await launcher.wait((f) => f.kind === KIND.started);
  const inside = readFileSync(`/proc/${started!.payload.readUInt32LE(0)}/cgroup`, "utf8");
  const own = `sallyport-${launcher.child.pid}-[0-9a-f]{8}-\\d+`;
  for (const controller of ["memory", "pids", "cpu"])
    t.match(inside, new RegExp(`:${controller}[^:]*:.*/${own}\n`), controller);
  const name = new RegExp(`:memory:.*/(${own})\n`).exec(inside)![1];
  t.equal(readFileSync(`${group}/${name}/memory.limit_in_bytes`, "utf8"), `${64 * MIB}\n`);
  harden.closeFd(end);
  t.match(await slow.ended, { started: { cgroup: 1 }, exited: { code: 0, flags: 0 } });

  const heap = await launcher.run(withProbe("exec ./probe eat 400", { limits }));
  t.match(heap.exited, { signal: 9, flags: 4 }, "a memory bomb is ended and told as one");
  t.ok(heap.exited!.memoryPeak > 60 * MIB && heap.exited!.memoryPeak <= 64 * MIB);
  const tmpfs = await launcher.run(
    script("head -c 200000000 /dev/zero > /tmp/a; echo survived", {
      limits: { ...limits, tmpBytes: 400 * MIB },
    }),
  );
  t.equal(tmpfs.exited!.flags & 4, 4, "a memory bomb in /tmp too");
  const big = { tree: "op" as const, path: "big", content: Buffer.alloc(8 * MIB) };
  const full = await launcher.run(
    script("echo ran", { files: [big], limits: { ...limits, memory: 4 * MIB } }),
  );
  t.match(
    full.failed,
    { step: "memory", errno: 12 },
    "a limit that does not hold the Op's own files is told as such",
  );
  const forks = await launcher.run(withProbe("./probe forks 200", { limits }));
  t.match(forks.stdout, /^1\d EAGAIN$/m);

  for (let i = 0; i < 50 && mine().includes(name!); i++) await sleep(20);
  t.notOk(mine().includes(name!), "the group went with its run");
  await launcher.end();
  t.same(mine(), [], "and all others, those of the spares, with the launcher");
});

const childOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ")[0]);

/** Kills a launcher (its pid here) that has runs, -9, and waits until none of it lives: the name of a group, which stays. */
async function leave(launcher: Launcher, pid: () => number): Promise<string> {
  for (let i = 0; i < 4; i++) {
    const { handle } = launcher.start(script("sleep 60", { limits: { cpuMilli: 1000 } }));
    await launcher.wait((f) => f.kind === KIND.started && f.handle === handle);
  }
  let name: string | undefined;
  while (name === undefined) {
    // A process that was just made is not in its group yet.
    const cgroups = readFileSync(`/proc/${childOf(pid())}/cgroup`, "utf8");
    name = /:memory:.*\/(sallyport-[^/]+)$/m.exec(cgroups)?.[1];
  }
  process.kill(pid(), "SIGKILL");
  await launcher.end();
  for (let i = 0; i < 1500 && tasks(name) !== ""; i++) await sleep(10);
  return name;
}

function tasks(name: string): string {
  try {
    return readFileSync(`${group}/${name}/cgroup.procs`, "utf8");
  } catch {
    return "";
  }
}

t.test("groups of a killed launcher are removed by the next", { skip }, async (t) => {
  const first = new Launcher();
  const name = await leave(first, () => first.child.pid!);
  t.match(name, `sallyport-${first.child.pid}-`);
  const second = new Launcher();
  await second.wait((f) => f.kind === KIND.hello);
  for (const hierarchy of ["memory", "pids", "cpu"])
    t.notOk(existsSync(`${groupOf(hierarchy)}/${name}`), hierarchy);
  await second.end();
});

t.test("so they are where pids come again, as in a container that starts again", { skip }, async (t) => {
  const container = () => new Launcher({ before: ["unshare", "--pid", "--fork", "--mount-proc"] });
  const first = container();
  const name = await leave(first, () => childOf(first.child.pid!));
  t.match(name, /^sallyport-1-/);
  const second = container();
  const third = container();
  for (const launcher of [second, third])
    t.match(await launcher.run(script("echo ran")), { stdout: "ran\n", exited: { code: 0 } });
  t.notOk(existsSync(`${group}/${name}`));
  await Promise.all([second.end(), third.end()]);
});

/** Makes the group and locks it. A launcher of another test that starts in between takes it for one that was left. */
function lockedGroup(path: string): number {
  for (let tries = 0; ; tries++) {
    mkdirSync(path, { recursive: true });
    try {
      const fd = openSync(path, "r");
      if (harden.tryLock(fd) && existsSync(path)) return fd;
      closeSync(fd);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT" || tries > 100) throw error;
    }
  }
}

t.test("nor where its last process still dies when the next has come", { skip }, async (t) => {
  const path = `${group}/sallyport-4194305-00000001-${process.pid}`;
  const held = lockedGroup(path);
  const last = spawn("sleep", ["60"]);
  t.teardown(() => last.kill("SIGKILL"));
  writeFileSync(`${path}/cgroup.procs`, String(last.pid));
  closeSync(held);
  const launcher = new Launcher();
  await launcher.wait((f) => f.kind === KIND.hello);
  t.ok(existsSync(path), "it can't be removed yet");
  const ended = new Promise((resolve) => last.once("exit", resolve));
  last.kill("SIGKILL");
  await ended;
  for (let i = 0; i < 500 && existsSync(path); i++) await sleep(20);
  t.notOk(existsSync(path), "and is, once it can be");
  await launcher.end();
});

t.test("no group in use is removed, whatever pid its name holds", { skip }, async (t) => {
  // Empty, as each is for a moment, and of a pid that nobody has here.
  const path = `${group}/sallyport-4194305-00000000-${process.pid}`;
  const held = lockedGroup(path);
  const first = new Launcher();
  await first.wait((f) => f.kind === KIND.hello);
  t.ok(existsSync(path));
  closeSync(held);
  const second = new Launcher();
  await second.wait((f) => f.kind === KIND.hello);
  t.notOk(existsSync(path));
  await Promise.all([first.end(), second.end()]);
});

t.test(
  "without a cgroup",
  { skip: isRoot ? false : "needs root to become a user that has none" },
  async (t) => {
    const launcher = new Launcher({ user: 65534 });
    t.teardown(() => launcher.end());
    const refused = await launcher.run(script("true", { cgroupRequired: true }));
    t.match(refused.failed, { step: "cgroup" }, "no run where limits are required");
    const effort = await launcher.run(script("true", { limits: { memory: 64 * MIB } }));
    t.match(effort, { started: { cgroup: 0 }, exited: { code: 0 } }, "best effort says that it is one");
  },
);
