import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import { queryLog } from "../../src/store/log-query.ts";
import { setRuntime } from "../../src/store/runtimes.ts";
import { setUserStatus } from "../../src/store/users.ts";
import { codeOf, HEARTBEAT } from "../store/scratch.ts";
import { Rig, watch } from "./runs-rig.ts";

const damaged = () => new SallyportError("database_damaged", "A page is bad.");

t.test("an outcome that can't be recorded: the slot is free, whoever waits hears it", async (t) => {
  const rig = await Rig.make(t);
  rig.join();
  await rig.until(() => rig.runs.selfTest !== undefined);
  const listener = watch();
  const { row } = await rig.request(listener);
  t.same(rig.orders(), [row.id]);
  rig.beforeMutation = () => {
    throw damaged();
  };
  rig.finish(row.id);
  t.match(await listener.problem, `outcome of run ${row.id} could not be recorded`);
  t.equal(rig.runs.running, 0, "its slot is free");
  rig.beforeMutation = () => undefined;
  t.match(await rig.state(row.id), { state: "running" }, "the next unlock records it as lost");
  const next = watch();
  const second = await rig.request(next);
  t.same(rig.orders(), [row.id, second.row.id], "another one runs");
  rig.finish(second.row.id);
  t.match((await next.over).row, { state: "succeeded" });
});

t.test("a listener that throws while the outcome is recorded strands nothing either", async (t) => {
  const rig = await Rig.make(t);
  rig.join();
  const throwing = watch({
    recording: async () => {
      throw new Error("no such document");
    },
  });
  const { row } = await rig.request(throwing);
  rig.finish(row.id);
  t.match(await throwing.problem, "could not be recorded");
  t.equal(rig.runs.running, 0);
});

t.test(
  "the runner dies with several runs: one that can't be recorded does not keep the others",
  async (t) => {
    const rig = await Rig.make(t, 16);
    rig.join();
    const listeners = [watch(), watch({ recording: () => Promise.reject(damaged()) }), watch()];
    const ids: string[] = [];
    for (const listener of listeners) ids.push((await rig.request(listener)).row.id);
    await rig.leave();
    t.match(await rig.state(ids[0]!), { state: "lost" });
    t.match(await rig.state(ids[1]!), { state: "running" });
    t.match(await rig.state(ids[2]!), { state: "lost" });
    t.equal(rig.runs.running, 0);
  },
);

t.test("a halt ends what is queued, with the reason, and nothing starts after it", async (t) => {
  const rig = await Rig.make(t);
  rig.join();
  const first = watch();
  const second = watch();
  const running = await rig.request(first);
  const queued = await rig.request(second);
  t.equal(queued.row.state, "queued");
  const logged = { type: "run.queued", run: queued.row.id };
  t.match(await queryLog(rig.store.read, { run: queued.row.id, order: "asc" }), [{}, logged]);
  rig.runs.halt("The notary holds another history.");
  t.match((await second.over).row, { state: "canceled", reason: /notary holds another history/ });
  rig.finish(running.row.id);
  t.match((await first.over).row, { state: "succeeded" }, "what is running goes on");
  t.same(rig.orders(), [running.row.id]);
});

t.test("a self-test that fails ends what is queued", async (t) => {
  const rig = await Rig.make(t);
  const listener = watch();
  const { row } = await rig.request(listener);
  t.equal(row.state, "queued", "no runner is there");
  rig.join(false);
  t.match((await listener.over).row, { state: "canceled", reason: /mounts: it got out/ });
  t.same(rig.orders(), []);
});

t.test("a start that could not be recorded is tried again by itself", async (t) => {
  const rig = await Rig.make(t);
  const listener = watch();
  const { row } = await rig.request(listener);
  rig.beforeMutation = () => {
    throw new SallyportError("log_unwritable", "The disk is full.");
  };
  rig.join();
  // The self-test's own entry, then the start.
  await rig.until(() => rig.failures.length >= 2);
  t.equal(rig.runs.running, 0);
  t.match(await rig.state(row.id), { state: "queued" });
  rig.beforeMutation = () => undefined;
  await rig.until(() => rig.orders().length === 1);
  rig.finish(row.id);
  t.match((await listener.over).row, { state: "succeeded" });
});

