import t from "tap";
import {
  backToOwed,
  due,
  hurry,
  interrupted,
  markFailed,
  markSending,
  markSent,
  overdue,
  owe,
  postByNonce,
  pruneOutbox,
} from "../../src/store/outbox.ts";
import {
  acceptReceipt,
  findReceipt,
  finishReceipt,
  openReceipts,
  pruneReceipts,
} from "../../src/store/receipts.ts";
import { getSetting, getText, setSetting } from "../../src/store/settings.ts";
import type { Store, Tx } from "../../src/store/store.ts";
import { codeOf, scratch } from "./scratch.ts";

function change<T>(store: Store, fn: (tx: Tx) => T | Promise<T>): Promise<T> {
  return store.mutate((tx) => {
    tx.unlogged("test");
    return fn(tx);
  });
}

t.test("a command is accepted once, also across a restart", async (t) => {
  let now = 1000;
  const place = scratch(t);
  let store = await place.open(true, () => now);
  const accept = (key: string) =>
    store.mutate((tx) =>
      acceptReceipt(tx, { key, trigger: null, requestId: `q-${key}`, kind: "run", body: Buffer.from("{}") }),
    );
  const twice = await Promise.all([accept("e1"), accept("e1")]);
  t.same(
    twice.map((answer) => answer.fresh),
    [true, false],
  );
  await accept("e2");
  await store.close();
  store = await place.open(false, () => now);
  t.equal((await accept("e1")).fresh, false);
  t.match(await openReceipts(store.read), [
    { key: "e1", state: "accepted", body: Buffer.from("{}") },
    { key: "e2" },
  ]);
  now = 2000;
  const finish = (key: string, outcome: string) =>
    change(store, (tx) => finishReceipt(tx, key, { state: "done", outcome }));
  t.equal(await finish("e1", "run r-1"), true);
  t.equal(await finish("e1", "another"), false, "one outcome");
  t.match(await findReceipt(store.read, "e1"), { state: "done", outcome: "run r-1", finished: 2000 });
  t.match((await accept("e1")).receipt, { outcome: "run r-1" }, "its repetition can be answered as before");
  t.match(await openReceipts(store.read), [{ key: "e2" }]);
  t.equal(await store.mutate((tx) => pruneReceipts(tx, 3000)), 1, "never an open one");
  t.equal(await findReceipt(store.read, "e1"), undefined);
  t.ok(await findReceipt(store.read, "e2"));
});

t.test("a command that comes in another envelope is the same by its trigger", async (t) => {
  const store = await scratch(t).open(true);
  const accept = (key: string, trigger: string | null) =>
    store.mutate((tx) => acceptReceipt(tx, { key, trigger, requestId: `q-${key}`, kind: "slash" }));
  const both = await Promise.all([accept("e1", "1.2.3"), accept("e2", "1.2.3")]);
  t.match(both, [{ fresh: true }, { fresh: false, receipt: { key: "e1" } }]);
  t.match(await accept("e1", "9.9.9"), { fresh: false, receipt: { key: "e1" } });
  t.equal((await accept("e3", "1.2.4")).fresh, true);
  t.match(await accept("e3", "1.2.3"), { fresh: false, receipt: { key: "e3" } }, "the envelope's own first");
  for (const key of ["e4", "e5"])
    t.equal((await accept(key, null)).fresh, true, "without one, the envelope's");
});

t.test("what is owed to Slack is sent once", async (t) => {
  let now = 1000;
  const place = scratch(t);
  let store = await place.open(true, () => now);
  const post = (nonce: string, parts: Buffer[] = []) =>
    change(store, (tx) => owe(tx, { nonce, kind: "post", channel: "C1", doc: "{}", parts }));
  const first = await post("n1", [Buffer.from("a"), Buffer.from("b")]);
  t.match(first, { nonce: "n1", state: "owed", attempts: 0, parts: [Buffer.from("a"), Buffer.from("b")] });
  t.equal((await post("n1")).id, first.id, "the same nonce is the same post");
  const second = await post("n2");
  const ids = async () => (await due(store.read, { now })).map((each) => each.id);
  t.same(await ids(), [first.id, second.id]);
  t.equal((await due(store.read, { now, limit: 1 })).length, 1);

  await change(store, (tx) => markSending(tx, first.id));
  t.equal(await codeOf(change(store, (tx) => markSending(tx, first.id))), "conflict", "one sender");
  await store.close();
  store = await place.open(false, () => now);
  t.match(await interrupted(store.read), [{ id: first.id, attempts: 1 }], "may have arrived");
  t.same(await ids(), [second.id], "and is not sent again by itself");
  await change(store, (tx) => backToOwed(tx, first.id));
  await change(store, (tx) => markSending(tx, first.id));
  await change(store, (tx) => markSent(tx, first.id, "17.1"));
  t.match(await postByNonce(store.read, "n1"), { state: "sent", ts: "17.1", attempts: 2, parts: [] });
  t.equal(await codeOf(change(store, (tx) => markSent(tx, first.id, "17.2"))), "conflict");

  await change(store, (tx) => markSending(tx, second.id));
  await change(store, (tx) => markFailed(tx, second.id, { error: "ratelimited", nextTry: 5000 }));
  t.same(await ids(), []);
  now = 5000;
  t.same(await ids(), [second.id]);
  await change(store, (tx) => markFailed(tx, second.id, { error: "x".repeat(5000), nextTry: null }));
  t.match(await postByNonce(store.read, "n2"), { state: "failed" });
  t.same(await ids(), []);

  const later = await change(store, (tx) =>
    owe(tx, { nonce: "n3", kind: "post", channel: "C1", doc: "{}", from: 9000 }),
  );
  t.same(await ids(), [], "not before its time");
  await change(store, hurry);
  t.same(await ids(), [later.id], "unless Slack is back");
  t.equal(await store.mutate((tx) => pruneOutbox(tx, 6000)), 2, "never what is still owed");
  t.match(await overdue(store.read, 6000), [{ nonce: "n3" }]);
  t.same(await overdue(store.read, 5000), []);
});

t.test("settings", async (t) => {
  const store = await scratch(t).open(true);
  t.equal(await getSetting(store.read, "a"), undefined);
  await change(store, (tx) => setSetting(tx, "a", "text"));
  await change(store, (tx) => setSetting(tx, "a", Buffer.from([0, 255])));
  t.same(await getSetting(store.read, "a"), Buffer.from([0, 255]));
  await change(store, (tx) => setSetting(tx, "a", ""));
  t.equal(await getText(store.read, "a"), "");
  const big = change(store, (tx) => setSetting(tx, "a", Buffer.alloc(70_000)));
  t.equal(await codeOf(big), "input_invalid");
});
