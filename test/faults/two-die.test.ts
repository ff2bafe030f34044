import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT, type RoleName } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

const PAIRS: readonly [RoleName, RoleName][] = [
  ["keeper", "gateway"],
  ["keeper", "runner"],
  ["gateway", "keeper"],
  ["runner", "keeper"],
  ["notary", "keeper"],
];
/** Between the two: none; and about as long as the start of the first one's successor takes. */
const GAPS_MS = [0, 2];

/** The second may be gone already: without the keeper no role stays. */
function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

const box = new Box();
t.teardown(() => box.stop());

t.test("kill -9 of two roles at the same instant", async (t) => {
  await box.init();
  for (const gap of GAPS_MS) {
    for (const pair of PAIRS) {
      await t.test(`${pair.join(" and ")}, ${gap} ms apart: all start again, sealed`, async (t) => {
        // Five deaths within a minute end a serve, so each pair has one of its own.
        await box.serve();
        await until(async () => Object.values((await box.status()).roles).every(Boolean), 15_000);
        // Until the launcher has executed it there is no such process, and a kill of 0 would end this test's own group.
        await until(() => pair.every((role) => box.role(role) !== 0), 15_000);
        const before = box.processes().map(({ pid }) => pid);
        const [first, second] = pair.map((role) => box.role(role)) as [number, number];
        kill(first);
        if (gap > 0) await sleep(gap);
        kill(second);
        const isNew = (role: RoleName) => box.role(role) !== 0 && !before.includes(box.role(role));
        await until(
          () => isNew("keeper") || box.serving?.exitCode !== null,
          15_000,
          () => box.log,
        );
        t.equal(box.serving?.exitCode, null, "serve goes on");
        if (box.serving?.exitCode !== null) t.comment(box.log.slice(-1500));
        else {
          await box.sealedAgain();
          t.same(
            box.processes().filter(({ pid }) => before.includes(pid)),
            [],
            "none of the old ones is left",
          );
          const ended = box.exited();
          box.serving?.kill("SIGTERM");
          t.equal(await ended, 0, box.log);
        }
      });
    }
  }
});

t.test("kill -9 of the keeper, and of the next one while it starts", async (t) => {
  await box.serve();
  await box.sealedAgain();
  const first = box.role("keeper");
  process.kill(first, "SIGKILL");
  const next = () => ![0, first].includes(box.role("keeper"));
  await until(next, 15_000, () => box.log);
  const second = box.role("keeper");
  process.kill(second, "SIGKILL");
  await until(
    () => ![0, second].includes(box.role("keeper")) || box.serving?.exitCode !== null,
    15_000,
    () => box.log,
  );
  t.equal(box.serving?.exitCode, null, box.log);
  if (box.serving?.exitCode === null) await box.sealedAgain();
});
