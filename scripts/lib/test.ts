import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Parser, type Result } from "tap-parser";
import { MODULES, NODE, ROOT } from "./run.ts";

/** One file's time; a test that needs longer is a test that hangs. */
const FILE_TIMEOUT_MS = 330_000;

const total = { passed: 0, failed: 0, skipped: 0 };

interface Outcome {
  passed: number;
  problems: string[];
  skips: string[];
}

/** Counts the leaves: a subtest's own line stands for what is inside it, which has been counted. */
function follow(parser: Parser, path: string[], outcome: Outcome): void {
  let subtest = false;
  parser.on("child", (child: Parser) => {
    subtest = true;
    follow(child, [...path, child.name.trim()], outcome);
  });
  parser.on("assert", (result: Result) => {
    const inner = subtest;
    subtest = false;
    const name = [...path, result.name].filter((part) => part !== "").join(" > ");
    if (result.skip) outcome.skips.push(`${name}: ${result.skip === true ? "no reason given" : result.skip}`);
    else if (result.todo) outcome.skips.push(`${name}: to do`);
    else if (!result.ok && (!inner || outcome.problems.length === 0)) {
      outcome.problems.push(`${name}\n${explain(result.diag ?? {})}`);
    } else if (result.ok && !inner) outcome.passed++;
  });
}

function explain(diag: Record<string, unknown>): string {
  const { source: _source, at: _at, ...rest } = diag;
  return Object.entries(rest)
    .map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join("\n");
}

/** Runs a program that prints TAP and reports it. */
async function runFile(file: string): Promise<void> {
  const from = performance.now();
  const env: NodeJS.ProcessEnv = { ...process.env, TAP_TIMEOUT: "200" };
  for (const name of Object.keys(env)) if (/^(SALLYPORT_|NODE_OPTIONS)/.test(name)) delete env[name];
  // A process group of its own, so that what a hanging test started ends with it.
  const child = spawn(NODE, [join(ROOT, file)], {
    cwd: ROOT,
    env,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const outcome: Outcome = { passed: 0, problems: [], skips: [] };
  const parser = new Parser({ name: file });
  follow(parser, [], outcome);
  let complete = false;
  parser.on("complete", (results) => {
    complete = results.ok || outcome.problems.length > 0;
    if (!complete) outcome.problems.push(`TAP ended early or off plan: ${JSON.stringify(results.failures)}`);
  });
  let err = "";
  child.stderr.on("data", (chunk) => {
    err = (err + chunk).slice(-8000);
  });
  child.stdout.on("data", (chunk) => parser.write(chunk));
  const timer = setTimeout(() => {
    outcome.problems.push(`not done after ${FILE_TIMEOUT_MS / 1000} s`);
    killGroup(child.pid);
  }, FILE_TIMEOUT_MS);
  const status = await new Promise<number | string>((done) => {
    child.once("error", (error) => done(error.message));
    child.once("close", (code, signal) => done(code ?? signal ?? "unknown"));
  });
  clearTimeout(timer);
  parser.end();
  if (outcome.passed + outcome.skips.length + outcome.problems.length === 0)
    outcome.problems.push("it tests nothing");
  if (status !== 0 && outcome.problems.length === 0) outcome.problems.push(`ended with status ${status}`);
  report(file, outcome, performance.now() - from, err);
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}

function report(name: string, outcome: Outcome, ms: number, err: string): void {
  const { passed, problems, skips } = outcome;
  total.passed += passed;
  total.failed += problems.length;
  total.skipped += skips.length;
  const counts = `${passed} passed${problems.length ? `, ${problems.length} failed` : ""}`;
  console.log(`${problems.length ? "FAIL" : "ok  "} ${name}  ${counts}  (${(ms / 1000).toFixed(1)} s)`);
  for (const skip of skips) console.log(`       skipped: ${skip}`);
  for (const problem of problems) console.log(problem.replace(/^/gm, "       "));
  if (problems.length > 0 && err !== "") console.log(`stderr:\n${err}`.replace(/^/gm, "       "));
}

/** A checker that prints its findings and exits with 0 when there are none. */
async function check(name: string, file: string, args: string[]): Promise<void> {
  const from = performance.now();
  const child = spawn(file, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (out += chunk));
  const status = await new Promise((done) => child.once("close", done));
  const problems = status === 0 ? [] : [out.slice(0, 20_000)];
  report(name, { passed: 1 - problems.length, problems, skips: [] }, performance.now() - from, "");
}

const named = process.argv.slice(2);
const all = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".test.ts"))
  .map((file) => `test/${file}`)
  .sort();
const queue: (() => Promise<void>)[] = (named.length > 0 ? named : all).map((file) => () => runFile(file));
if (named.length === 0) {
  queue.unshift(
    () => check("types (tsc)", join(MODULES, ".bin/tsc"), ["-p", "."]),
    () =>
      check("lint and format (biome)", join(MODULES, "@biomejs/cli-linux-x64/biome"), [
        "check",
        "--error-on-warnings",
        ".",
      ]),
  );
}
const lanes = Math.min(2, availableParallelism());
await Promise.all(
  Array.from({ length: lanes }, async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await next();
  }),
);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 ? 1 : 0;
