import { cpSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Box, FILE_TIMEOUT } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

const box = new Box();
t.teardown(() => box.stop());
async function stopped(): Promise<void> {
  box.serving?.kill("SIGTERM");
  await box.exited();
}

t.test("an older database put back is noticed: no run, an event, and the keeper lives", async (t) => {
  await box.unlocked();
  await box.demo();
  await box.op("hello", "echo hello");
  await stopped();
  const older = join(box.dir, "older");
  cpSync(box.stateDir, older, { recursive: true });

  await box.serve();
  await box.unlock();
  await box.tested();
  t.equal((await box.cli(["run", "demo/hello"])).status, 0);
  const before = (await box.entries()).length;
  await stopped();

  // The notary's directory stays as it is: under systemd it is another account's.
  const notary = join(box.stateDir, "notary");
  renameSync(notary, join(box.dir, "notary"));
  rmSync(box.stateDir, { recursive: true });
  cpSync(older, box.stateDir, { recursive: true });
  rmSync(notary, { recursive: true });
  renameSync(join(box.dir, "notary"), notary);

  await box.serve();
  await box.unlock();
  t.match(await box.status(), { state: "unlocked", halted: /another history.*older database was put back/ });
  const event = await box.event("notary.fork");
  t.match(event.entry, { outcome: "failure", reason: /only [0-9]+ are here/ });
  await box.tested();
  const run = await box.cli(["run", "demo/hello"]);
  t.equal(run.status, 1);
  t.match(run.stderr, /another history/);
  const verified = await box.cli(["audit", "verify"]);
  t.equal(verified.status, 6, verified.stdout);
  t.match(verified.stderr, /does not verify.*another history.*older database was put back/);

  // Also after a restart of the notary nothing of the new history is signed.
  await box.killAndWait("notary");
  t.match(await box.status(), { halted: /another history/ });
  t.equal((await box.cli(["run", "demo/hello"])).status, 1);
  t.equal((await box.cli(["audit", "verify"])).status, 6);
  const told = (await box.entries()).filter(({ entry }) => /^notary\.(fork|refused)$/.test(entry.type));
  t.equal(told.length, 1, "it is told once, not with every entry that follows");
  t.ok((await box.entries()).length < before + 20);
  await stopped();
});

t.test("with no sink, status says that a rollback of everything could go unseen", async (t) => {
  await box.serve();
  await box.unlock();
  t.match(await box.status(), { rollbackCouldGoUnseen: true });
});
