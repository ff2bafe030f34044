import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { isRoot } from "./support/once.ts";
import { compile } from "./support/probe.ts";
import { ROOT } from "./support/spec.ts";

/** Where the unified hierarchy is mounted, and a controller that it can hand on. */
function unified(): { mount: string; own: string; controllers: string[] } | undefined {
  const line = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .find((one) => / - cgroup2 /.test(one));
  const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
  if (line === undefined || own === undefined) return undefined;
  const mount = line.split(" ")[4]!;
  const controllers = readFileSync(join(mount, own, "cgroup.controllers"), "utf8")
    .split(/\s+/)
    .filter(Boolean);
  return { mount, own, controllers };
}

const v2 = unified();
const hasAll = v2 !== undefined && ["memory", "pids"].every((name) => v2.controllers.includes(name));
const needs = hasAll ? ["memory", "pids"] : (v2?.controllers.slice(0, 1) ?? []);
const skip =
  v2 === undefined || !isRoot
    ? "no cgroup v2 that this user may write here"
    : needs.length === 0
      ? "cgroup v2 has no controller here at all"
      : false;
if (!hasAll)
  t.comment(
    `memory and pids are not on cgroup v2 here: making, entering, killing groups and handing on (${needs}) is tested, memory.max, pids.max and oom.group are not`,
  );

const program =
  skip === false
    ? compile(
        [
          "test/sandbox/support/cgroup_v2.c",
          ...["cgroup", "cgroup_files", "cgroup_v2", "die"].map((f) => `sandbox/${f}.c`),
        ].map((path) => join(ROOT, path)),
        { define: [`CGROUP_V2_NEEDS={${needs.map((name) => `"${name}"`).join(",")}}`] },
      )
    : "";

/** A group that nobody is in, as an administrator or systemd delegates one. */
function delegated(t: Test): string {
  const path = join(
    v2!.mount,
    v2!.own,
    `sallyport-test-${process.pid}-${Math.random().toString(36).slice(2)}`,
  );
  // Otherwise the group has no controller to hand on.
  const file = join(v2!.mount, v2!.own, "cgroup.subtree_control");
  const missing = needs.filter((name) => !readFileSync(file, "utf8").includes(name));
  const switchAll = (sign: string) => writeFileSync(file, missing.map((name) => `${sign}${name}`).join(" "));
  if (missing.length > 0) switchAll("+");
  mkdirSync(path);
  t.teardown(async () => {
    for (const dir of [join(path, "supervisor"), path])
      for (let i = 0; i < 100 && existsSync(dir); i++)
        try {
          rmdirSync(dir);
        } catch {
          await sleep(50);
        }
    if (missing.length > 0) switchAll("-");
  });
  return path;
}

/** Starts it inside the group. */
function inside(group: string, command: readonly string[]): ChildProcess {
  const child = spawn("sh", ["-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', group, ...command], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdout?.setEncoding("utf8");
  return child;
}

async function said(child: ChildProcess): Promise<string> {
  let out = "";
  for await (const part of child.stdout!) {
    out += part;
    if (/^removed/m.test(out)) break;
  }
  return out;
}

t.test("in a delegated group, with other processes in it", { skip }, async (t) => {
  const group = delegated(t);
  const name = group.slice(v2!.mount.length);
  const other = inside(group, ["sleep", "60"]);
  t.teardown(() => other.kill("SIGKILL"));
  while (!readFileSync(join(group, "cgroup.procs"), "utf8").includes(`${other.pid}`)) await sleep(10);

  for (const time of ["first", "again, as after the runner's death"]) {
    // What the first has put into `supervisor` starts the second there.
    const from = time === "first" ? group : join(group, "supervisor");
    const launcher = inside(from, [program]);
    t.teardown(() => launcher.kill("SIGKILL"));
    const out = await said(launcher);
    t.match(out, /^mode 2$/m, time);
    t.match(out, new RegExp(`^self ${name}/supervisor$`, "m"), "it moved down");
    t.match(
      out,
      new RegExp(`^run ${name}/sallyport-${launcher.pid}-[0-9a-f]{8}-1$`, "m"),
      "the run is beside it",
    );
    t.match(out, /^killed by 9$/m, "cgroup.kill took all of it, TERM ignored or not");
    t.match(out, /^removed 1$/m);
    t.equal(readFileSync(join(group, "cgroup.procs"), "utf8"), "", "nobody is left in the inner group");
    t.match(
      readFileSync(join(group, "supervisor/cgroup.procs"), "utf8"),
      `${other.pid}`,
      "the other roles are with it",
    );
    for (const controller of needs)
      t.match(readFileSync(join(group, "cgroup.subtree_control"), "utf8"), controller);
    t.same(
      readdirSync(group).filter((entry) => entry.startsWith("sallyport-")),
      [],
    );
    t.same(
      readdirSync(join(group, "supervisor")).filter((entry) => entry === "supervisor"),
      [],
      "no deeper",
    );
    launcher.stdin?.end();
  }
});
