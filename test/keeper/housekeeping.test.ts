import { randomBytes } from "node:crypto";
import t from "tap";
import { newRunId } from "../../src/core/run.ts";
import { keepHouse } from "../../src/keeper/housekeeping.ts";
import { addOutput, createRun, moveRun } from "../../src/store/runs.ts";
import type { Tx } from "../../src/store/store.ts";
import { HEARTBEAT } from "../store/scratch.ts";
import { Rig } from "./runs-rig.ts";

const DAY_MS = 86_400_000;

/** A run requested at a time, with chunks of output; ended then, or still queued. */
async function ran(rig: Rig, at: number, o: { chunks: number; bytes: number; over: boolean }): Promise<void> {
  const id = newRunId(at);
  const base = { namespace: "web", op: "restart", version: 1, digest: "d", args: "{}" };
  const bytes = randomBytes(o.bytes);
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await createRun(tx, { ...base, id, requester: rig.caller.id, source: "tty" });
    const chunks = Array.from({ length: o.chunks }, () => ({ stream: "out" as const, bytes }));
    await addOutput(tx, id, chunks, Number.MAX_SAFE_INTEGER);
    if (!o.over) return;
    await moveRun(tx, id, { from: "requested", to: "canceled" });
    await tx.run("UPDATE runs SET ended = ? WHERE id = ?", [at, id]);
  });
}

t.test("much that is old is deleted in pages, and others are let in between", async (t) => {
  const rig = await Rig.make(t);
  const old = Date.now() - 100 * DAY_MS;
  await ran(rig, old, { chunks: 1200, bytes: 10, over: true });
  await ran(rig, old + 1, { chunks: 100, bytes: 256 * 1024, over: true });
  await ran(rig, old + 2, { chunks: 3, bytes: 10, over: false });
  await ran(rig, Date.now() - DAY_MS, { chunks: 5, bytes: 10, over: true });
  const count = async () => {
    const sql = "SELECT count(*) AS n, coalesce(sum(length(bytes)), 0) AS bytes FROM run_output";
    return (await rig.store.read.get<{ n: number; bytes: number }>(sql)) ?? { n: -1, bytes: -1 };
  };
  t.equal((await count()).n, 1308);
  const pages: { n: number; bytes: number }[] = [];
  const done = Promise.withResolvers<void>();
  let other: Promise<number> | undefined;
  let chores = 4;
  const stop = keepHouse(
    {
      mutate: async <T>(fn: (tx: Tx) => T | Promise<T>) => {
        const before = await count();
        const result = rig.store.mutate(fn);
        // Asked for while the first page is being deleted.
        other ??= rig.store.mutate((tx) => void tx.log(HEARTBEAT)).then(async () => (await count()).n);
        const value = await result;
        const after = await count();
        if (after.n < before.n) pages.push({ n: before.n - after.n, bytes: before.bytes - after.bytes });
        // A chore ends with a page of nothing.
        if (value === 0 && --chores === 0) done.resolve();
        return value;
      },
    },
    (error) => t.fail(String(error)),
  );
  t.teardown(stop);
  await done.promise;
  t.ok(
    pages.every(({ n, bytes }) => n <= 500 && bytes <= 4_500_000),
    JSON.stringify(pages),
  );
  t.ok(pages.length > 4, `${pages.length} pages`);
  t.ok(((await other) ?? 0) > 100, "another change was made before all of it was gone");
  t.equal((await count()).n, 8, "what goes on and what is new stays");
});
