import { createHash, randomBytes } from "node:crypto";
import t from "tap";
import { newRunId } from "../../src/core/run.ts";
import { addNamespace } from "../../src/store/namespaces.ts";
import {
  activateVersion,
  activeOps,
  getBundle,
  getOp,
  getVersion,
  listOps,
  listVersions,
  publishVersion,
  setOpDisabled,
} from "../../src/store/ops.ts";
import {
  addOutput,
  createRun,
  getRun,
  listRuns,
  liveRuns,
  moveRun,
  pruneOutput,
  readOutput,
} from "../../src/store/runs.ts";
import type { Store, Tx } from "../../src/store/store.ts";
import type { UserRow } from "../../src/store/users.ts";
import { addUser } from "../../src/store/users.ts";
import { codeOf, HEARTBEAT, scratch } from "./scratch.ts";

function change<T>(store: Store, fn: (tx: Tx) => Promise<T>): Promise<T> {
  return store.mutate((tx) => {
    tx.log(HEARTBEAT);
    return fn(tx);
  });
}

function publish(store: Store, user: UserRow, name: string, bundle: Buffer) {
  const digest = `sha256:${createHash("sha256").update(bundle).digest("hex")}`;
  const manifest = JSON.stringify({ name });
  return change(store, (tx) =>
    publishVersion(tx, {
      namespace: "web",
      name,
      digest,
      manifest,
      bundle,
      publisher: user.id,
      uid: 0,
      loginUid: null,
    }),
  );
}

async function withOp(store: Store): Promise<UserRow> {
  const user = await change(store, (tx) => addUser(tx, { name: "ada" }));
  await change(store, (tx) => addNamespace(tx, { name: "web" }));
  await publish(store, user, "restart", Buffer.from("one"));
  return user;
}

t.test("versions of an Op", async (t) => {
  const store = await scratch(t).open(true);
  const user = await change(store, (tx) => addUser(tx, { name: "ada" }));
  t.equal(await codeOf(publish(store, user, "restart", Buffer.from("x"))), "not_found", "no namespace");
  await change(store, (tx) => addNamespace(tx, { name: "web" }));
  const big = randomBytes(3_000_000);
  const one = await publish(store, user, "restart", big);
  t.match(one, { number: 1, bytes: 3_000_000, publisher: user.id });
  t.same(await getBundle(store.read, one.digest), big);
  t.match(await getOp(store.read, "web", "restart"), { active: null, disabled: false });
  t.same(await activeOps(store.read), [], "published is not activated");
  const two = await publish(store, user, "restart", Buffer.from("two"));
  t.equal(two.number, 2);
  t.equal((await publish(store, user, "restart", big)).number, 1, "the same content is the same version");
  t.equal((await publish(store, user, "other", big)).number, 1, "and may be another Op's too");
  const activate = (number: number) =>
    change(store, (tx) =>
      activateVersion(tx, {
        namespace: "web",
        name: "restart",
        number,
        userId: user.id,
        uid: 0,
        loginUid: null,
      }),
    );
  t.equal(await codeOf(activate(3)), "not_found");
  await activate(2);
  t.match(await getVersion(store.read, "web", "restart", "active"), { number: 2 });
  t.match(await getVersion(store.read, "web", "restart", 1), { number: 1 });
  t.equal(await getVersion(store.read, "web", "other", "active"), undefined);
  t.match(await activeOps(store.read), [{ name: "restart", number: 2 }]);
  t.match(await listVersions(store.read, "web", "restart"), [{ number: 2 }, { number: 1 }]);
  t.equal((await listOps(store.read)).length, 2);
  t.equal((await listOps(store.read, { namespace: "db" })).length, 0);
  await change(store, (tx) => setOpDisabled(tx, "web", "restart", true));
  t.same(await activeOps(store.read), []);
  t.equal(await codeOf(change(store, (tx) => setOpDisabled(tx, "web", "none", true))), "not_found");
  t.equal(await codeOf(getBundle(store.read, "sha256:none")), "not_found");
});

