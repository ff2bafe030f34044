import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import { acceptReceipt } from "../../src/store/receipts.ts";
import { getText, setSetting } from "../../src/store/settings.ts";
import type { Tx } from "../../src/store/store.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { codeOf, HEARTBEAT, scratch } from "./scratch.ts";

t.setTimeout(FILE_TIMEOUT);

t.test("a mutation is whole or not there", async (t) => {
  const store = await scratch(t).open(true);
  const fails = store.mutate(async (tx) => {
    await setSetting(tx, "a", "1");
    tx.log(HEARTBEAT);
    throw new SallyportError("denied", "by the test");
  });
  t.equal(await codeOf(fails), "denied");
  t.equal(await getText(store.read, "a"), undefined);
  t.equal(store.log.size(), 0);
  const seq = await store.mutate(async (tx) => {
    await setSetting(tx, "a", "2");
    t.equal(await getText(tx, "a"), "2", "sees its own rows");
    return tx.log(HEARTBEAT);
  });
  t.equal(seq, 0);
  t.equal(await getText(store.read, "a"), "2", "committed when it is answered");
  t.equal((await store.log.entry(0)).length > 0, true);
});

t.test("one that fails takes nothing of the others along", async (t) => {
  const store = await scratch(t).open(true);
  const results = await Promise.allSettled(
    Array.from({ length: 30 }, (_, i) =>
      store.mutate(async (tx) => {
        await setSetting(tx, `k${i}`, `${i}`);
        tx.log({ ...HEARTBEAT, data: { uptimeMs: i } });
        await setSetting(tx, `second${i}`, `${i}`);
        // Thrown by the code, or by the database: a row that is there already.
        if (i % 3 === 1) throw new Error("no");
        if (i % 3 === 2) await tx.run("INSERT INTO settings VALUES ('k0', x'00')");
        return i;
      }),
    ),
  );
  let expected = 0;
  for (const [i, result] of results.entries()) {
    t.equal(result.status, i % 3 === 0 ? "fulfilled" : "rejected");
    t.equal(await getText(store.read, `k${i}`), i % 3 === 0 ? `${i}` : undefined);
    t.equal(await getText(store.read, `second${i}`), i % 3 === 0 ? `${i}` : undefined);
    if (i % 3 === 0) expected++;
  }
  t.equal(store.log.size(), expected);
  const entries = await store.log.entries(0, expected);
  t.same(
    entries.map((entry) => JSON.parse(entry.toString()).data?.uptimeMs),
    [0, 3, 6, 9, 12, 15, 18, 21, 24, 27],
    "in the order in which they were asked for, without the failed ones",
  );
  const rejected = results.find(
    (result) => result.status === "rejected" && result.reason instanceof SallyportError,
  );
  t.match(rejected, { reason: { code: "conflict" } });
});

t.test("those that wait share a commit", async (t) => {
  const store = await scratch(t).open(true);
  const commits: [number, number][] = [];
  store.log.onAppend((from, to) => commits.push([from, to]));
  await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      store.mutate(async (tx) => {
        await setSetting(tx, `k${i}`, "v");
        tx.log(HEARTBEAT);
      }),
    ),
  );
  t.same(commits, [[0, 100]]);
});

t.test("64 callers at once, reading what they change", async (t) => {
  const store = await scratch(t).open(true);
  let batches = 0;
  store.log.onAppend(() => batches++);
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      for (let i = 0; i < 10; i++) {
        const mine = await store.mutate(async (tx) => {
          const count = Number((await getText(tx, "count")) ?? "0") + 1;
          await setSetting(tx, "count", `${count}`);
          return { count, seq: tx.log(HEARTBEAT) };
        });
        t.equal(mine.count, mine.seq + 1);
        if (Number(await getText(store.read, "count")) < mine.count)
          t.fail("answered before it was committed");
      }
    }),
  );
  t.equal(await getText(store.read, "count"), "640");
  t.equal(store.log.size(), 640);
  t.ok(batches < 200, `640 mutations in ${batches} commits`);
});

