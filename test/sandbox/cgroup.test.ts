import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { isRoot } from "./support/once.ts";
import { probe } from "./support/probe.ts";
import { KIND, Launcher } from "./support/serve.ts";
import { type RunSpec, script } from "./support/spec.ts";

const withProbe = (text: string, extra: Partial<RunSpec> = {}): RunSpec =>
  script(text, { ...extra, files: [{ tree: "op", path: "probe", content: probe() }] });

/** The v1 memory group that this process is in, where it can be written. */
function memoryGroup(): string | undefined {
  const own = /^\d+:memory:(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
  const path = `/sys/fs/cgroup/memory${own ?? ""}`;
  try {
    accessSync(path, constants.W_OK);
    return own === undefined ? undefined : path;
  } catch {
    return undefined;
  }
}

const group = memoryGroup();
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
  const slow = launcher.start(
    script("sleep 0.3", { limits: { ...limits, cpuMilli: 500 }, cgroupRequired: true }),
  );
  const started = await launcher.wait((f) => f.kind === KIND.started);
  const inside = readFileSync(`/proc/${started!.payload.readUInt32LE(0)}/cgroup`, "utf8");
  for (const controller of ["memory", "pids", "cpu"])
    t.match(inside, new RegExp(`:${controller}[^:]*:.*/sallyport-${launcher.child.pid}-\\d+\n`), controller);
  const name = new RegExp(`:memory:.*/(sallyport-${launcher.child.pid}-\\d+)\n`).exec(inside)![1];
  t.equal(readFileSync(`${group}/${name}/memory.limit_in_bytes`, "utf8"), `${64 * MIB}\n`);
  t.match(await slow.ended, { started: { cgroup: 1 }, exited: { code: 0, flags: 0 } });

  const heap = await launcher.run(withProbe("exec ./probe eat 400", { limits }));
  t.match(heap.exited, { signal: 9, flags: 4 }, "a memory bomb is ended and told as one");
  t.ok(heap.exited!.memoryPeak > 60 * MIB && heap.exited!.memoryPeak <= 64 * MIB);
  const tmpfs = await launcher.run(
    script("head -c 200000000 /dev/zero > /tmp/a; echo survived", {
      limits: { ...limits, tmpBytes: 400 * MIB },
    }),
  );
  t.notMatch(tmpfs.exited, { code: 0, signal: 0, flags: 0 }, "a memory bomb in /tmp too");
  const forks = await launcher.run(withProbe("./probe forks 200", { limits }));
  t.match(forks.stdout, /^1\d EAGAIN$/m);

  for (let i = 0; i < 50 && mine().includes(name!); i++) await sleep(20);
  t.notOk(mine().includes(name!), "the group went with its run");
  await launcher.end();
  t.same(mine(), [], "and all others, those of the spares, with the launcher");
});

t.test("groups of a killed launcher are removed by the next", { skip }, async (t) => {
  const first = new Launcher();
  first.start(script("sleep 60"));
  await first.wait((f) => f.kind === KIND.started);
  const name = groups().find((one) => one.startsWith(`sallyport-${first.child.pid}-`));
  t.ok(name);
  first.child.kill("SIGKILL");
  await first.end();
  for (
    let i = 0;
    i < 100 &&
    existsSync(`${group}/${name}/cgroup.procs`) &&
    readFileSync(`${group}/${name}/cgroup.procs`, "utf8");
    i++
  )
    await sleep(10);
  const second = new Launcher();
  await second.wait((f) => f.kind === KIND.hello);
  t.notOk(existsSync(`${group}/${name}`));
  await second.end();
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
