import t from "tap";
import { until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

type Outputs = { outputs: Record<"stdout" | "stderr", { dropped: number; problem: string | null }> };

t.test("the reader of standard output goes away: nothing ends, status counts", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.unlocked();
  const keeper = box.role("keeper");
  t.match(await box.status(), { outputs: { stdout: { dropped: 0, problem: null } } });
  box.serving?.stdout?.destroy();
  await box.demo();
  await box.op("hello", "echo hello");
  const ran = await box.cli(["run", "demo/hello"]);
  t.match(ran, { status: 0, stdout: "hello\n" }, "Ops run");
  await until(async () => ((await box.status()) as unknown as Outputs).outputs.stdout.dropped > 3, 15_000);
  t.match(await box.status(), { state: "unlocked", outputs: { stdout: { problem: "EPIPE" } } });
  t.equal(box.role("keeper"), keeper, "the same process");
  t.ok(await box.verifies());
});

t.test("the notary comes back with another key: that is an event, and what it signs verifies", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.unlocked();
  const before = (await box.entries({ type: "notary.key" })).length;
  const { readdirSync, rmSync } = await import("node:fs");
  const dir = `${box.stateDir}/notary`;
  for (const name of readdirSync(dir)) rmSync(`${dir}/${name}`, { recursive: true });
  await box.killAndWait("notary");
  await until(async () => (await box.entries({ type: "notary.key" })).length > before, 10_000);
  const event = (await box.entries({ type: "notary.key" })).at(-1);
  t.match(event?.entry, { outcome: "unknown" });
  t.not(event?.entry.data?.replaced, null);
  await box.ok(["audit", "checkpoint"]);
  t.ok(await box.verifies(), "under both keys");
});
