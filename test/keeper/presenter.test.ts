import { mock } from "node:test";
import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import type { Outbox } from "../../src/keeper/outbox.ts";
import { Presenter } from "../../src/keeper/presenter.ts";
import type { Shown } from "../../src/keeper/run-output.ts";
import { due, interrupted, type Post } from "../../src/store/outbox.ts";
import type { MessageOf } from "../../src/wire/messages.ts";
import { scratch } from "../store/scratch.ts";
import { viewOf } from "./run-view.ts";

mock.timers.enable({ apis: ["setTimeout"] });
const ID = "r-0000000000000001";
const LONG: Shown = { chunks: [{ stream: "out", bytes: Buffer.from("line\n".repeat(4000)) }], bytes: 20_000 };
const SHORT: Shown = { chunks: [{ stream: "out", bytes: Buffer.from("line\n") }], bytes: 5 };

type Over = Partial<Pick<MessageOf<"slack.request">, "channel" | "thread">>;

/** A presenter, and what it says while the run goes on (`said`) and in the end (`owed`). */
async function rig(t: Parameters<typeof scratch>[0], over: Over = {}) {
  const store = await scratch(t).open(true);
  const said: string[] = [];
  const delivered: string[] = [];
  const outbox = {
    connected: true,
    post: async ({ nonce }: { nonce: string }) => {
      said.push(`post ${nonce}`);
      return { channel: "C0OPS00001", ts: "17.1" };
    },
    update: ({ ts }: { ts: string }) => said.push(`update ${ts}`),
    deliver: (post: Post) => delivered.push(post.nonce),
    flush: async () => {},
  } as unknown as Outbox;
  const request = {
    id: "q-1",
    identity: { enterprise: null, team: "T0ACME0001", user: "U0BOB00001" },
    channel: { id: "C0OPS00001", kind: "public" },
    thread: null,
    ...over,
  } as MessageOf<"slack.request">;
  const presenter = new Presenter({ outbox, request });
  return {
    said,
    delivered,
    presenter,
    end: async (view: ReturnType<typeof viewOf>, output = SHORT) => {
      await store.mutate(async (tx) => {
        tx.unlogged("test");
        await presenter.recording(tx, view, output);
      });
      presenter.ended();
      const owed = [
        ...(await interrupted(store.read)),
        ...(await due(store.read, { now: Date.now() + 1000 })),
      ];
      return owed.map(({ nonce, kind, channel, thread, target }) => ({
        nonce: nonce.replace(`${ID}:`, ""),
        kind,
        channel,
        thread,
        target,
      }));
    },
  };
}
/** Lets what timers started go on. */
const pass = async (ms: number) => {
  mock.timers.tick(ms);
  await Promise.resolve();
  await Promise.resolve();
};
const running = () => viewOf({ state: "running", exit: null });

t.test("a run that ended before its caller heard of it is shown once", async (t) => {
  const { presenter, said, delivered, end } = await rig(t);
  presenter.started(running());
  await end(viewOf());
  presenter.accepted(viewOf());
  presenter.progress("late", null);
  await pass(10_000);
  t.same(said, [], "no state after the result");
  t.same(delivered, [`${ID}:result`]);
});

t.test("a queued run that starts after its state was shown is updated, not posted anew", async (t) => {
  const { presenter, said, end } = await rig(t);
  presenter.accepted(viewOf({ state: "queued", exit: null }));
  await pass(200);
  presenter.started(running());
  presenter.accepted(running());
  await pass(10_000);
  t.same(said, [`post ${ID}:state`, "update 17.1"]);
  t.match(await end(viewOf()), [{ nonce: "result", kind: "update", target: "17.1" }]);
  presenter.progress("late", null);
  await pass(10_000);
  t.equal(said.length, 2, "and not again after its end");
});

t.test("an outcome that could not be recorded is told, once", async (t) => {
  const error = new SallyportError("database_damaged", `The outcome of ${ID}`);
  const early = await rig(t);
  early.presenter.unrecorded(running(), error);
  // As when a run is over before its request was answered.
  early.presenter.accepted(running());
  await pass(10_000);
  t.same(early.said, ["post q-1:unrecorded"]);
  const late = await rig(t);
  late.presenter.accepted(running());
  await pass(200);
  late.presenter.unrecorded(running(), error);
  await pass(10_000);
  t.same(late.said, [`post ${ID}:state`, "update 17.1"]);
});

t.test("reply: channel", async (t) => {
  const { presenter, end } = await rig(t);
  presenter.accepted(running());
  const channel = "C0OPS00001";
  t.same(await end(viewOf(), LONG), [
    { nonce: "result", kind: "post", channel, thread: null, target: "q-1" },
    { nonce: "output-1", kind: "post", channel, thread: `${ID}:result`, target: "q-1" },
    { nonce: "output-2", kind: "post", channel, thread: `${ID}:result`, target: "q-1" },
    { nonce: "output-3", kind: "post", channel, thread: `${ID}:result`, target: "q-1" },
  ]);
});

t.test("reply: thread", async (t) => {
  const view = (over = {}) => viewOf(over, "reply: thread\n");
  const quick = await rig(t);
  quick.presenter.accepted(view({ state: "running" }));
  const channel = "C0OPS00001";
  t.same(await quick.end(view()), [
    { nonce: "head", kind: "post", channel, thread: null, target: "q-1" },
    { nonce: "result", kind: "post", channel, thread: `${ID}:head`, target: "q-1" },
  ]);
  const slow = await rig(t);
  slow.presenter.accepted(view({ state: "running" }));
  await pass(200);
  t.match(await slow.end(view(), LONG), [
    { nonce: "head", kind: "update", target: "17.1", thread: null },
    { nonce: "result", kind: "post", thread: "17.1" },
    { nonce: "output-1", kind: "post", thread: "17.1" },
    { nonce: "output-2" },
    { nonce: "output-3" },
  ]);
  const within = await rig(t, { thread: "16.5" });
  within.presenter.accepted(view({ state: "running" }));
  t.match(await within.end(view()), [{ nonce: "result", kind: "post", thread: "16.5" }], "one is enough");
});

t.test("reply: private, or nowhere else to reply to: owed to the person", async (t) => {
  const cases = [
    { over: {}, manifest: "reply: private\n" },
    { over: { channel: null }, manifest: "" },
  ];
  for (const { over, manifest } of cases) {
    const { presenter, said, end } = await rig(t, over);
    presenter.accepted(viewOf({ state: "running" }, manifest));
    await pass(10_000);
    t.same(said, [], "nothing in the channel");
    const place = { kind: "post", channel: "U0BOB00001", thread: null, target: "q-1" };
    t.same(await end(viewOf({}, manifest), LONG), [
      { nonce: "result", ...place },
      { nonce: "output-1", ...place },
      { nonce: "output-2", ...place },
      { nonce: "output-3", ...place },
    ]);
  }
});
