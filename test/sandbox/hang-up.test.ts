import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { waitProcesses } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { isRoot, launch } from "./support/once.ts";
import { KIND, Launcher } from "./support/serve.ts";
import { confineSpec, script } from "./support/spec.ts";

t.setTimeout(FILE_TIMEOUT);

const children = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
/** State, and the ticks of processor time (10 ms each) that it has used, proc_pid_stat(5). */
function statOf(pid: number): { state: string; ticks: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)!.split(" ");
  return { state: fields[0]!, ticks: Number(fields[11]) + Number(fields[12]) };
}
async function until(what: () => boolean): Promise<void> {
  for (let i = 0; i < 1500 && !what(); i++) await sleep(10);
}

t.test(
  "while a killed run's namespace lasts, the launcher waits without using the processor",
  { skip: isRoot ? false : "needs root to enter the namespace" },
  async (t) => {
    const launcher = new Launcher();
    t.teardown(() => launcher.end());
    const run = launcher.start(script("sleep 600"));
    const init = (await launcher.wait((f) => f.kind === KIND.started))!.payload.readUInt32LE(0);
    // A process of the namespace whose parent, outside, does not reap it: the kernel ends no such namespace.
    const parent = spawn("nsenter", ["--target", `${init}`, "--pid", "sleep", "600"]);
    const exited = new Promise((resolve) => parent.once("exit", resolve));
    await until(() => children(parent.pid!).length > 0);
    const [guest] = children(parent.pid!);
    parent.kill("SIGSTOP");
    await until(() => statOf(parent.pid!).state === "T");

    launcher.kill(run.handle, 9);
    await until(() => statOf(guest!).state === "Z");
    t.equal(statOf(guest!).state, "Z", "init has ended, and its end of the control socket with it");
    const before = statOf(launcher.child.pid!).ticks;
    await sleep(1500);
    t.ok(statOf(launcher.child.pid!).ticks - before < 20);
    t.notOk(launcher.frames.some((f) => f.kind === KIND.exited));

    parent.kill("SIGCONT");
    t.match((await run.ended).exited, { signal: 9, flags: 2 }, "its end is told when it is one");
    await exited;
  },
);

t.test("a runner that no longer reads what it is told is ended, with its runs", async (t) => {
  const marker = `deaf-${process.pid}`;
  const runner = join(import.meta.dirname, "support/deaf-runner.ts");
  const spec = confineSpec({ argv: ["node", runner, marker], execPath: process.execPath });
  // A launcher that waited for it would keep no time limit, and take no signal: only this ends it then.
  const r = await launch("runner", spec, { before: ["timeout", "-s", "KILL", "60"] });
  t.match(r, { code: 137, signal: null, stderr: "" }, "by the launcher, not by the time out");
  t.equal(await waitProcesses(marker, (count) => count === 0, 10_000), 0);
});
