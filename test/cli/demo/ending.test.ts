import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { FILE_TIMEOUT } from "../../faults/support.ts";
import { alive, familyOf, Playing, processesOf, SCRIPT, scratchDir, until } from "./play.ts";

t.setTimeout(FILE_TIMEOUT);

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  t.test(`${signal} while an Op runs ends everything`, async (t) => {
    const dir = scratchDir(t);
    const playing = new Playing(["--script", "-"], dir, "bob: /ops run slow --count 60\n");
    await playing.printed(/▶ demo\/slow is running/);
    const family = familyOf(playing.child.pid);
    // The demo, serve, four roles, the launcher, the Op's own first process and its shell.
    t.ok(family.length >= 9, `${family.length} processes are there`);
    const from = performance.now();
    playing.child.kill(signal);
    const { status } = await playing.done;
    t.equal(status, { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }[signal]);
    // 2 s is the promise; the rest is for a busy machine.
    t.ok(performance.now() - from < 5000, `${Math.round(performance.now() - from)} ms`);
    t.same([readdirSync(dir), processesOf(dir), alive(family)], [[], [], []], "nothing is left");
  });
}

t.test("after kill -9 of the demo no process stays", async (t) => {
  const dir = scratchDir(t);
  const playing = new Playing(["--script", "-"], dir, "bob: /ops run slow --count 60\n");
  await playing.printed(/▶ demo\/slow is running/);
  const family = familyOf(playing.child.pid);
  playing.child.kill("SIGKILL");
  await playing.done;
  await until(() => alive(family).length === 0, 10_000, `still there: ${alive(family).join("\n")}`);
  t.pass("all ended");
});

t.test("interrupted while it is being set up", async (t) => {
  const dir = scratchDir(t);
  const playing = new Playing(["--script", SCRIPT], dir);
  await until(() => readdirSync(dir).length > 0, 20_000, "it never began");
  playing.child.kill("SIGINT");
  t.equal((await playing.done).status, 130);
  await until(() => processesOf(dir).length === 0, 15_000, `still there: ${processesOf(dir).join("\n")}`);
  t.same(readdirSync(dir), [], "no file is left");
});

t.test("a serve that dies ends the demo, which says so", async (t) => {
  const dir = scratchDir(t);
  const playing = new Playing(["--script", "-"], dir, "bob: /ops run slow --count 60\n");
  await playing.printed(/▶ demo\/slow is running/);
  const family = familyOf(playing.child.pid);
  const [serve = ""] = familyOf(playing.child.pid).filter((key) => isServe(key.split(" ")[0] ?? ""));
  process.kill(Number(serve.split(" ")[0]), "SIGKILL");
  const { status, err } = await playing.done;
  t.equal(status, 1);
  t.match(err, /serve ended by itself\. Its last words:/);
  await until(() => alive(family).length === 0, 15_000, `still there: ${alive(family).join("\n")}`);
  t.same(readdirSync(dir), [], "no file is left");
});

function isServe(pid: string): boolean {
  return readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0").includes("serve");
}
