import t from "tap";
import type { AuditEvent } from "../../src/audit/event.ts";
import { leafHash, nodeHash, verifyConsistency, verifyInclusion } from "../../src/audit/merkle.ts";
import { addCheckpoint, latestCheckpoint, listCheckpoints } from "../../src/store/checkpoints.ts";
import { DatabaseKey, openConnection } from "../../src/store/database.ts";
import { importSpool } from "../../src/store/spool.ts";
import type { LogFilter, LogRow, Store } from "../../src/store/store.ts";
import { codeOf, HEARTBEAT, scratch } from "./scratch.ts";

/** RFC 6962, 2.1, word by word; only good for small trees. */
function plainRoot(leaves: Buffer[]): Buffer {
  if (leaves.length === 1) return leaves[0] as Buffer;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(plainRoot(leaves.slice(0, k)), plainRoot(leaves.slice(k)));
}

async function fill(store: Store, count: number): Promise<void> {
  for (let at = 0; at < count; ) {
    const some = Math.min(1 + (at % 70), count - at);
    await Promise.all(Array.from({ length: some }, () => store.mutate((tx) => tx.log(HEARTBEAT))));
    at += some;
  }
}

t.test("roots and proofs of a stored tree", async (t) => {
  const place = scratch(t);
  let store = await place.open(true);
  t.equal(
    store.log.root().toString("hex"),
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  );
  await fill(store, 150);
  await store.close();
  store = await place.open();
  await fill(store, 150);
  const size = 300;
  t.equal(store.log.size(), size);
  const entries = await store.log.entries(0, size);
  const leaves = entries.map((entry) => leafHash(entry));
  t.same(store.log.root(), plainRoot(leaves));
  for (const at of [1, 2, 3, 64, 127, 128, 129, 255, 256, 257, 299, 300]) {
    t.same(await store.log.rootAt(at), plainRoot(leaves.slice(0, at)), `root of the first ${at}`);
    const proof = await store.log.consistency(at, size);
    const [fromRoot, toRoot] = [await store.log.rootAt(at), store.log.root()];
    t.ok(verifyConsistency({ from: at, to: size, fromRoot, toRoot, proof }));
    const index = at - 1;
    const inclusion = await store.log.inclusion(index, size);
    const leaf = leaves[index] as Buffer;
    t.ok(verifyInclusion({ index, size, leaf, root: toRoot, proof: inclusion }));
    t.ok(inclusion.length <= 9, "O(log n)");
  }
  t.equal(await codeOf(store.log.rootAt(301)), "not_found");
  t.equal(await codeOf(store.log.entry(300)), "not_found");
  t.equal(await codeOf(store.log.entry(-1)), "not_found");
  t.equal(await codeOf(store.log.entries(0, 301)), "not_found");
  t.equal(await codeOf(store.log.inclusion(0, 301)), "not_found");
});

t.test("the log only grows, and what was taken out of it by force is missed", async (t) => {
  const place = scratch(t);
  const store = await place.open(true);
  await fill(store, 20);
  const change = (sql: string) =>
    codeOf(
      store.mutate((tx) => {
        tx.unlogged("test");
        return tx.run(sql);
      }),
    );
  t.not(await change("UPDATE log_entry SET outcome = 'denied' WHERE seq = 3"), "resolved");
  t.not(await change("DELETE FROM log_entry WHERE seq = 3"), "resolved");
  await store.close();
  const handle = await openConnection(place.file, new DatabaseKey(place.key), "writer");
  await handle.exec("DROP TRIGGER log_entry_stay; DELETE FROM log_entry WHERE seq = 7");
  await handle.close();
  const again = await place.open();
  await t.rejects(again.log.entry(7), { code: "log_damaged", message: /Entry 7/ });
  await t.rejects(again.log.entries(0, 20), { code: "log_damaged", message: /Entry 7/ });
  t.equal(await codeOf(again.log.inclusion(6, 20)), "log_damaged");
});