t.test("a request that could not be recorded gives way to what waits", async (t) => {
  const rig = await Rig.make(t);
  const queued = await rig.request();
  rig.beforeMutation = () => {
    throw new SallyportError("log_unwritable", "The disk is full.");
  };
  rig.join();
  await rig.until(() => rig.failures.length >= 2);
  rig.beforeMutation = () => undefined;
  // It holds the slot until what waits has tried again and found it taken.
  const tried = Promise.withResolvers<void>();
  const refused = rig.request({}, async () => {
    rig.onSlotWanted = tried.resolve;
    await tried.promise;
    throw damaged();
  });
  t.equal(await codeOf(refused), "database_damaged");
  await rig.until(() => rig.orders().includes(queued.row.id));
});

t.test("a run whose end is recorded while its bundle is read is not sent", async (t) => {
  const gate = Promise.withResolvers<void>();
  const rig = await Rig.make(t);
  rig.join();
  rig.bundleGate = gate.promise;
  const listener = watch();
  const asked = rig.request(listener);
  await rig.until(() => rig.bundleReads === 1);
  // The runner dies and its successor joins before the bundle is there.
  await rig.leave();
  t.match((await listener.over).row, { state: "lost" });
  rig.join();
  gate.resolve();
  await asked;
  t.same(rig.orders(), [], "an outcome is followed by no execution");
});

t.test("the same while the disk is full, so that no end can be recorded yet", async (t) => {
  const gate = Promise.withResolvers<void>();
  const rig = await Rig.make(t, 2);
  rig.join();
  const { row } = await rig.request();
  rig.bundleGate = gate.promise;
  const asked = rig.request();
  await rig.until(() => rig.bundleReads === 2);
  rig.beforeMutation = () => {
    throw new SallyportError("log_unwritable", "The disk is full.");
  };
  const left = rig.leave();
  rig.join();
  gate.resolve();
  const { row: second } = await asked;
  t.same(rig.orders(), [row.id]);
  rig.beforeMutation = () => undefined;
  await left;
  for (const { id } of [row, second]) t.match(await rig.state(id), { state: "lost" });
});

t.test("a halt while the bundle is read: it is canceled and not sent", async (t) => {
  const gate = Promise.withResolvers<void>();
  const rig = await Rig.make(t);
  rig.join();
  rig.bundleGate = gate.promise;
  const listener = watch();
  const asked = rig.request(listener);
  await rig.until(() => rig.bundleReads === 1);
  rig.runs.halt("The notary refused.");
  gate.resolve();
  t.match((await listener.over).row, { state: "canceled", reason: /notary refused/ });
  await asked;
  t.same(rig.orders(), []);
});

t.test("a runner that was not tested yet gets no order", async (t) => {
  const rig = await Rig.make(t);
  rig.join();
  const listener = watch();
  // Gone and back while the start is being recorded: `runnerLost` does not know the run yet.
  await rig.request(listener, async () => {
    await rig.leave();
    rig.connected = true;
  });
  t.same(rig.orders(), []);
  t.match((await listener.over).row, { state: "lost" });
});

t.test(
  "an Op that the host's default engine can't run is not ordered, though it was taken before that was known",
  async (t) => {
    const rig = await Rig.make(t, 1, { more: "root: tiny\n" });
    await rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      await setRuntime(tx, { name: "tiny", digest: `sha256:${"0".repeat(64)}` });
    });
    const listener = watch();
    const { row } = await rig.request(listener);
    t.equal(row.state, "queued", "no runner is there");
    rig.join(true, { engine: "crun" });
    const ended = await listener.over;
    t.match(ended.row, {
      state: "canceled",
      reason: /^It would be started by crun: an imported root file system/,
    });
    t.same(rig.orders(), []);
    t.equal(rig.runs.running, 0);
  },
);

t.test("refused calls: the first of each is an entry, and a run can't fill the log with them", async (t) => {
  const rig = await Rig.make(t);
  rig.join();
  const listener = watch();
  const { row } = await rig.request(listener);
  const process = { pid: 2, name: "main.sh" };
  for (let i = 0; i < 200; i++)
    for (let again = 0; again < 2; again++)
      rig.runs.receive({ type: "run.denied", run: row.id, call: `socket(0x${i})`, process }, []);
  rig.finish(row.id);
  await listener.over;
  const entries = await queryLog(rig.store.read, { run: row.id, type: "sandbox.denied", limit: 500 });
  t.equal(entries.length, 64);
  t.equal(new Set(entries.map((e) => e.entry.toString())).size, 64);
  t.match(entries[0]?.entry.toString(), /"main\.sh"/, "with its process");
});

