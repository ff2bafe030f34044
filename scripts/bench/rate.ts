/**
 * Runs a second of an Op that is /bin/true, for 30 s, asked at the admin socket: through keeper, authorizer, durable log, runner and
 * launcher, by one and by two at a time. Baseline: the same launcher program asked directly in the same seconds, in turns.
 * SECONDS=n (default 30) for each of the two.
 */
import { join } from "node:path";
import { callKeeper } from "../../src/cli/client.ts";
import { TestAppliance } from "../../test/e2e/appliance.ts";
import { opFolder } from "../../test/e2e/slack-rig.ts";
import { runOp, startLauncher } from "../../test/exec/launcher.ts";

const SECONDS = Number(process.env.SECONDS ?? 30);
const TURN_MS = 3000;

const appliance = new TestAppliance();
const bare = startLauncher();
const counts = new Map<string, { runs: number; ms: number }>();

async function turn(name: string, workers: number, once: () => Promise<void>): Promise<void> {
  const start = performance.now();
  let runs = 0;
  const work = async () => {
    while (performance.now() - start < TURN_MS) {
      await once();
      runs++;
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  const sum = counts.get(`${name} ${workers}`) ?? { runs: 0, ms: 0 };
  counts.set(`${name} ${workers}`, { runs: sum.runs + runs, ms: sum.ms + performance.now() - start });
}

try {
  await appliance.ready();
  const folder = opFolder(appliance, 'op: demo/true\nsummary: x\nrun: ["/bin/true"]\nconcurrency: 4\n', {});
  await appliance.publish(folder);
  const runDir = join(appliance.dir, "run");
  const whole = async () => {
    const said = (await callKeeper(runDir, "run", { op: "demo/true", tokens: [] })) as { state?: string };
    if (said.state !== "succeeded") throw new Error(JSON.stringify(said));
  };
  const direct = async () => {
    const { result } = await runOp(bare.launcher, { argv: ["/bin/true"] });
    if (result.exit !== 0) throw new Error(JSON.stringify(result));
  };
  for (let at = 0; at < SECONDS * 1000; at += TURN_MS)
    for (const workers of [1, 2]) {
      await turn("appliance", workers, whole);
      await turn("launcher", workers, direct);
    }
  const rate = (name: string): number => {
    const { runs, ms } = counts.get(name)!;
    return (runs * 1000) / ms;
  };
  for (const workers of [1, 2]) {
    const [ours, base] = [rate(`appliance ${workers}`), rate(`launcher ${workers}`)];
    console.log(
      `${workers} at a time: ${ours.toFixed(0)} runs a second, the launcher alone ${base.toFixed(0)}: ratio ${(ours / base).toFixed(2)}`,
    );
  }
} finally {
  await bare.stop();
  await appliance.stop();
}
