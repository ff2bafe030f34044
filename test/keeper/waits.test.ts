import t from "tap";
import { type Caller, hostCaller } from "../../src/keeper/callers.ts";
import { Waits } from "../../src/keeper/waits.ts";
import { addGrant } from "../../src/store/grants.ts";
import { addHostAccount, addUser } from "../../src/store/users.ts";
import { codeOf, HEARTBEAT } from "../store/scratch.ts";
import { Rig, watch } from "./runs-rig.ts";

const APPROVED = "approval: {count: 1}\n";

async function waitsOf(rig: Rig): Promise<{ waits: Waits; approvers: Caller[] }> {
  const waits = new Waits({
    store: rig.store,
    access: rig.access,
    runs: rig.runs,
    codes: { check: async () => undefined },
    now: () => rig.now(),
    failed: (error) => rig.failures.push(error),
  });
  const approvers: Caller[] = [];
  for (const [uid, name] of [
    [2001, "eve"],
    [2002, "pat"],
  ] as const) {
    await rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      const { id } = await addUser(tx, { name });
      await addHostAccount(tx, { uid, login: name, userId: id });
      await addGrant(tx, { role: "runner", namespace: "web", subject: { kind: "user", id } });
    });
    approvers.push(await hostCaller(rig.store.read, { uid, loginUid: null }));
  }
  return { waits, approvers };
}
const later = () => Date.now() + 2 * 3600_000;

t.test("its turn comes after the time for which it was approved: it does not run", async (t) => {
  const rig = await Rig.make(t, 1, { more: APPROVED });
  const { waits, approvers } = await waitsOf(rig);
  const listener = watch();
  const { row } = await rig.request(listener);
  await waits.approve(approvers[0]!, row.id);
  t.match(await rig.state(row.id), { state: "queued" }, "there is no runner yet");
  rig.now = later;
  rig.join();
  t.match((await listener.over).row, { state: "canceled", reason: /after the time for which/ });
  t.same(rig.orders(), []);
  waits.stop();
});

t.test(
  "the approval and the end of its time at the same moment: one outcome, which is recorded",
  async (t) => {
    const rig = await Rig.make(t, 1, { more: APPROVED });
    const { waits, approvers } = await waitsOf(rig);
    let second: Promise<string> | undefined;
    let asked = 0;
    const listener = watch({
      // Within the transaction that approves it.
      waiting: async () => {
        if (++asked !== 2) return;
        rig.now = later;
        second = codeOf(waits.approve(approvers[1]!, row.id));
        await new Promise((resolve) => setTimeout(resolve, 50));
      },
    });
    const { row } = await rig.request(listener);
    await waits.approve(approvers[0]!, row.id);
    t.equal(await second, "conflict");
    rig.join();
    t.match((await listener.over).row, { state: "canceled" });
    t.match(await rig.state(row.id), { state: "canceled" });
    waits.stop();
  },
);
