import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import type { Outbox } from "../../src/keeper/outbox.ts";
import type { Peers } from "../../src/keeper/peers.ts";
import { Presenter } from "../../src/keeper/presenter.ts";
import type { MessageOf } from "../../src/wire/messages.ts";
import { Rig } from "./runs-rig.ts";

t.test("an outcome that could not be recorded is told in Slack, once", async (t) => {
  const rig = await Rig.make(t);
  const said: string[] = [];
  const outbox = {
    post: async (message: unknown) => {
      said.push(`post ${JSON.stringify(message)}`);
      return null;
    },
    update: (message: unknown) => void said.push(`update ${JSON.stringify(message)}`),
  };
  const peers = { send: () => t.fail("nothing goes out but by the outbox") };
  const request = { id: "q1", channel: { id: "C1" }, thread: null };
  const presenter = new Presenter({
    outbox: outbox as unknown as Outbox,
    peers: peers as unknown as Peers,
    request: request as unknown as MessageOf<"slack.request">,
  });
  const view = await rig.request();
  presenter.unrecorded(view, new SallyportError("database_damaged", `The outcome of ${view.row.id}`));
  // As when a run is over before its request was answered.
  presenter.accepted(view);
  await sleep(400);
  t.equal(said.length, 1, said.join("\n"));
  t.match(said[0], `The outcome of ${view.row.id}`);
});
