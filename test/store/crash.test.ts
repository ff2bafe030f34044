import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";
import { parseEntry } from "../../src/audit/entry.ts";
import { leafHash, verifyInclusion } from "../../src/audit/merkle.ts";
import { getText } from "../../src/store/settings.ts";
import type { Store } from "../../src/store/store.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { HEARTBEAT, scratch } from "./scratch.ts";

t.setTimeout(FILE_TIMEOUT);

interface Checks {
  ok(value: unknown, message: string): unknown;
  fail(message: string): unknown;
}

const CHILD = fileURLToPath(new URL("crash-child.ts", import.meta.url));
const KILLS = 20;

/** Runs the child, kills it some time after its first answer, returns the last count that each worker was told. */
async function killed(file: string, key: Buffer, afterMs: number): Promise<Map<number, number>> {
  const child = spawn(process.execPath, [CHILD, file], { stdio: ["pipe", "pipe", "inherit"], env: {} });
  child.stdin.end(key);
  const answered = new Map<number, number>();
  let text = "";
  let timer: NodeJS.Timeout | undefined;
  child.stdout.on("data", (bytes: Buffer) => {
    text += bytes.toString();
    timer ??= setTimeout(() => child.kill("SIGKILL"), afterMs);
  });
  await new Promise((resolve) => child.on("close", resolve));
  clearTimeout(timer);
  // The last line may be cut off; what stands before a newline was answered.
  for (const line of text.split("\n").slice(0, -1)) {
    const [worker, count] = line.split(" ").map(Number);
    if (worker !== undefined && count !== undefined) answered.set(worker, count);
  }
  return answered;
}

async function checkAgreement(t: Checks, store: Store, answered: Map<number, number>): Promise<void> {
  const size = store.log.size();
  const logged = new Map<string, number>();
  for (let from = 0; from < size; from += 1000) {
    for (const bytes of await store.log.entries(from, Math.min(size, from + 1000))) {
      const entry = parseEntry(bytes);
      if (entry.run === undefined) continue;
      const before = logged.get(entry.run) ?? 0;
      if (entry.data?.uptimeMs !== before + 1) t.fail(`${entry.run}: ${before} is followed by another count`);
      logged.set(entry.run, before + 1);
    }
  }
  for (let worker = 0; worker < 8; worker++) {
    const key = `worker.${worker}`;
    const state = Number((await getText(store.read, key)) ?? "0");
    if (state !== (logged.get(key) ?? 0)) t.fail(`${key}: state ${state}, log ${logged.get(key)}`);
    const told = answered.get(worker) ?? 0;
    if (state < told) t.fail(`${key}: ${told} was answered, ${state} is there`);
  }
  const last = size - 1;
  const leaf = leafHash(await store.log.entry(last));
  const proof = await store.log.inclusion(last, size);
  t.ok(verifyInclusion({ index: last, size, leaf, root: store.log.root(), proof }), "the tree is whole");
}

t.test("killed in the middle of mutations, again and again", { timeout: 120_000 }, async (t) => {
  const place = scratch(t);
  await (await place.open(true)).close();
  let before = 0;
  for (let i = 0; i < KILLS; i++) {
    const answered = await killed(place.file, place.key, (i * 37) % 150);
    const store = await place.open();
    t.ok(store.log.size() >= before, `kill ${i}: ${store.log.size() - before} entries more`);
    if (store.log.size() > 0) await checkAgreement(t, store, answered);
    await store.mutate((tx) => tx.log(HEARTBEAT));
    before = store.log.size();
    await store.close();
  }
  t.ok(before > 50, `${before} entries were written between the kills`);
  const store = await place.open();
  t.same(await store.integrity("full"), []);
});
