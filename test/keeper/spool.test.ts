import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Spool } from "../../src/keeper/spool.ts";

const RECORD = { time: 1, uid: 2, code: "denied" } as const;

t.test("a full disk is a count, never an error", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-spool-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
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
