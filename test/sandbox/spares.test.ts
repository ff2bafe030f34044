import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { isRoot, USERS } from "./support/once.ts";
import { KIND, Launcher } from "./support/serve.ts";
import { script } from "./support/spec.ts";

t.setTimeout(FILE_TIMEOUT);

const SPARES = 2;
const gone = (pid: number): boolean => !existsSync(`/proc/${pid}`);
const namespaceOf = (pid: number, kind: string): string => readlinkSync(`/proc/${pid}/ns/${kind}`);

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

async function ready(launcher: Launcher): Promise<number[]> {
  const pid = launcher.child.pid!;
  for (let i = 0; i < 100 && childrenOf(pid).length !== SPARES; i++) await sleep(50);
  // They close what they inherited right after.
  await sleep(50);
  return childrenOf(pid);
}

for (const { name, user } of USERS) {
  const options = user === undefined ? {} : { user };

  t.test(`spares, as ${name}`, async (t) => {
    const launcher = new Launcher(options);
    t.teardown(() => launcher.end());
    const used = new Set<number>();
    for (let i = 0; i < 6; i++) {
      const spares = await ready(launcher);
      const r = await launcher.run(script("echo $$ $(id -u) $(hostname); ls /proc/self/fd | wc -l"));
      t.match(r, { stdout: "2 1000 op\n4\n", exited: { code: 0 } }, "a run in a spare is like any other");
      t.ok(spares.includes(r.started!.pid), "it was made before its order");
      t.notOk(used.has(r.started!.pid), "and serves no second run");
      used.add(r.started!.pid);
    }

    const other = await launcher.run({ ...script("id -u"), ids: [1234, 1234] });
    t.match(other, { stdout: "1234\n", exited: { code: 0 } }, "none fits other ids");

    for (const spare of await ready(launcher)) process.kill(spare, "SIGKILL");
    await sleep(100);
    const after = await launcher.run(script("echo fine"));
    t.match(after, { stdout: "fine\n", exited: { code: 0 } }, "killed ones are not used");
  });

  t.test(`what a spare is, as ${name}`, { skip: isRoot ? false : "namespaces can't be read" }, async (t) => {
    const launcher = new Launcher(options);
    t.teardown(() => launcher.end());
    const pid = launcher.child.pid!;
    const spares = await ready(launcher);
    t.equal(spares.length, SPARES);
    for (const kind of ["net", "ipc", "uts", "user"]) {
      const all = [pid, ...spares].map((one) => namespaceOf(one, kind));
      t.equal(new Set(all).size, SPARES + 1, `${kind}: one of its own`);
    }
    for (const spare of spares) {
      t.equal(namespaceOf(spare, "mnt"), namespaceOf(pid, "mnt"), "keeps none of the host's mounts busy");
      const held = readdirSync(`/proc/${spare}/fd`).map((fd) => readlinkSync(`/proc/${spare}/fd/${fd}`));
      t.same(
        held.map((target) => target.replace(/\d+/g, "")).sort(),
        ["/dev/null", "/dev/null", "/dev/null", "/dev/null", "anon_inode:[pidfd]", "socket:[]"],
        "holds nothing of the launcher's but its own socket and the launcher's pidfd",
      );
    }
  });

  t.test(`the end of spares, as ${name}`, async (t) => {
    const killed = new Launcher(options);
    const one = await ready(killed);
    killed.child.kill("SIGKILL");
    await killed.end();
    for (let i = 0; i < 100 && !one.every(gone); i++) await sleep(20);
    t.ok(one.length === SPARES && one.every(gone), "kill -9 of the launcher ends them");

    const ended = new Launcher(options);
    await ended.wait((f) => f.kind === KIND.hello);
    const two = await ready(ended);
    await ended.end();
    t.ok(two.every(gone), "and so does its own end");
  });
}