t.test("a secret that an Op printed is an entry at once, and its number in the outcome", async (t) => {
  const rig = await Rig.make(t);
  rig.join();
  const listener = watch();
  const { row } = await rig.request(listener);
  const seen = { type: "run.secret_seen", run: row.id, count: 2 } as const;
  for (let i = 0; i < 200; i++)
    for (const stream of ["stdout", "progress"] as const)
      rig.runs.receive({ ...seen, secret: `web/KEY_${i >> 1}`, stream }, []);
  rig.finish(row.id, { printed: [{ secret: "web/KEY_0", stream: "stdout", count: 7 }] });
  await listener.over;
  const entries = await queryLog(rig.store.read, { run: row.id, type: "secret.printed", limit: 500 });
  const texts = entries.map((e) => e.entry.toString());
  t.equal(texts.length, 160, "one for each secret and way, and no more than a run can have");
  t.equal(new Set(texts).size, 160);
  const first = JSON.parse(texts.find((text) => text.includes('"web/KEY_0"') && text.includes("stdout"))!);
  t.match(first, { severity: 4, data: { secret: "web/KEY_0", stream: "stdout", count: 2 } });
  const [end] = await queryLog(rig.store.read, { run: row.id, type: "run.finished", limit: 1 });
  t.match(end!.entry.toString(), /web\/KEY_0 stdout:7/);
});

t.test("an Op that is refused very many different calls has an outcome all the same", async (t) => {
  const rig = await Rig.make(t);
  rig.join();
  const listener = watch();
  const { row } = await rig.request(listener);
  const denied = Array.from({ length: 62 }, (_, i) => ({
    call: `unshare(${i}`.padEnd(64, "|"),
    count: 1000,
  }));
  rig.finish(row.id, { denied });
  const { usage } = (await listener.over).row;
  const told = (JSON.parse(usage ?? "") as { denied: typeof denied }).denied;
  t.equal((await rig.state(row.id))?.state, "succeeded");
  t.same(told[0], denied[0]);
  t.match(told.at(-1), { call: "others" });
  t.equal(
    told.reduce((sum, d) => sum + d.count, 0),
    62_000,
    "none is lost",
  );
});

t.test(
  "whose user was disabled: what is queued ends, what runs goes on or is canceled, with the reason",
  async (t) => {
    const rig = await Rig.make(t);
    rig.join();
    const [first, second] = [watch(), watch()];
    const running = await rig.request(first);
    const queued = await rig.request(second);
    t.same(queued.row.state, "queued");
    const { caller } = rig;
    const o = { by: caller, reason: "The user was disabled." };
    t.same(await rig.runs.endOf("u-other", { ...o, kill: true }), { ended: 0, killed: 0 }, "nobody else's");
    t.same(await rig.runs.endOf(caller.id, { ...o, kill: false }), { ended: 1, killed: 0 });
    t.match((await second.over).row, { state: "canceled", reason: o.reason });
    t.match(await rig.state(running.row.id), { state: "running" });
    t.same(
      rig.sent.filter(({ type }) => type === "run.cancel"),
      [],
    );
    t.same(await rig.runs.endOf(caller.id, { ...o, kill: true }), { ended: 0, killed: 1 });
    t.match(rig.sent.at(-1), { type: "run.cancel", run: running.row.id, reason: "canceled" });
    t.match(await queryLog(rig.store.read, { type: "run.cancel_requested" }), [{ run: running.row.id }]);
    rig.finish(running.row.id, { outcome: "canceled", exit: null });
    t.match((await first.over).row, { state: "canceled", reason: o.reason });
  },
);

t.test("a request that was admitted before its user was disabled is not recorded after", async (t) => {
  const rig = await Rig.make(t);
  rig.join();
  let armed = true;
  rig.beforeMutation = () => {
    if (!armed) return;
    armed = false;
    void rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      await setUserStatus(tx, rig.caller.id, "disabled");
    });
  };
  t.equal(await codeOf(rig.request()), "user_disabled");
  t.equal((await rig.store.read.get<{ n: number }>("SELECT count(*) AS n FROM runs"))?.n, 0);
  t.same(rig.orders(), []);
});
