import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ENGINE_PROGRAM, OCI_ENGINES } from "../../src/core/engines.ts";
import { program, until } from "../e2e/appliance.ts";
import { filesOf, groupsOf, mountsOf, newMark } from "../exec/bad-ops.ts";
import { Box, FILE_TIMEOUT, processTable } from "./support.ts";

/** An Op under an OCI runtime when something of the appliance ends: neither of the two is left. */

t.setTimeout(FILE_TIMEOUT);

const launcherOf = (box: Box): number =>
  box.processes().find(({ argv }) => /^\/proc\/self\/fd\/[0-9]+ runner /.test(argv))?.pid ?? 0;

/** Runs live under the launcher, beside the runner itself. */
function runsOf(launcher: number, runner: number): number[] {
  const all = processTable();
  const family = new Set([launcher]);
  for (let grew = true; grew; ) {
    grew = false;
    for (const { pid, parent } of all)
      if (family.has(parent) && !family.has(pid) && pid !== runner) {
        family.add(pid);
        grew = true;
      }
  }
  family.delete(launcher);
  return [...family];
}

/** Those of them that are still there; in the seconds of a test no number comes again. */
const left = (pids: readonly number[]): number[] => {
  const alive = new Set(processTable().map(({ pid }) => pid));
  return pids.filter((pid) => alive.has(pid));
};

const ENDS: Record<string, { act: (box: Box) => Promise<unknown>; sealed: boolean }> = {
  lock: { act: (box) => box.ok(["lock"]), sealed: true },
  "kill -9 of the runner": { act: async (box) => process.kill(box.role("runner"), "SIGKILL"), sealed: false },
  "kill -9 of the launcher": { act: async (box) => process.kill(launcherOf(box), "SIGKILL"), sealed: false },
  "kill -9 of the keeper": { act: async (box) => process.kill(box.role("keeper"), "SIGKILL"), sealed: true },
};

const PLACES = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
type Engines = { found: { engine: string; path: string | null; ok: boolean }[] } | null;

const enginesOf = async (box: Box) => ((await box.status()) as unknown as { engines: Engines }).engines;
const tried = (box: Box) => until(async () => (await enginesOf(box)) !== null, 60_000);

/** Starts the Op and waits until it has said something. */
async function begin(
  box: Box,
  name: string,
): Promise<{ command: ChildProcess; status: Promise<number | null> }> {
  const [file = "", ...args] = program();
  const command = spawn(file, [...args, "run", `demo/${name}`], {
    env: box.env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const status = new Promise<number | null>((resolve) => command.once("close", resolve));
  let said = "";
  for (const stream of [command.stdout, command.stderr])
    stream?.on("data", (chunk: Buffer) => {
      said += chunk;
    });
  await until(
    () => said.includes("ready"),
    30_000,
    () => said + box.log.slice(-1000),
  );
  return { command, status };
}

for (const engine of OCI_ENGINES) {
  const program = ENGINE_PROGRAM[engine];
  const there = PLACES.some((place) => existsSync(join(place, program)));
  const skip = there ? false : `no ${program} here (scripts/setup --tests installs it)`;
  t.test(engine, { skip }, async (t) => {
    // One each: five deaths of roles within a minute are the end.
    const box = new Box();
    t.teardown(() => box.stop());
    await box.unlocked();
    await box.demo();
    await tried(box);
    const mark = newMark();
    const script = `trap "" TERM; echo x > /tmp/${mark}; (setsid sleep 290 &) ; echo ready; while :; do sleep 60; done`;
    await box.op(engine, script, `engine: ${engine}\n`);
    for (const [end, { act, sealed }] of Object.entries(ENDS))
      await t.test(end, async (t) => {
        const launcher = launcherOf(box);
        const runner = box.role("runner");
        const mounts = mountsOf("self");
        const { status } = await begin(box, engine);
        const pids = runsOf(launcher, runner);
        t.ok(pids.length >= 4, `${pids.length} processes of the run, its engine and the spares`);

        const from = performance.now();
        await act(box);
        await until(
          () => left(pids).length === 0,
          15_000,
          () => `left: ${left(pids).join(" ")}`,
        );
        t.comment(`gone after ${Math.round(performance.now() - from)} ms`);
        t.not(await status, 0);
        t.same(mountsOf("self"), mounts, "no mount");
        t.same(filesOf([mark], ["/tmp", "/dev/shm", "/var/tmp", join(box.dir, "run")]), [], "no file");
        for (const place of ["/run/crun", "/run/runc", "/run/runsc", "/run/state"])
          t.notOk(existsSync(place) && readdirSync(place).includes("op"), `nothing in ${place}`);

        if (sealed) {
          await box.sealedAgain();
          await box.unlock();
        }
        await until(() => box.role("runner") !== 0 && box.role("runner") !== runner, 20_000);
        await until(async () => (await box.status()).roles.runner, 20_000);
        await box.tested();
        await tried(box);
        await until(
          () => groupsOf(launcher).length === 0,
          15_000,
          () => groupsOf(launcher).join("\n"),
        );
        t.pass("no cgroup of its launcher is left");
      });
  });
}
