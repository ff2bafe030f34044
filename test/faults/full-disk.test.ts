import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, statfsSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT, isAlive, marker } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

const INSIDE = "FULL_DISK_TEST_DIR";
const inside = process.env[INSIDE];

if (inside === undefined) {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-full-"));
  chmodSync(dir, 0o755);
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const how = process.getuid?.() === 0 ? "-m" : "-rm";
  const script = 'mount -t tmpfs -o size=24m,mode=0755 tmpfs "$1" && shift && exec "$@"';
  const small = (command: string[]) =>
    spawnSync("unshare", [how, "sh", "-c", script, "sh", dir, ...command], {
      env: { ...process.env, [INSIDE]: dir, TMPDIR: dir },
      encoding: "utf8",
    });
  const skip =
    small(["true"]).status === 0 ? false : "needs a mount namespace and tmpfs to make a small disk";
  t.test("a full disk", { skip }, (t) => {
    const ran = small([process.execPath, fileURLToPath(import.meta.url)]);
    t.equal(ran.status, 0, "on a disk of 24 MiB");
    if (ran.status !== 0) t.comment(`${ran.stdout}\n${ran.stderr}`);
    t.match(ran.stdout, /refused while full[\s\S]*goes on/);
    t.end();
  });
} else {
  t.test("on a disk of 24 MiB", async (t) => {
    const box = new Box();
    t.teardown(() => box.stop());
    await box.unlocked();
    await box.demo();
    await box.op("nap", 'echo up; exec sleep "$INPUT_FOR"', "inputs:\n  for: {type: string, default: '0'}\n");
    t.equal((await box.cli(["run", "demo/nap"])).status, 0);
    const live = marker();
    const running = box.cli(["run", "demo/nap", "--for", live]);
    await until(() => isAlive(live), 10_000);
    const keeper = box.role("keeper");
    const before = (await box.entries()).length;

    const ballast = join(inside, "ballast");
    const fill = () => {
      try {
        writeFileSync(ballast, Buffer.alloc(statfsSync(inside).bfree * 4096));
      } catch (error) {
        // The appliance wrote meanwhile: the disk is as full as can be.
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
    };
    fill();
    const said = await Promise.all([1, 2, 3].map(() => box.cli(["run", "demo/nap"])));
    for (const { status, stderr, stdout } of said) {
      t.equal(status, 1, "refused while full");
      t.match(stderr, /log can't be written.*(space|disk)/i);
      t.equal(stdout, "", "nothing ran");
    }
    t.match(await box.status(), { state: "unlocked", writable: false, problem: /space/i });
    const wrong = await box.cli(["user", "add", "dave"]);
    t.equal(wrong.status, 1);
    t.match(wrong.stderr, /log can't be written/);
    t.ok(isAlive(live), "what ran before goes on");
    const [id] = (
      (await box.ok(["runs", "--json"])).json() as { runs: { run: string; state: string }[] }
    ).runs
      .filter(({ state }) => state === "running")
      .map(({ run }) => run);
    t.ok(id, "reads go on");
    t.equal(box.role("keeper"), keeper, "the keeper lives");

    unlinkSync(ballast);
    t.equal((await box.cli(["run", "demo/nap"])).status, 0, "goes on once there is room");
    await box.ok(["cancel", id ?? ""]);
    await running;
    t.equal(
      (await box.entries({ type: "run.finished", run: id ?? "" })).length,
      1,
      "the live run's outcome is there",
    );
    t.ok((await box.entries()).length > before, "nothing lost");
    t.ok(await box.verifies());
    t.equal(box.role("keeper"), keeper);

    await t.test("lock works on a full disk too, with a run live", async (t) => {
      const mark = marker();
      const run = box.cli(["run", "demo/nap", "--for", mark]);
      await until(() => isAlive(mark), 10_000);
      fill();
      const locked = await box.cli(["lock"]);
      t.equal(locked.status, 0, locked.stderr);
      t.notOk(isAlive(mark));
      await run;
      unlinkSync(ballast);
      await box.sealedAgain();
      await box.unlock();
      await box.tested();
      const [newest] = (
        (await box.ok(["runs", "--json"])).json() as { runs: { run: string; state: string }[] }
      ).runs;
      t.match(newest?.state, /lost|canceled/);
      t.equal((await box.entries({ type: "run.finished", run: newest?.run ?? "" })).length, 1);
      t.ok(await box.verifies());
    });
  });
}
