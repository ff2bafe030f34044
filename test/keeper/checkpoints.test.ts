import t from "tap";
import { until } from "../e2e/appliance.ts";
import { scratch } from "../store/scratch.ts";
import { emptyLogDir, Signing } from "./notary-rig.ts";

t.setTimeout(170_000);

const PATIENCE_MS = 60_000;

async function signing(t: { teardown(call: () => unknown): void }): Promise<Signing> {
  const box = scratch(t);
  const made = new Signing({ store: await box.open(true), dir: emptyLogDir(box.dir) });
  t.teardown(() => made.checkpoints.abandon());
  return made;
}

/** Another history of that size, as a notary remembers it beside an older database. */
const elsewhere = (size: number) => ({ size, root: Buffer.alloc(32, 9) });

t.test("a refused history is told once, and nothing is signed any more", async (t) => {
  const rig = await signing(t);
  await rig.append(5);
  await rig.checkpoints.now();
  rig.notary.last = elsewhere(5);
  rig.checkpoints.start();
  await rig.append(1);
  await until(() => rig.refusals.length > 0, PATIENCE_MS);
  // The refusal has an entry of its own, and others follow; each would have asked anew.
  const { asked } = rig.notary;
  for (let i = 0; i < 3; i++) {
    await rig.append(1);
    await rig.checkpoints.now();
  }
  await rig.checkpoints.reopen();
  await rig.checkpoints.now();
  t.equal(rig.notary.asked, asked);
  t.equal(rig.refusals.length, 1);
});

t.test("a notary that comes back with another history is not asked to sign", async (t) => {
  const rig = await signing(t);
  await rig.append(5);
  await rig.checkpoints.now();
  rig.notary.last = elsewhere(3);
  rig.reopen = () => null;
  rig.checkpoints.start();
  await rig.append(1);
  await until(() => rig.reopened > 0, PATIENCE_MS);
  const { asked } = rig.notary;
  for (let i = 0; i < 3; i++) {
    await rig.append(1);
    await rig.checkpoints.now();
  }
  t.equal(rig.notary.asked, asked);
  t.equal(rig.reopened, 1);
});

t.test("a notary that is asked anew while it signs names no older size", async (t) => {
  const rig = await signing(t);
  await rig.append(5);
  await rig.checkpoints.now();
  const said = rig.notary.last.size;
  await rig.append(1);
  // As when its answer was on the way while the next signature was asked for.
  rig.reopen = () => (rig.notary.last.size === 6 ? 6 : said);
  const reopened = rig.checkpoints.reopen();
  const signed = rig.checkpoints.now();
  await Promise.all([reopened, signed]);
  await rig.append(1);
  await rig.checkpoints.now();
  t.equal(rig.notary.last.size, 7);
  t.same(rig.failures, []);
});

t.test("while the notary is away it is told once", async (t) => {
  const rig = await signing(t);
  rig.reopen = () => {
    throw new Error("away");
  };
  for (let i = 0; i < 3; i++) await rig.checkpoints.reopen();
  t.same(rig.failures, ["away"]);
});

t.test("a lost answer: the notary is asked again and signing goes on", async (t) => {
  const rig = await signing(t);
  rig.checkpoints.start();
  await rig.append(5);
  await rig.checkpoints.now();
  // It signed more than the keeper heard of.
  await rig.append(2);
  const root = await rig.store.log.rootAt(7);
  rig.notary.last = { size: 7, root };
  await rig.append(1);
  await until(() => rig.notary.last.size === 8, PATIENCE_MS);
  t.equal(rig.refusals.length, 0);
});
