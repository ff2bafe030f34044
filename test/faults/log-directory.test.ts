import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { checkLogDirectory, type LogDirectoryReport } from "../audit/log-directory.ts";
import { until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

const PATIENCE_MS = 60_000;
const box = new Box();
t.teardown(() => box.stop());
const logDir = join(box.dir, "log");
let vkey = "";
let origin = "";

function report(): LogDirectoryReport | undefined {
  try {
    return checkLogDirectory(logDir, origin, [vkey]);
  } catch {
    // Not there yet, or replaced while it was read.
    return undefined;
  }
}

/** Waits until the directory covers what is in the log now, makes no entry of its own, and is as sound as can be. */
async function covered(): Promise<void> {
  const size = (await box.entries()).length;
  await until(
    () => {
      const found = report();
      return found !== undefined && found.size >= size && found.wrong.length + found.surplus.length === 0;
    },
    PATIENCE_MS,
    () => `${size} entries, ${JSON.stringify(report())} ${box.log}`,
  );
}

t.test("a checkpoint follows without any further entry, and its tiles are there", async (t) => {
  await box.unlocked();
  const said = (await callKeeper(box.runDir, "audit.checkpoint", {})) as { vkey: string; checkpoint: string };
  vkey = said.vkey;
  origin = said.checkpoint.split("\n", 1)[0] ?? "";
  await box.ok(["user", "add", "carol"]);
  const seq = Math.max(...(await box.entries({ type: "user.added" })).map((added) => added.seq));
  await covered();
  t.equal(report()?.size, seq + 1);
  t.equal((await box.entries()).length, seq + 1, "no other entry had it signed");
});

t.test("killed while the directory can't be written, it catches up after the restart", async (t) => {
  renameSync(join(logDir, "tile"), join(logDir, "aside"));
  writeFileSync(join(logDir, "tile"), "");
  const before = readFileSync(join(logDir, "checkpoint"), "utf8");
  // Past a full tile: only what comes after it is in the tiles that the next entries make new.
  for (let i = 0; i < 260; i++) await callKeeper(box.runDir, "user.add", { name: `user${i}` });
  await callKeeper(box.runDir, "audit.checkpoint", {});
  process.kill(box.role("keeper"), "SIGKILL");
  await box.sealedAgain();
  t.equal(readFileSync(join(logDir, "checkpoint"), "utf8"), before);
  rmSync(join(logDir, "tile"));
  renameSync(join(logDir, "aside"), join(logDir, "tile"));
  await box.unlock();
  await box.tested();
  await covered();
  t.ok(await box.verifies());
});
