import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Spool } from "../../src/keeper/spool.ts";
import { joinSpool } from "../../src/keeper/spool-join.ts";
import { openStore, type Store } from "../../src/store/store.ts";

const RECORD = { time: 1, uid: 2, code: "denied" } as const;

function scratch(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-spool-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function emptyStore(t: Test, dir: string): Promise<Store> {
  const store = await openStore({ file: join(dir, "db"), key: randomBytes(32), create: true });
  t.teardown(() => store.close());
  return store;
}

async function logged(store: Store): Promise<{ type: string; data?: Record<string, unknown> }[]> {
  const entries = await store.log.entries(0, store.log.size());
  return entries.map((bytes) => JSON.parse(bytes.toString("utf8")));
}

t.test("a full disk is a count, never an error", async (t) => {
  const dir = scratch(t);
  symlinkSync("/dev/full", join(dir, "full"));
  const spool = new Spool(join(dir, "full"));
  t.equal(spool.add(RECORD), false);
  t.equal(spool.add(RECORD), false);
  t.equal(spool.lost, 2);
  const missing = new Spool(join(dir, "no/where"));
  t.equal(missing.add(RECORD), false);
  const good = new Spool(join(dir, "good"));
  t.equal(good.add(RECORD), true);
  t.same(good.read(), [RECORD]);
  t.equal(good.lost, 0);
});

t.test("what comes while the rest joins the log is not lost with it", async (t) => {
  const spool = new Spool(join(scratch(t), "spool"));
  spool.add(RECORD);
  spool.add({ ...RECORD, time: 2 });
  t.equal(spool.take().length, 2);
  spool.add({ ...RECORD, time: 3 });
  t.same(
    spool.read().map(({ time }) => time),
    [1, 2, 3],
    "a crash here loses none",
  );
  t.equal(spool.take().length, 2, "until it is elsewhere");
  spool.taken();
  t.same(spool.take(), [{ ...RECORD, time: 3 }]);
  spool.taken();
  t.same(spool.take(), []);
});

t.test("an empty or torn file, as a full disk leaves it, stands before nothing", async (t) => {
  const file = join(scratch(t), "spool");
  for (const left of ["", '{"time":1,"uid":2,"co']) {
    writeFileSync(file, left);
    const spool = new Spool(file);
    t.same(spool.take(), []);
    spool.add(RECORD);
    t.same(spool.take(), [RECORD]);
    spool.taken();
    t.notOk(existsSync(file) || existsSync(`${file}.taken`));
  }
});

t.test("joined once, also when a kill comes between log and file", async (t) => {
  const dir = scratch(t);
  const store = await emptyStore(t, dir);
  const file = join(dir, "spool");
  const spool = new Spool(file);
  spool.add(RECORD);
  spool.add({ ...RECORD, code: "unlock_failed" });
  const bytes = readFileSync(file);
  await joinSpool(store, spool);
  t.same(
    (await logged(store)).map(({ type }) => type),
    ["authn.denied", "appliance.unlock_failed"],
  );
  t.notOk(existsSync(file));
  writeFileSync(`${file}.taken`, bytes);
  await joinSpool(store, new Spool(file));
  t.equal((await logged(store)).length, 2);
});

t.test("what found no room is told by its count", async (t) => {
  const dir = scratch(t);
  const store = await emptyStore(t, dir);
  const spool = new Spool(join(dir, "no/where"));
  for (let i = 0; i < 3; i++) spool.add(RECORD);
  await joinSpool(store, spool);
  t.match(await logged(store), [{ type: "log.spool_dropped", data: { dropped: 3 } }]);
  t.equal(spool.lost, 0);
  await joinSpool(store, spool);
  t.equal(store.log.size(), 1, "once");
});
