/**
 * Started as a role is, by the launcher under the role's own spec: tries each attempt from the main thread, from libuv's pool
 * and from a worker, and prints what came of it as JSON. Arguments: the attempts, the addon of syscalls.c.
 */
import * as fs from "node:fs";
import * as later from "node:fs/promises";
import { getSystemErrorName } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { confineRole } from "../../../src/host/role.ts";

export type Way = "main" | "pool" | "worker";
type Call = {
  readonly call: number;
  readonly args: readonly (number | string)[];
  /** Made with the first's result, a descriptor, as its first argument; what came of the first failing one is told. */
  readonly next?: Call;
};
/** A call of fs with a path, or a system call with numbers and bytes (as hexadecimal text). */
export type Attempt =
  | {
      readonly fs: "read" | "write" | "append" | "create" | "list" | "mkdir" | "unlink" | "rename";
      readonly path: string;
    }
  | (Call & {
      /** Where a second time could not succeed. */
      readonly once?: Way;
    });
export type Outcomes = Record<string, Partial<Record<Way, string>>>;

interface Syscalls {
  call(...args: (number | Buffer)[]): number;
  callInPool(...args: (number | Buffer)[]): Promise<number>;
}

function loadSyscalls(path: string): Syscalls {
  const loaded = { exports: {} };
  process.dlopen(loaded, path);
  return loaded.exports as Syscalls;
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? String(error);
const told = (result: number) => (result < 0 ? getSystemErrorName(result) : "ok");
const values = (args: readonly (number | string)[]) =>
  args.map((one) => (typeof one === "number" ? one : Buffer.from(one, "hex")));

function now(attempt: Attempt, syscalls: Syscalls): string {
  if ("call" in attempt) {
    const first = syscalls.call(attempt.call, ...values(attempt.args));
    let result = first;
    for (let next = attempt.next; next !== undefined && result >= 0; next = next.next)
      result = syscalls.call(next.call, first, ...values(next.args));
    return told(result);
  }
  const { path } = attempt;
  try {
    if (attempt.fs === "read") fs.readFileSync(path);
    else if (attempt.fs === "write") fs.closeSync(fs.openSync(path, "r+"));
    else if (attempt.fs === "append") fs.closeSync(fs.openSync(path, "a"));
    else if (attempt.fs === "create") fs.writeFileSync(path, "");
    else if (attempt.fs === "list") fs.readdirSync(path);
    else if (attempt.fs === "mkdir") fs.mkdirSync(path);
    else if (attempt.fs === "unlink") fs.unlinkSync(path);
    else fs.renameSync(path, `${path}.moved`);
    return "ok";
  } catch (error) {
    return codeOf(error);
  }
}

async function inPool(attempt: Attempt, syscalls: Syscalls): Promise<string> {
  if ("call" in attempt) {
    const first = await syscalls.callInPool(attempt.call, ...values(attempt.args));
    let result = first;
    for (let next = attempt.next; next !== undefined && result >= 0; next = next.next)
      result = await syscalls.callInPool(next.call, first, ...values(next.args));
    return told(result);
  }
  const { path } = attempt;
  try {
    if (attempt.fs === "read") await later.readFile(path);
    else if (attempt.fs === "write") await (await later.open(path, "r+")).close();
    else if (attempt.fs === "append") await (await later.open(path, "a")).close();
    else if (attempt.fs === "create") await later.writeFile(path, "");
    else if (attempt.fs === "list") await later.readdir(path);
    else if (attempt.fs === "mkdir") await later.mkdir(path);
    else if (attempt.fs === "unlink") await later.unlink(path);
    else await later.rename(path, `${path}.moved`);
    return "ok";
  } catch (error) {
    return codeOf(error);
  }
}

async function main(): Promise<void> {
  const [, , list = "", addon = ""] = process.argv;
  const syscalls = loadSyscalls(addon);
  const attempts = JSON.parse(list) as Record<string, Attempt>;
  // The pool's threads are there before the role's last step, and a worker too.
  await Promise.all(Array.from({ length: 8 }, () => later.readFile(addon)));
  const worker = new Worker(new URL(import.meta.url), { workerData: addon });
  await new Promise((resolve) => worker.once("message", resolve));
  const landlock = confineRole();
  const outcomes: Outcomes = {};
  const ask = (attempt: Attempt) =>
    new Promise<string>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
      worker.postMessage(attempt);
    });
  for (const [name, attempt] of Object.entries(attempts)) {
    const once = "call" in attempt ? attempt.once : undefined;
    const wanted = (way: Way) => once === undefined || once === way;
    const outcome: Partial<Record<Way, string>> = {};
    if (wanted("main")) outcome.main = now(attempt, syscalls);
    if (wanted("pool")) outcome.pool = await inPool(attempt, syscalls);
    if (wanted("worker")) outcome.worker = await ask(attempt);
    outcomes[name] = outcome;
  }
  fs.writeSync(1, JSON.stringify({ landlock, outcomes }));
  process.exit(0);
}

if (isMainThread) await main();
else {
  const syscalls = loadSyscalls(workerData as string);
  parentPort?.on("message", (attempt: Attempt) => parentPort?.postMessage(now(attempt, syscalls)));
  parentPort?.postMessage("ready");
}
