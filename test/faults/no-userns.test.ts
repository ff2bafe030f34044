import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { Box, FILE_TIMEOUT } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

const INSIDE = "NO_USERNS_TEST";
const script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"';

if (process.env[INSIDE] === undefined) {
  const without = (command: string[]) =>
    spawnSync("unshare", ["-U", "-r", "sh", "-c", script, "sh", ...command], {
      env: { ...process.env, [INSIDE]: "1" },
      encoding: "utf8",
    });
  const skip =
    without(["true"]).status === 0 ? false : "needs a user namespace of the test's own to forbid them inside";
  t.test("no user namespaces", { skip }, (t) => {
    const ran = without([process.execPath, fileURLToPath(import.meta.url)]);
    t.equal(ran.status, 0, "where the host allows none");
    if (ran.status !== 0) t.comment(`${ran.stdout}\n${ran.stderr}`);
    t.match(ran.stdout, /no Op runs/);
    t.end();
  });
} else {
  t.test("inside", async (t) => {
    const box = new Box();
    t.teardown(() => box.stop());
    await box.unlocked();
    const { sandbox, state } = await box.status();
    t.equal(state, "unlocked", "the rest works");
    t.match(sandbox, /failed/);
    const report = (await callKeeper(box.runDir, "doctor", {})) as {
      ok: boolean;
      checks: { ok: boolean; detail: string }[];
    };
    t.equal(report.ok, false);
    const wrong = report.checks.filter(({ ok }) => !ok);
    t.match(wrong[0]?.detail, /user namespace/i, JSON.stringify(wrong));
    t.equal((await box.cli(["doctor"])).status, 1);
    await box.demo();
    await box.op("hello", "echo hello");
    const said = await box.cli(["run", "demo/hello"]);
    t.equal(said.status, 1, "no Op runs");
    t.equal(said.stdout, "");
    t.match(said.stderr, /self-test failed, so no Op runs.*user namespace/is);
    t.same(await box.entries({ type: "run.started" }), []);
    t.match((await box.event("sandbox.selftest")).entry, { outcome: "failure" });
    t.match(await box.status(), { state: "unlocked", roles: { keeper: true, runner: true } });
  });
}
