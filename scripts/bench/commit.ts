/**
 * What a durable mutation (state, log entry, tree hashes, fsync) costs beside a bare INSERT and COMMIT on a SQLCipher file
 * with the same settings in the same directory, and what waiting together saves. Rounds alternate, so that both see the same disk.
 * Usage: commit.ts [DIRECTORY], by default under the working directory: /tmp may be in memory.
 */
import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createPrivately, DatabaseKey, openConnection } from "../../src/store/database.ts";
import { setSetting } from "../../src/store/settings.ts";
import type { Store } from "../../src/store/store.ts";
import { openStore } from "../../src/store/store.ts";

const ROUNDS = 20;
const PER_ROUND = 25;
const TOGETHER = 64;

const dir = mkdtempSync(join(process.argv[2] ?? process.cwd(), ".bench-commit-"));
try {
  await main();
} finally {
  rmSync(dir, { recursive: true, force: true });
}

async function main(): Promise<void> {
  const key = randomBytes(32);
  const bareFile = join(dir, "bare");
  createPrivately(bareFile);
  const bare = await openConnection(bareFile, new DatabaseKey(key), "writer");
  await bare.exec("CREATE TABLE row (id INTEGER PRIMARY KEY, bytes BLOB)");
  const store = await openStore({ file: join(dir, "store"), key, create: true });
  const raw = openSync(join(dir, "raw"), "w");
  const bytes = randomBytes(300);

  const times = { fsync: [] as number[], bare: [] as number[], store: [] as number[] };
  const together = { bare: [] as number[], store: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    await timed(times.fsync, PER_ROUND, () => {
      writeSync(raw, bytes);
      fsyncSync(raw);
    });
    await timed(times.bare, PER_ROUND, async () => {
      await bare.run("BEGIN IMMEDIATE");
      await bare.run("INSERT INTO row (bytes) VALUES (?)", [bytes]);
      await bare.run("COMMIT");
    });
    await timed(times.store, PER_ROUND, () => mutate(store, 0));
    await timed(together.bare, 1, async () => {
      for (let i = 0; i < TOGETHER; i++) {
        await bare.run("BEGIN IMMEDIATE");
        await bare.run("INSERT INTO row (bytes) VALUES (?)", [bytes]);
        await bare.run("COMMIT");
      }
    });
    await timed(together.store, 1, () =>
      Promise.all(Array.from({ length: TOGETHER }, (_, i) => mutate(store, i))),
    );
  }
  const medianFsync = quantile(times.fsync, 0.5);
  const medianBare = quantile(times.bare, 0.5);
  const medianStore = quantile(times.store, 0.5);
  const row = (name: string, list: number[]) =>
    console.log(`${name.padEnd(44)} ${ms(quantile(list, 0.5))} median  ${ms(quantile(list, 0.99))} p99`);
  row("write + fsync of 300 bytes", times.fsync);
  row("bare INSERT + COMMIT, alone", times.bare);
  row("mutation with log entry, alone", times.store);
  const bareRate = (1000 * TOGETHER) / quantile(together.bare, 0.5);
  const storeRate = (1000 * TOGETHER) / quantile(together.store, 0.5);
  console.log(`${TOGETHER} bare INSERT + COMMIT, one after the other: ${bareRate.toFixed(0)}/s`);
  console.log(
    `mutations/s alone: ${(1000 / medianStore).toFixed(0)}, ${TOGETHER} at once: ${storeRate.toFixed(0)}`,
  );
  console.log(`ratio alone (mutation / bare commit): ${(medianStore / medianBare).toFixed(2)}`);
  console.log(`ratio alone, beyond the fsync: ${ms(medianStore - medianBare)} over ${ms(medianFsync)}`);
  console.log(
    `ratio ${TOGETHER} at once (mutations/s over bare commits/s): ${(storeRate / bareRate).toFixed(2)}`,
  );
  await store.close();
  await bare.close();
  closeSync(raw);
}

function mutate(store: Store, i: number): Promise<void> {
  return store.mutate(async (tx) => {
    await setSetting(tx, `bench.${i}`, "value");
    tx.log({ type: "log.heartbeat", outcome: "success", actor: { kind: "system" }, data: { uptimeMs: i } });
  });
}

async function timed(into: number[], count: number, call: () => unknown): Promise<void> {
  for (let i = 0; i < count; i++) {
    const from = performance.now();
    await call();
    into.push(performance.now() - from);
  }
}

function quantile(list: number[], q: number): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}

function ms(value: number): string {
  return `${value.toFixed(3)} ms`;
}
