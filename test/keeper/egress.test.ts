import t from "tap";
import type { Manifest, NetworkTarget } from "../../src/core/manifest.ts";
import { EgressClient } from "../../src/keeper/egress.ts";
import type { Live } from "../../src/keeper/run-types.ts";
import type { Store } from "../../src/store/store.ts";
import type { Message, MessageOf } from "../../src/wire/messages.ts";
import { until } from "../e2e/appliance.ts";

/** What the keeper asks of egress, and what it writes down. */

type Logged = {
  type: string;
  outcome: string;
  run?: string;
  reason?: string;
  data?: Record<string, unknown>;
};

class Rig {
  readonly sent: Message[] = [];
  readonly logged: Logged[] = [];
  connected = true;
  readonly client = new EgressClient({
    store: {
      mutate: async (fn: (tx: { log(event: Logged): void }) => unknown) =>
        fn({ log: (event) => this.logged.push(event) }),
    } as unknown as Store,
    peers: {
      send: (_role, message) => {
        if (this.connected) this.sent.push(message);
        return this.connected;
      },
    },
    socket: "/run/x/egress.sock",
    failed: (error) => {
      throw error;
    },
  });

  live(run: string, network: NetworkTarget[]): Live {
    return {
      view: { row: { id: run } },
      caller: { actor: { kind: "system" } },
      op: {
        row: { name: "web/x" },
        namespace: { name: "web" },
        manifest: { network } as unknown as Manifest,
      },
    } as unknown as Live;
  }
  granted(run: string): void {
    this.client.receive({ type: "egress.granted", run });
  }
  connection(run: string, more: Partial<MessageOf<"egress.connection">> = {}): void {
    const nothing = { address: null, bytesOut: 1, bytesIn: 2, ms: 3, reason: null, count: 1 };
    this.client.receive({
      type: "egress.connection",
      run,
      outcome: "closed",
      target: "a:1",
      ...nothing,
      ...more,
    });
  }
}
const TARGETS: NetworkTarget[] = [
  { scheme: "tls", host: "a", port: 1 },
  { scheme: "ssh", host: "b", port: 2, private: true },
];

t.test("a grant names exactly the manifest's targets, each with a token of its own", async (t) => {
  const rig = new Rig();
  const ways = ["r-0001", "r-0002"].map((run) => rig.client.grant(rig.live(run, TARGETS)));
  rig.granted("r-0001");
  rig.granted("r-0002");
  const [one, two] = await Promise.all(ways);
  t.match(one, { socket: "/run/x/egress.sock", token: /^[0-9a-f]{32}$/ });
  t.not(one!.token, two!.token);
  t.match(rig.sent[0], {
    type: "egress.grant",
    run: "r-0001",
    token: one!.token,
    targets: [
      { scheme: "tls", host: "a", port: 1, private: false },
      { scheme: "ssh", host: "b", port: 2, private: true },
    ],
  });
  t.equal(await rig.client.grant(rig.live("r-0003", [])), undefined, "no network, no question");
  t.equal(rig.sent.length, 2);
});

t.test("without egress, or when it ends meanwhile, there is no way out and the reason is said", async (t) => {
  const rig = new Rig();
  rig.connected = false;
  await t.rejects(rig.client.grant(rig.live("r-0001", TARGETS)), {
    code: "launch_failed",
    message: /is not there/,
  });
  rig.connected = true;
  const asked = rig.client.grant(rig.live("r-0002", TARGETS));
  rig.client.lost();
  await t.rejects(asked, { code: "launch_failed", message: /ended/ });
  await t.rejects(
    rig.client.grant(rig.live("r-0003", TARGETS)),
    { message: /did not answer in time/ },
    "within 5 s",
  );
});

t.test("what egress reports is logged under its run, until the run is forgotten", async (t) => {
  const rig = new Rig();
  const way = rig.client.grant(rig.live("r-0001", TARGETS));
  rig.granted("r-0001");
  await way;
  rig.connection("r-0001", { outcome: "connected" });
  rig.client.revoke("r-0001");
  rig.connection("r-0001", { outcome: "refused", reason: "no" });
  rig.client.receive({ type: "egress.revoked", run: "r-0001" });
  rig.connection("r-0001");
  rig.connection("r-9999");
  await until(() => rig.logged.length === 2, 5000);
  t.match(rig.logged, [
    {
      type: "network.connected",
      outcome: "success",
      run: "r-0001",
      data: { target: "a:1", bytesIn: 2, durationMs: 3 },
    },
    { type: "network.refused", outcome: "denied", run: "r-0001", reason: "no" },
  ]);
  rig.client.revoke("r-0001");
  t.equal(rig.sent.filter((message) => message.type === "egress.revoke").length, 1, "told once");
});

t.test("what waits for the last connections hears when all were told of, and not much longer", async (t) => {
  const rig = new Rig();
  await rig.client.settled(60_000);
  const way = rig.client.grant(rig.live("r-0001", TARGETS));
  rig.granted("r-0001");
  await way;
  rig.client.revoke("r-0001");
  let settled = false;
  const waiting = rig.client.settled(60_000).then(() => {
    settled = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.notOk(settled);
  rig.client.receive({ type: "egress.revoked", run: "r-0001" });
  await waiting;
  void rig.client.grant(rig.live("r-0002", TARGETS)).catch(() => undefined);
  await rig.client.settled(20);
  t.pass("given up");
});

t.test("an egress that was taken over can't fill the log", async (t) => {
  const rig = new Rig();
  const way = rig.client.grant(rig.live("r-0001", TARGETS));
  rig.granted("r-0001");
  await way;
  for (let i = 0; i < 20_000; i++) rig.connection("r-0001");
  t.ok(rig.logged.length >= 1001 && rig.logged.length < 10_000, `${rig.logged.length}`);
  t.ok(rig.logged.some((event) => /more connections than there can be/.test(event.reason ?? "")));
});

t.test("runs that live on without egress are told of", async (t) => {
  const rig = new Rig();
  const way = rig.client.grant(rig.live("r-0001", TARGETS));
  rig.granted("r-0001");
  await way;
  rig.client.lost();
  await until(() => rig.logged.length === 1, 5000);
  t.match(rig.logged, [{ type: "network.failed", run: "r-0001", reason: /no network any more/ }]);
});
