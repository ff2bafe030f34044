import t from "tap";
import type { Peers } from "../../src/keeper/peers.ts";
import { SlackDesk } from "../../src/keeper/slack-desk.ts";
import { due } from "../../src/store/outbox.ts";
import { acceptReceipt, findReceipt } from "../../src/store/receipts.ts";
import type { Message, MessageOf } from "../../src/wire/messages.ts";
import { until } from "../e2e/appliance.ts";
import { scratch } from "../store/scratch.ts";

const REQUEST: MessageOf<"slack.request"> = {
  type: "slack.request",
  id: "q-1",
  dedupe: "envelope:1",
  trigger: null,
  surface: "slash",
  identity: { enterprise: null, team: "T0ACME0001", user: "U0ANN00001" },
  channel: null,
  thread: null,
  text: "run demo/hello",
  action: null,
  retry: 0,
  receivedAt: 0,
};

async function desk(t: Parameters<typeof scratch>[0]) {
  const store = await scratch(t).open(true);
  const sent: Message[] = [];
  const dispatched: string[] = [];
  const made = new SlackDesk({
    store,
    peers: { send: (_role: string, message: Message) => sent.push(message) } as unknown as Peers,
    dispatch: async ({ id }) => {
      dispatched.push(id);
      return { outcome: "done", document: null };
    },
    failed: (error) => {
      throw error;
    },
  });
  return { store, sent, dispatched, desk: made };
}

t.test("given up here, acknowledged there: the person hears that nothing ran, and why", async (t) => {
  const { store, sent, dispatched, desk: it } = await desk(t);
  it.receive(REQUEST);
  await until(() => sent.length === 1, 15_000);
  t.match(sent[0], { type: "slack.receipt", accepted: true, duplicate: false });
  it.gatewayLost();
  await until(async () => (await findReceipt(store.read, "envelope:1")) === undefined, 15_000);
  it.receive({ type: "slack.acked", id: "q-1", accepted: true });
  t.match(sent[1], {
    type: "slack.respond",
    request: "q-1",
    document: { summary: /did not run.*try again/ },
  });
  t.notMatch(JSON.stringify(sent[1]), /restarted/, "nobody restarted it");
  t.same(dispatched, []);
});

t.test("accepted before a crash: the person hears that sallyport was restarted", async (t) => {
  const { store, dispatched, desk: it } = await desk(t);
  const body = Buffer.from("U0ANN00001");
  await store.mutate((tx) => {
    tx.unlogged("test");
    return acceptReceipt(tx, { key: "envelope:1", trigger: null, requestId: "q-1", kind: "slash", body });
  });
  await it.recover();
  t.match(await due(store.read, { now: Date.now() }), [{ channel: "U0ANN00001", doc: /was restarted/ }]);
  t.match(await findReceipt(store.read, "envelope:1"), { state: "refused" });
  t.same(dispatched, []);
});
