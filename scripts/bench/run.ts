import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createPrivately, DatabaseKey, openConnection } from "../../src/store/database.ts";
import { renderMessage } from "../../src/workspace/index.ts";
import { TestAppliance } from "../../test/e2e/appliance.ts";

/**
 * From the command's envelope to the arrival of the result's chat.postMessage, for an Op that is /bin/true, with
 * authorization, durable log and sandbox on; and where the time goes, by stage. Stages come from the log's own entries
 * (milliseconds), so they are means over all runs.
 */
const RUNS = Number(process.argv[2] ?? 100);

type Line = { entry: { time: string; type: string; run?: string; data?: Record<string, unknown> } };

const appliance = new TestAppliance();
try {
  const workspace = await appliance.ready();
  const dir = join(appliance.dir, "op");
  mkdirSync(dir);
  writeFileSync(join(dir, "op.yaml"), "op: demo/true\nsummary: does nothing\nrun: [/bin/true]\n");
  await appliance.publish(dir);
  const file = join(appliance.dir, "bare.db");
  createPrivately(file);
  const bare = await openConnection(file, new DatabaseKey(randomBytes(32)), "writer");
  await bare.exec("CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB)");
  const commits: number[] = [];
  const totals: number[] = [];
  const acks: number[] = [];
  for (let i = 0; i < RUNS + 5; i++) {
    const seen = workspace.messages("ops").length;
    const sent = performance.now();
    const typed = workspace.command("bob", "ops", "/ops run demo/true");
    const ack = await typed.ack;
    const shown = await workspace.waitFor(
      () =>
        workspace
          .messages("ops")
          .slice(seen)
          .find((m) => m.via === "chat.postMessage" && renderMessage(m).includes("succeeded")),
      10_000,
    );
    if (i < 5) continue;
    totals.push(shown.postedAt - sent);
    if (ack.status === "acked") acks.push(ack.ms);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const from = performance.now();
    await bare.run("INSERT INTO row (bytes) VALUES (?)", [randomBytes(300)]);
    commits.push(performance.now() - from);
  }
  await bare.close();
  const said = await appliance.ok(["audit", "log", "--limit", "1000", "--json"]);
  const { entries } = said.json() as { entries: Line[] };
  const stages = stagesOf(entries);
  console.log(
    `command sent to result posted, ${totals.length} runs of /bin/true: median ${median(totals).toFixed(1)} ms, p99 ${quantile(totals, 0.99).toFixed(1)} ms (goal: median under 40)`,
  );
  console.log(
    `  envelope sent to ack (durable receipt)   median ${median(acks).toFixed(1)} ms; one bare SQLCipher commit ${median(commits).toFixed(1)} ms: ${(median(acks) / median(commits)).toFixed(1)} x`,
  );
  console.log(`  receipt to intent durable                mean ${mean(stages.intent).toFixed(1)} ms`);
  console.log(
    `  order to outcome (runner, sandbox, Op)   mean ${mean(stages.run).toFixed(1)} ms, of which in the sandbox ${mean(stages.sandbox).toFixed(1)} ms`,
  );
  console.log(
    `  ratio to the run itself in its sandbox: ${(median(totals) / Math.max(0.1, mean(stages.sandbox))).toFixed(1)} x`,
  );
} finally {
  await appliance.stop();
}

function stagesOf(entries: Line[]): { intent: number[]; run: number[]; sandbox: number[] } {
  const stages = { intent: [] as number[], run: [] as number[], sandbox: [] as number[] };
  let received = 0;
  let requested = 0;
  for (const { entry } of entries) {
    const at = Date.parse(entry.time);
    if (entry.type === "request.received") received = at;
    else if (entry.type === "run.requested") {
      requested = at;
      stages.intent.push(at - received);
    } else if (entry.type === "run.finished") {
      stages.run.push(at - requested);
      stages.sandbox.push(Number(entry.data?.durationMs ?? 0));
    }
  }
  return stages;
}

function quantile(values: number[], q: number): number {
  return (
    values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN
  );
}
function median(values: number[]): number {
  return quantile(values, 0.5);
}
function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