t.test("a run's states", async (t) => {
  let now = 1_700_000_000_000;
  const store = await scratch(t).open(true, () => now);
  const user = await withOp(store);
  const made = (requestId: string | null) => ({
    id: newRunId(now),
    namespace: "web",
    op: "restart",
    version: 1,
    digest: `sha256:${"0".repeat(64)}`,
    args: "{}",
    requester: user.id,
    source: "slack" as const,
    channel: "C1",
    requestId,
  });
  const run = await change(store, (tx) => createRun(tx, made("q1")));
  t.match(run, {
    state: "requested",
    created: now,
    changed: now,
    started: null,
    ended: null,
    truncated: false,
  });
  t.equal(await codeOf(change(store, (tx) => createRun(tx, made("q1")))), "conflict", "one run a request");
  t.equal(await codeOf(change(store, (tx) => createRun(tx, { ...made("q2"), version: 9 }))), "not_found");
  const id = run.id;
  const move = (m: Parameters<typeof moveRun>[2]) => change(store, (tx) => moveRun(tx, id, m));
  now += 5;
  t.match(await move({ from: ["requested", "waiting"], to: "queued" }), { state: "queued", changed: now });
  t.equal(await codeOf(move({ from: "requested", to: "queued" })), "conflict", "not there any more");
  t.equal(await codeOf(move({ from: "queued", to: "succeeded" })), "conflict", "no such way");
  now += 5;
  t.match(await move({ from: "queued", to: "running" }), { started: now, ended: null });
  t.match(await liveRuns(store.read), [{ id }]);
  now += 70;
  const ends = [
    move({ from: "running", to: "succeeded", set: { exit: 0, durationMs: 70, usage: "{}" } }),
    move({ from: "running", to: "canceled", set: { reason: "by ada" } }),
    move({ from: "running", to: "timed_out" }),
  ];
  const results = await Promise.all(ends.map((end) => codeOf(end)));
  t.same(results, ["resolved", "conflict", "conflict"], "one outcome");
  t.match(await getRun(store.read, id), {
    state: "succeeded",
    ended: now,
    exit: 0,
    durationMs: 70,
    reason: null,
  });
  t.same(await liveRuns(store.read), []);
  const none = change(store, (tx) => moveRun(tx, "r-none", { from: "queued", to: "running" }));
  t.equal(await codeOf(none), "not_found");

  now += 1000;
  const second = await change(store, (tx) => createRun(tx, { ...made(null), channel: "C2", source: "tty" }));
  const ids = async (filter: Parameters<typeof listRuns>[1]) =>
    (await listRuns(store.read, filter)).map((row) => row.id);
  t.same(await ids({}), [second.id, id], "newest first");
  t.same(await ids({ channel: "C2" }), [second.id]);
  t.same(await ids({ states: ["succeeded", "failed"] }), [id]);
  t.same(await ids({ before: second.id, requester: user.id, op: "restart", namespace: "web" }), [id]);
  t.same(await ids({ limit: 1 }), [second.id]);
});

t.test("a run's output is kept up to its bound", async (t) => {
  const store = await scratch(t).open(true);
  const user = await withOp(store);
  const id = newRunId();
  await change(store, (tx) =>
    createRun(tx, {
      id,
      namespace: "web",
      op: "restart",
      version: 1,
      digest: "d",
      args: "{}",
      requester: user.id,
      source: "tty",
    }),
  );
  const add = (text: Buffer, stream: "out" | "err" = "out") =>
    store.mutate((tx) => addOutput(tx, id, [{ stream, bytes: text }], 1_000_000));
  t.same(await add(Buffer.from("hello ")), { stored: 6, dropped: 0 });
  t.same(await add(Buffer.from("warning"), "err"), { stored: 7, dropped: 0 });
  const big = randomBytes(990_000);
  t.same(await add(big), { stored: 990_000, dropped: 0 });
  t.match(await getRun(store.read, id), { outputBytes: 990_013, truncated: false });
  t.same(await add(randomBytes(20_000)), { stored: 9987, dropped: 10_013 });
  t.same(await add(Buffer.from("more")), { stored: 0, dropped: 4 });
  t.match(await getRun(store.read, id), { outputBytes: 1_000_000, truncated: true });
  const all = await readOutput(store.read, id);
  t.match(all[1], { seq: 1, stream: "err", bytes: Buffer.from("warning") });
  const joined = Buffer.concat(all.map((chunk) => chunk.bytes));
  t.equal(joined.length, 1_000_000);
  t.same(joined.subarray(13, 990_013), big, "in order, unchanged");
  t.equal((await readOutput(store.read, id, { limitBytes: 6 })).length, 1);
  t.equal((await readOutput(store.read, id, { from: 1, limitBytes: 7 }))[0]?.stream, "err");
  const none = store.mutate((tx) => addOutput(tx, "r-none", [], 1));
  t.equal(await codeOf(none), "not_found");
  t.equal(await store.mutate((tx) => pruneOutput(tx, Date.now() + 1)), 0, "not of a run that goes on");
  await change(store, (tx) => moveRun(tx, id, { from: "requested", to: "canceled" }));
  t.ok((await store.mutate((tx) => pruneOutput(tx, Date.now() + 1))) > 0);
  t.same(await readOutput(store.read, id), []);
});
