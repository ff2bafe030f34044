import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createPrivately, DatabaseKey, openConnection } from "../../src/store/database.ts";
import { renderMessage, type Workspace } from "../../src/workspace/index.ts";
import { TestAppliance } from "../../test/e2e/appliance.ts";
import { runOp, startLauncher } from "../../test/exec/launcher.ts";

/**
 * From the command's envelope to the arrival of the result's chat.postMessage, for an Op that is /bin/true, with
 * authorization, durable log and sandbox on; and where the time goes, by stage. The stages are measured on runs of a second
 * Op, in turn with the first, whose only act is to print the time: that splits what lies before the Op from what comes after.
 * The other borders are the ack's arrival, the two log entries' own times (whole milliseconds) and the post's arrival. So
 * the stages of one run add up to it; what is compared is their sum with the runs of /bin/true.
 */
/** At most 400: the log is read in one page, and each round has two runs. */
const RUNS = Math.min(400, Number(process.argv[2] ?? 100));
const WARM = 5;

const STAMP = `
#include <stdio.h>
#include <time.h>
int main(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  printf("at %lld.%09ld\\n", (long long)t.tv_sec, t.tv_nsec);
}`;

type Run = { id: string; sent: number; acked: number; main: number | null; posted: number };
type Line = { entry: { time: string; run?: string } };

const wall = (at: number): number => performance.timeOrigin + at;
const list = (values: (number | null)[]): number[] => values.filter((value) => value !== null);
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const quantile = (values: number[], q: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN;
const median = (values: number[]): number => quantile(values, 0.5);
const ms = (value: number): string => `${value.toFixed(1)} ms`;

/** What the stamp printed, in ms of the wall clock. */
function stampOf(text: string): number | null {
  const seconds = /\bat (\d+\.\d+)/.exec(text)?.[1];
  return seconds === undefined ? null : Number(seconds) * 1000;
}

async function once(workspace: Workspace, op: string): Promise<Run> {
  const seen = workspace.messages("ops").length;
  const sent = performance.now();
  const typed = workspace.command("bob", "ops", `/ops run ${op}`);
  const ack = await typed.ack;
  if (ack.status !== "acked") throw new Error(`not acked: ${JSON.stringify(ack)}`);
  const shown = await workspace.waitFor(
    () =>
      workspace
        .messages("ops")
        .slice(seen)
        .find((m) => m.via === "chat.postMessage" && renderMessage(m).includes("succeeded")),
    20_000,
  );
  const text = renderMessage(shown);
  const id = /\br-[0-9a-z]+/.exec(text)?.[0] ?? "";
  return {
    id,
    sent: wall(sent),
    acked: wall(sent + ack.ms),
    main: stampOf(text),
    posted: wall(shown.postedAt),
  };
}

function publishOp(appliance: TestAppliance, name: string, program: string, file?: string): Promise<unknown> {
  const dir = join(appliance.dir, name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "op.yaml"), `op: demo/${name}\nsummary: a bench's\nrun: [${program}]\n`);
  if (file !== undefined) writeFileSync(join(dir, name), readFileSync(file), { mode: 0o755 });
  return appliance.publish(dir);
}

const appliance = new TestAppliance();
const launcher = startLauncher();
try {
  const workspace = await appliance.ready();
  const stamp = join(appliance.dir, "stamp.bin");
  execFileSync("gcc", ["-O2", "-s", "-x", "c", "-o", stamp, "-"], { input: STAMP });
  await publishOp(appliance, "true", "/bin/true");
  await publishOp(appliance, "stamp", "./stamp", stamp);
  const file = join(appliance.dir, "bare.db");
  createPrivately(file);
  const bare = await openConnection(file, new DatabaseKey(randomBytes(32)), "writer");
  await bare.exec("CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB)");
  const files = [{ tree: "op", path: "stamp", mode: 0o555, bytes: readFileSync(stamp) }] as const;
  const commits: number[] = [];
  const launches: (number | null)[] = [];
  const plain: Run[] = [];
  const stamped: Run[] = [];
  for (let i = 0; i < RUNS + WARM; i++) {
    const first = i % 2 === 0 ? await once(workspace, "demo/true") : null;
    const timed = await once(workspace, "demo/stamp");
    const other = first ?? (await once(workspace, "demo/true"));
    await sleep(20);
    const asked = wall(performance.now());
    const alone = await runOp(launcher.launcher, { argv: ["./stamp"], files });
    const commit = performance.now();
    await bare.run("INSERT INTO row (bytes) VALUES (?)", [randomBytes(300)]);
    if (i < WARM) continue;
    commits.push(performance.now() - commit);
    const main = stampOf(alone.stdout);
    launches.push(main === null ? null : main - asked);
    plain.push(other);
    stamped.push(timed);
  }
  await bare.close();
  const requested = await timesOf(appliance, "run.requested");
  const finished = await timesOf(appliance, "run.finished");
  const at = (times: Map<string, number>, id: string): number => times.get(id) ?? Number.NaN;
  const stage = (of: (run: Run) => number): number => mean(stamped.map(of));
  const mainOf = (run: Run): number => run.main ?? Number.NaN;
  const stages: [string, number][] = [
    ["envelope sent to ack received (durable receipt)", stage((r) => r.acked - r.sent)],
    ["ack to intent (authorization, arguments)", stage((r) => at(requested, r.id) - r.acked)],
    ["intent to the Op's main (commit, order, sandbox)", stage((r) => mainOf(r) - at(requested, r.id))],
    ["the Op's main to outcome (exit, clean-up, report)", stage((r) => at(finished, r.id) - mainOf(r))],
    ["outcome to chat.postMessage (commit, gateway)", stage((r) => r.posted - at(finished, r.id))],
  ];
  const totals = plain.map((run) => run.posted - run.sent);
  const sum = stages.reduce((all, [, value]) => all + value, 0);
  console.log(
    `command sent to result posted, ${totals.length} runs of /bin/true: median ${ms(median(totals))}, p99 ${ms(quantile(totals, 0.99))} (goal: median under 40)`,
  );
  for (const [name, value] of stages) console.log(`  ${name.padEnd(52)} mean ${ms(value)}`);
  console.log(
    `  ${"sum of the stages".padEnd(52)} ${ms(sum)}; mean of /bin/true's runs ${ms(mean(totals))}: ${(sum / mean(totals)).toFixed(2)} x`,
  );
  const [setUp, commit] = [median(list(launches)), median(commits)];
  console.log(
    `  beside them, medians: a launcher asked by itself until the Op's main ${ms(setUp)}; one bare SQLCipher commit ${ms(commit)}`,
  );
  console.log(
    `  ratio to both of these (three commits and a launch can't be left out): ${(median(totals) / (setUp + 3 * commit)).toFixed(1)} x`,
  );
} finally {
  await launcher.stop();
  await appliance.stop();
}

/** When each run's entry of this type was made: its own time is cut to whole milliseconds, half of one on average. */
async function timesOf(appliance: TestAppliance, type: string): Promise<Map<string, number>> {
  const said = await appliance.ok(["audit", "log", "--type", type, "--limit", "1000", "--json"]);
  const { entries } = said.json() as { entries: Line[] };
  return new Map(entries.map(({ entry }) => [entry.run ?? "", Date.parse(entry.time) + 0.5]));
}
