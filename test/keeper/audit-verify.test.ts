import t from "tap";
import { checkpointText } from "../../src/audit/checkpoint.ts";
import type { AuditEvent } from "../../src/audit/event.ts";
import { NOTHING_SIGNED, type SignedState } from "../../src/audit/notary.ts";
import { signNote } from "../../src/audit/note.ts";
import { audit } from "../../src/keeper/commands/audit.ts";
import type { CommandContext } from "../../src/keeper/commands/command.ts";
import { NotaryRefusal } from "../../src/keeper/notary.ts";
import { SignedHistory } from "../../src/keeper/signed-history.ts";
import { addCheckpoint, type Checkpoint } from "../../src/store/checkpoints.ts";
import type { Log } from "../../src/store/log.ts";
import type { Store } from "../../src/store/store.ts";
import type { MessageOf } from "../../src/wire/messages.ts";
import { HEARTBEAT, scratch } from "../store/scratch.ts";
import { signer } from "./notary-rig.ts";

t.setTimeout(170_000);

const append = (store: Store, count: number) =>
  store.mutate((tx) => {
    for (let i = 0; i < count; i++) tx.log(HEARTBEAT);
  });

async function sign(store: Store, from: number, to: number): Promise<void> {
  const made: Omit<Checkpoint, "time">[] = [];
  for (let size = from; size <= to; size++) {
    const root = await store.log.rootAt(size);
    made.push({
      size,
      root,
      note: signNote(checkpointText({ origin: signer.name, size, root }), [signer]),
    });
  }
  await store.mutate(async (tx) => {
    tx.unlogged("as the keeper does");
    for (const checkpoint of made) await addCheckpoint(tx, checkpoint);
  });
}

/** A session whose notary says that it signed `opened`. */
function rig(store: Store, said: () => SignedState) {
  const halted: string[] = [];
  const verified: AuditEvent[] = [];
  const history = new SignedHistory({
    store,
    ask: async (): Promise<MessageOf<"notary.opened">> => {
      const { size, root } = said();
      return {
        type: "notary.opened",
        vkey: signer.vkey,
        size,
        root: root.toString("base64"),
        fresh: size === 0,
      };
    },
    halt: (reason) => halted.push(reason),
  });
  const tx = { log: (event: AuditEvent) => verified.push(event) };
  const caller = { actor: { kind: "system" } };
  const verify = (log: Pick<Log, "size" | "nodes" | "entries"> = store.log) => {
    const session = {
      access: { demand: async () => undefined },
      checkpoints: { now: async () => undefined },
      // Kept apart, so that what a verification itself logs does not move the sizes here.
      store: { read: store.read, log, mutate: async (fn: (tx: unknown) => unknown) => fn(tx) },
      origin: signer.name,
      history,
    };
    return audit["audit.verify"]!({ session, caller } as unknown as CommandContext<"audit.verify">);
  };
  return { history, halted, verify, verified };
}

const logged = async (store: Store, type: string) => (await store.log.query({ type })).length;

t.test(
  "what is signed while the entries are read is no damage, however many checkpoints there are",
  async (t) => {
    const store = await scratch(t).open(true);
    const { history, verify } = rig(store, () => NOTHING_SIGNED);
    await history.ask();
    await append(store, 600);
    await sign(store, 1, 550);
    const size = store.log.size();
    let isFirst = true;
    const entries = async (from: number, to: number) => {
      if (isFirst) {
        isFirst = false;
        await append(store, 1);
        await sign(store, size + 1, size + 1);
      }
      return store.log.entries(from, to);
    };
    const busy = { size: () => store.log.size(), nodes: store.log.nodes, entries };
    t.match(await verify(busy), { ok: true, size, checkpoints: 550 });
    t.match(await verify(), { ok: true, size: size + 1, checkpoints: 551 });
  },
);

t.test("a state that the notary signed and this log has not is damage, whatever else verifies", async (t) => {
  const store = await scratch(t).open(true);
  await append(store, 10);
  await sign(store, 10, 10);
  let said: SignedState = { size: 12, root: Buffer.alloc(32, 7) };
  const { history, halted, verify } = rig(store, () => said);
  t.equal(await history.ask(), null);
  await t.rejects(verify(), {
    code: "log_damaged",
    message: /signed 12 entries.*older database was put back/,
  });
  await append(store, 5);
  await t.rejects(verify(), { code: "log_damaged", message: /do not give the root of .* over 12 entries/ });
  t.equal(halted.length, 1);

  t.equal(await history.ask(), null, "asked again, as after a restart of the notary");
  t.equal(await logged(store, "notary.fork"), 1, "one event a session");
  said = { size: 10, root: await store.log.rootAt(10) };
  t.equal(await history.ask(), null, "what was seen stays seen until the next unlock");
  await t.rejects(verify(), { code: "log_damaged" });
});

t.test("a refusal to sign is damage too", async (t) => {
  const store = await scratch(t).open(true);
  await append(store, 10);
  const root = await store.log.rootAt(10);
  const { history, verify, verified, halted } = rig(store, () => ({ size: 10, root }));
  t.equal(await history.ask(), 10);
  t.match(await verify(), { ok: true });
  const refusal = {
    type: "notary.refused",
    size: 11,
    kind: "history",
    reason: "entries were changed.",
  } as const;
  await history.refused(new NotaryRefusal(refusal));
  await t.rejects(verify(), { code: "log_damaged", message: /another history.*entries were changed\.$/ });
  t.match(halted, [/refused to sign the log: entries were changed/]);
  t.match(verified, [
    { type: "log.verified", outcome: "success", data: { problem: null } },
    { type: "log.verified", outcome: "failure", data: { problem: /another history/ } },
  ]);
  t.equal(await logged(store, "notary.refused"), 1);
});

t.test("an older state that the notary names later does not loosen what is known", async (t) => {
  const store = await scratch(t).open(true);
  await append(store, 10);
  const roots = [await store.log.rootAt(10), await store.log.rootAt(4)];
  const sizes = [10, 4];
  const { history } = rig(store, () => ({ size: sizes.shift()!, root: roots.shift()! }));
  await history.ask();
  t.equal(await history.ask(), 4);
  t.equal(history.state.size, 10);
});