t.test("filters give what a look at every entry would", async (t) => {
  let now = 1_700_000_000_000;
  const store = await scratch(t).open(true, () => now);
  const types = ["run.requested", "authz.denied", "log.heartbeat"] as const;
  for (let i = 0; i < 700; i++) {
    // Forward by a second each, and twice set back for a while.
    now += i === 300 || i === 555 ? -120_000 : 1000;
    const type = types[i % 3] as "log.heartbeat";
    const event: AuditEvent = {
      type,
      outcome: i % 7 === 0 ? "denied" : i % 11 === 0 ? "failure" : "success",
      actor: i % 5 === 0 ? { kind: "system" } : { kind: "user", id: `u-${i % 4}`, name: "n" },
      ...(i % 2 === 0 ? { op: `web/op${i % 6}` } : {}),
      ...(i % 10 === 0 ? { run: `r-${i % 30}` } : {}),
    };
    await store.mutate((tx) => tx.log(event));
  }
  const every = await store.log.query({ limit: 1000, order: "asc" });
  t.equal(every.length, 700);
  const time = (i: number) => (every[i] as LogRow).time;
  const filters: LogFilter[] = [
    { actor: "user:u-1" },
    { actor: "user:u-1", limit: 7, order: "asc" },
    { op: "web/op2" },
    { op: "op2", namespace: "web" },
    { op: "web/op2", namespace: "db" },
    { namespace: "web", type: "authz.denied" },
    { namespace: "db" },
    { run: "r-20" },
    { type: "authz.denied", actor: "system" },
    { outcome: "denied" },
    { outcome: "success", type: "log.heartbeat" },
    { outcome: "failure", actor: "user:u-2" },
    { since: time(310) },
    { until: time(310) },
    { since: time(200), until: time(330) },
    { since: time(520), until: time(550), outcome: "denied" },
    { since: time(600), until: time(640), limit: 1000 },
    { until: time(690), limit: 1000 },
    { since: time(699) },
    { since: time(699) + 500_000 },
    { until: time(0) },
    { since: time(250), actor: "user:u-3", limit: 1000 },
    { after: 100, before: 110 },
    { after: 650, type: "log.heartbeat", order: "asc", limit: 5 },
    { after: 690, since: time(100) },
  ];
  for (const filter of filters) {
    const [namespace, op] = filter.op?.includes("/") ? filter.op.split("/") : [filter.namespace, filter.op];
    const wanted = every.filter(
      (row) =>
        (filter.actor ?? row.actor) === row.actor &&
        (op ?? row.op) === row.op &&
        (filter.namespace ?? namespace ?? row.namespace) === row.namespace &&
        (filter.run ?? row.run) === row.run &&
        (filter.type ?? row.type) === row.type &&
        (filter.outcome ?? row.outcome) === row.outcome &&
        row.time >= (filter.since ?? 0) &&
        row.time < (filter.until ?? Number.MAX_SAFE_INTEGER) &&
        row.seq > (filter.after ?? -1) &&
        row.seq < (filter.before ?? Number.MAX_SAFE_INTEGER),
    );
    if (filter.order !== "asc") wanted.reverse();
    const found = await store.log.query(filter);
    t.same(
      found.map((row) => row.seq),
      wanted.slice(0, filter.limit ?? 50).map((row) => row.seq),
      JSON.stringify(filter),
    );
  }
  t.equal(await codeOf(store.log.query({ limit: 0 })), "input_invalid");
  t.equal(await codeOf(store.log.query({ limit: 1001 })), "input_invalid");
});

t.test("one person's last entries are found by an index", async (t) => {
  const store = await scratch(t).open(true);
  const plan = async (where: string) => {
    const sql = `EXPLAIN QUERY PLAN SELECT * FROM log_entry WHERE ${where} ORDER BY seq DESC LIMIT 50`;
    const steps = await store.read.all<{ detail: string }>(sql);
    return steps.map((step) => step.detail).join("; ");
  };
  t.match(
    await plan("true AND actor = 'a' AND +type = 't' AND +time >= 5 AND seq >= 7"),
    /USING INDEX log_by_actor/,
  );
  t.match(
    await plan("true AND outcome <> 'success' AND outcome = 'denied'"),
    /USING INDEX log_by_bad_outcome/,
  );
  for (const where of ["actor = 'a'", "run = 'r'", "op = 'o'", "namespace = 'n'", "type = 't'"]) {
    t.match(await plan(where), /SEARCH log_entry USING INDEX log_by_/);
    t.notMatch(await plan(where), /TEMP B-TREE/, "no sorting");
  }
});

t.test("checkpoints", async (t) => {
  const store = await scratch(t).open(true);
  t.equal(await latestCheckpoint(store.read), undefined);
  const add = (size: number, fill: number) =>
    store.mutate((tx) => {
      tx.unlogged("a checkpoint");
      return addCheckpoint(tx, { size, root: Buffer.alloc(32, fill), note: `note ${size}` });
    });
  for (const size of [1, 5, 9]) await add(size, size);
  await add(5, 5);
  t.equal(await codeOf(add(5, 6)), "log_damaged", "another root for a size that has one");
  t.match(await latestCheckpoint(store.read), { size: 9, note: "note 9" });
  const after = await listCheckpoints(store.read, { after: 1 });
  t.same(
    after.map((point) => point.size),
    [5, 9],
  );
});

t.test("what was spooled while sealed joins the log once", async (t) => {
  const store = await scratch(t).open(true);
  const records: AuditEvent[] = [1, 2, 3].map((n) => ({ ...HEARTBEAT, data: { uptimeMs: n } }));
  const take = (upTo: number) =>
    store.mutate((tx) => importSpool(tx, { source: "spool-1", records: records.slice(0, upTo) }));
  t.equal(await take(2), 2);
  t.equal(await take(2), 0, "killed before the spool was removed");
  t.equal(await take(3), 1);
  t.equal(store.log.size(), 3);
});
