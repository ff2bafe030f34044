import { existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

t.test("an unlock that fails on its way leaves nothing open, and the next one works", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.init();
  await box.serve();
  const notary = box.role("notary");
  process.kill(notary, "SIGSTOP");
  const failed = await box.tryUnlock();
  process.kill(notary, "SIGCONT");
  t.equal(failed.status, 1, "the notary does not answer");
  t.match(await box.status(), { state: "sealed" });
  // With its key made, the answer that nobody waits for any more is on its way.
  await until(() => existsSync(join(box.stateDir, "notary/key.json")), 30_000);
  await box.unlock();
  await box.tested();
  t.equal(box.role("notary"), notary, "an answer that comes late cuts nobody off");
  t.same(await box.entries({ type: "wire.violation" }), []);
  const order = (await box.entries()).map(({ entry }) => entry.type);
  t.equal(order.filter((type) => type === "appliance.unlocked").length, 2, "both are in the log");
  t.equal(order.filter((type) => type === "notary.key").length, 1);
  const last = order.lastIndexOf("appliance.unlocked");
  t.notOk(order.slice(0, last).includes("slack.connected"));
  t.ok(await box.verifies());
});