t.test("a change that no entry tells of is a fault of the program", async (t) => {
  const store = await scratch(t).open(true);
  t.equal(await codeOf(store.mutate((tx) => setSetting(tx, "a", "1"))), "internal");
  t.equal(await getText(store.read, "a"), undefined);
  await store.mutate(async (tx) => {
    tx.unlogged("the test says so");
    await setSetting(tx, "a", "1");
  });
  t.equal(await getText(store.read, "a"), "1");
  const receipt = (tx: Tx) => acceptReceipt(tx, { key: "k", trigger: null, requestId: "q", kind: "test" });
  const both = store.mutate(async (tx) => {
    await receipt(tx);
    await setSetting(tx, "b", "1");
  });
  t.equal(await codeOf(both), "internal", "a receipt excuses nothing but itself");
  t.match(await store.mutate(receipt), { fresh: true });
  t.equal(await store.mutate(() => 7), 7, "one that changes nothing needs nothing");
  await store.mutate((tx) => tx.run("DELETE FROM settings WHERE key = 'none'"));
  const unknown = { ...HEARTBEAT, type: "no.such" as typeof HEARTBEAT.type };
  t.equal(await codeOf(store.mutate((tx) => tx.log(unknown))), "internal");
});

t.test("a transaction does not outlive its mutation", async (t) => {
  const store = await scratch(t).open(true);
  let leaked: Parameters<Parameters<typeof store.mutate>[0]>[0] | undefined;
  let late: Promise<string> | undefined;
  await store.mutate((tx) => {
    leaked = tx;
    tx.log(HEARTBEAT);
    // Not awaited: still belongs to this mutation, for it was started in it.
    late = codeOf(setSetting(tx, "late", "1"));
  });
  t.equal(await late, "resolved");
  t.equal(await getText(store.read, "late"), "1");
  t.equal(await codeOf(leaked?.run("DELETE FROM settings") as Promise<number>), "internal");
  t.throws(() => leaked?.log(HEARTBEAT), { code: "internal" });
  t.equal(await getText(store.read, "late"), "1");
  const forgotten = store.mutate((tx) => {
    void setSetting(tx, "forgotten", "1");
  });
  t.equal(await codeOf(forgotten), "internal", "changed a row and logged nothing");
  t.equal(await getText(store.read, "forgotten"), undefined);
  const nested = store.mutate(() => store.mutate(() => 1));
  await t.rejects(nested, { code: "internal", message: /inside a mutation/ });
});

t.test("one that hangs is ended, the next one runs", { timeout: 30_000 }, async (t) => {
  const store = await scratch(t).open(true);
  const hangs = store.mutate(async (tx) => {
    await setSetting(tx, "a", "1");
    tx.log(HEARTBEAT);
    await new Promise(() => undefined);
  });
  const next = store.mutate((tx) => tx.log(HEARTBEAT));
  t.equal(await codeOf(hangs), "internal");
  t.equal(await next, 0);
  t.equal(await getText(store.read, "a"), undefined);
});

t.test("what was accepted is done before the end", async (t) => {
  const store = await scratch(t).open(true);
  const accepted = Array.from({ length: 20 }, () => store.mutate((tx) => tx.log(HEARTBEAT)));
  const closing = store.close();
  t.equal(await codeOf(store.mutate((tx) => tx.log(HEARTBEAT))), "sealed");
  await closing;
  t.same(
    await Promise.all(accepted),
    accepted.map((_, i) => i),
  );
});

t.test(
  "values that the binding would turn into NULL are refused; a listener's fault stays its own",
  async (t) => {
    const store = await scratch(t).open(true);
    const put = (value: unknown) =>
      store.mutate((tx) => {
        tx.unlogged("test");
        return tx.run("INSERT INTO settings VALUES ('a', ?)", [value as string]);
      });
    t.equal(await codeOf(put(undefined)), "internal");
    t.equal(await codeOf(put(1n)), "internal");
    t.equal(await codeOf(put(Number.NaN)), "internal");
    const warned = new Promise((resolve) => process.once("warning", resolve));
    const end = store.log.onAppend(() => {
      throw new Error("a listener");
    });
    t.equal(await codeOf(store.mutate((tx) => tx.log(HEARTBEAT))), "resolved");
    t.match(await warned, { message: "a listener" });
    end();
  },
);
