import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { until } from "../e2e/appliance.ts";
import { scratch } from "../store/scratch.ts";
import { emptyLogDir, Signing } from "./notary-rig.ts";

t.setTimeout(170_000);

const PATIENCE_MS = 60_000;
const sound = (size: number) => ({ size, wrong: [], surplus: [] });

async function signing(t: { teardown(call: () => unknown): void }): Promise<Signing> {
  const box = scratch(t);
  const made = new Signing({ store: await box.open(true), dir: emptyLogDir(box.dir) });
  t.teardown(() => made.checkpoints.abandon());
  return made;
}

t.test("an entry comes to be covered without another being made", async (t) => {
  const rig = await signing(t);
  rig.checkpoints.start();
  await rig.append(3);
  await until(() => existsSync(join(rig.dir, "checkpoint")), PATIENCE_MS);
  await rig.directory.idle();
  t.same(rig.report(), sound(3));
  await rig.append(1);
  await until(() => rig.report().size === 4, PATIENCE_MS);
  await rig.directory.idle();
  t.same(rig.report(), sound(4));
  t.equal(rig.signed, 2);
});

t.test("of the partial tiles only the newest stays, and none beside a full tile", async (t) => {
  const rig = await signing(t);
  for (let i = 0; i < 12; i++) {
    await rig.append(1);
    await rig.settle();
    t.same(rig.report(), sound(i + 1));
  }
  t.same(readdirSync(join(rig.dir, "tile/0/000.p")), ["12"]);
  await rig.append(243);
  await rig.settle();
  t.same(readdirSync(join(rig.dir, "tile/0/000.p")), ["255"]);
  await rig.append(1);
  await rig.settle();
  t.same(readdirSync(join(rig.dir, "tile/0")), ["000"]);
  t.same(rig.report(), sound(256));
  await rig.append(300);
  await rig.settle();
  t.same(rig.report(), sound(556));
  t.same(readdirSync(join(rig.dir, "tile/1/000.p")), ["2"]);
});

t.test("what could not be written follows once it can be, by itself", async (t) => {
  const rig = await signing(t);
  await rig.append(10);
  await rig.settle();
  // A file where a directory should be stops root too, whom no mode stops.
  renameSync(join(rig.dir, "tile"), join(rig.dir, "aside"));
  writeFileSync(join(rig.dir, "tile"), "");
  await rig.append(290);
  await rig.settle();
  await rig.append(5);
  await rig.settle();
  t.equal(rig.signed, 3, "signing goes on");
  t.equal(rig.reopened, 0, "the notary is not to blame");
  t.equal(rig.failures.length, 1, "told once");
  t.match(rig.failures[0], /can't be written to .*log:.*Make room or let the keeper write there/);
  rmSync(join(rig.dir, "tile"));
  renameSync(join(rig.dir, "aside"), join(rig.dir, "tile"));
  await until(() => rig.report().size === 305, PATIENCE_MS);
  await rig.directory.idle();
  t.same(rig.report(), sound(305));
});

t.test("one that is shown before the next try is the next try, and later ones follow", async (t) => {
  const rig = await signing(t);
  writeFileSync(join(rig.dir, "tile"), "");
  await rig.append(3);
  await rig.settle();
  t.equal(rig.failures.length, 1);
  rmSync(join(rig.dir, "tile"));
  await rig.append(1);
  await rig.settle();
  t.same(rig.report(), sound(4));
  // Longer than the pause before a next try.
  await sleep(2500);
  await rig.append(1);
  await rig.settle();
  t.same(rig.report(), sound(5));
});

t.test("killed between the stored checkpoint and the directory, the next start makes it good", async (t) => {
  const box = scratch(t);
  const store = await box.open(true);
  const dir = emptyLogDir(box.dir);
  const before = new Signing({ store, dir });
  await before.append(200);
  await before.settle();
  const then = join(box.dir, "then");
  cpSync(dir, then, { recursive: true });
  await before.append(100);
  await before.settle();
  before.checkpoints.abandon();
  const cases: [string, () => void][] = [
    ["nothing of it written", () => cpSync(then, dir, { recursive: true })],
    ["the tiles but not the checkpoint", () => cpSync(join(then, "checkpoint"), join(dir, "checkpoint"))],
    ["a directory that was emptied", () => undefined],
    [
      "a checkpoint that is cut off",
      () => {
        cpSync(then, dir, { recursive: true });
        writeFileSync(join(dir, "checkpoint"), "sallyport.example/log\n20");
      },
    ],
    [
      "half a tile",
      () => {
        cpSync(then, dir, { recursive: true });
        writeFileSync(join(dir, "tile/0/000.new"), "half");
        writeFileSync(join(dir, "tile/0/000.p/256.new"), "half");
      },
    ],
  ];
  for (const [name, leave] of cases) {
    if (!name.startsWith("the tiles")) {
      rmSync(dir, { recursive: true });
      mkdirSync(dir);
    }
    leave();
    const after = new Signing({ store, dir, notary: before.notary });
    await after.settle();
    t.same(after.report(), sound(300), name);
    t.equal(after.signed, 0, "nothing was signed for it");
    after.checkpoints.abandon();
  }
});

t.test("a checkpoint of another history there is not believed", async (t) => {
  const box = scratch(t);
  const other = scratch(t);
  const dir = emptyLogDir(box.dir);
  const foreign = new Signing({ store: await other.open(true), dir });
  await foreign.append(280);
  await foreign.settle();
  foreign.checkpoints.abandon();
  const rig = new Signing({ store: await box.open(true), dir });
  await rig.append(300);
  await rig.settle();
  t.same(rig.report(), sound(300));
});

t.test("a stop writes what is there to write", async (t) => {
  const rig = await signing(t);
  rig.checkpoints.start();
  await rig.append(5);
  await rig.checkpoints.stop();
  t.same(rig.report(), sound(5));
  t.same(rig.failures, []);
});
