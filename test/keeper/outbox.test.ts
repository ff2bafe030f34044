import t from "tap";
import { parseEntry } from "../../src/audit/event.ts";
import { giveUpOld, Outbox } from "../../src/keeper/outbox.ts";
import type { Peers } from "../../src/keeper/peers.ts";
import { KEEP_MS } from "../../src/keeper/post-failure.ts";
import { owe, type Post, postByNonce } from "../../src/store/outbox.ts";
import type { Message, MessageOf } from "../../src/wire/messages.ts";
import { scratch } from "../store/scratch.ts";

const RUN = "r-0000000000000001";
const DOC = JSON.stringify({ summary: "✔ demo/x succeeded", blocks: [{ kind: "text", text: "all of it" }] });

type Sent = MessageOf<"slack.post"> | MessageOf<"slack.update">;

/** The keeper's outbox with a real store, a clock and a gateway that the test plays. */
async function rig(t: Parameters<typeof scratch>[0]) {
  let now = 1_000_000;
  const store = await scratch(t).open(true, () => now);
  const sent: Sent[] = [];
  const errors: unknown[] = [];
  const peers = {
    send: (_role: string, message: Message) => sent.push(message as Sent) > 0,
  } as unknown as Peers;
  const outbox = new Outbox({ store, peers, now: () => now, failed: (error) => errors.push(error) });
  t.teardown(() => outbox.stop());
  return {
    store,
    sent,
    errors,
    outbox,
    owe: (nonce: string, over: Partial<Pick<Post, "kind" | "target" | "channel">> = {}) =>
      store.mutate((tx) => {
        tx.unlogged("test");
        return owe(tx, { nonce, kind: "post", channel: "C0OPS00001", run: RUN, doc: DOC, ...over });
      }),
    row: async (nonce: string) => (await postByNonce(store.read, nonce))!,
    answer: (nonce: string, error: string | null, ts: string | null = null) =>
      outbox.posted({ type: "slack.posted", nonce, ok: error === null, channel: null, ts, error }),
    connect: () => {
      outbox.setConnected(true);
      return outbox.flush();
    },
    later: (ms: number) => {
      now += ms;
      return outbox.flush();
    },
    failures: async () =>
      (await store.log.query({ type: "slack.post_failed" })).map((row) => parseEntry(row.entry)),
  };
}
const nonces = (sent: Sent[]) => sent.map((message) => message.nonce);
const words = (message: Sent | undefined) => JSON.stringify(message?.document);

t.test("an outcome whose answer was lost is told again, a few times with growing pauses", async (t) => {
  const r = await rig(t);
  await r.owe(`${RUN}:result`, { target: "q-1" });
  await r.connect();
  let nonce = `${RUN}:result`;
  for (const pause of [2000, 10_000, 60_000, 300_000, 300_000]) {
    await r.answer(nonce, "unknown");
    t.equal((await r.row(nonce)).state, "failed");
    await r.later(pause - 1);
    t.equal(nonces(r.sent).at(-1), nonce, `not before ${pause} ms`);
    await r.later(1);
    nonce += "-again";
    t.equal(nonces(r.sent).at(-1), nonce);
    t.equal(words(r.sent.at(-1)).match(/may be shown here twice/g)?.length, 1);
    t.match(words(r.sent.at(-1)), /all of it/);
    t.match(
      r.sent.at(-1),
      { type: "slack.post", request: "q-1" },
      "the request's own way back stays open to it",
    );
  }
  await r.answer(nonce, "unknown");
  await r.later(KEEP_MS);
  t.equal(r.sent.length, 6, "then it is given up");
  t.match(await r.failures(), [
    { run: RUN, data: { channel: "C0OPS00001", kind: "post", error: "unknown" } },
  ]);
  t.same(r.errors, []);
});

t.test("what is told once too often would be noise: a post that is no outcome is not repeated", async (t) => {
  const r = await rig(t);
  await r.owe("notice:1");
  await r.connect();
  await r.answer("notice:1", "unknown");
  await r.later(KEEP_MS);
  t.same(nonces(r.sent), ["notice:1"]);
  t.equal((await r.failures()).length, 1);
});

t.test("an update whose fate is unknown is repeated as it is", async (t) => {
  const r = await rig(t);
  await r.owe(`${RUN}:result`, { kind: "update", target: "17.1" });
  await r.connect();
  await r.answer(`${RUN}:result`, "unknown");
  await r.later(2000);
  t.match(r.sent, [
    { type: "slack.update", ts: "17.1" },
    { type: "slack.update", ts: "17.1" },
  ]);
  await r.answer(`${RUN}:result`, null, "17.1");
  t.match(await r.row(`${RUN}:result`), { state: "sent" });
});

t.test("tokens that serve no more: owed until the gateway is connected anew", async (t) => {
  for (const error of ["token_revoked", "invalid_auth", "account_inactive", "not_authed", "token_expired"]) {
    const r = await rig(t);
    await r.owe(`${RUN}:result`);
    await r.connect();
    await r.answer(`${RUN}:result`, error);
    await r.later(3_600_000);
    t.equal(r.sent.length, 1, `${error}: not by itself`);
    r.outbox.setConnected(false);
    await r.connect();
    t.same(nonces(r.sent), [`${RUN}:result`, `${RUN}:result`], error);
    t.same(await r.failures(), []);
  }
});

t.test("an outcome that Slack refuses is told in few words", async (t) => {
  const r = await rig(t);
  await r.owe(`${RUN}:result`, { kind: "update", target: "17.1" });
  await r.connect();
  await r.answer(`${RUN}:result`, "msg_too_long");
  const plain = r.sent.at(-1);
  t.match(plain, { type: "slack.update", ts: "17.1", nonce: `${RUN}:result-plain` });
  t.match(words(plain), /demo\/x succeeded/);
  t.match(words(plain), /msg_too_long.*sallyport runs show r-0{15}1/);
  t.notMatch(words(plain), /all of it"/);
  await r.answer(`${RUN}:result-plain`, "invalid_blocks");
  t.equal(r.sent.length, 2, "the run is unknown here, and with it the person");
  t.equal((await r.failures()).length, 1);
});

t.test("after a day nobody waits for it any more", async (t) => {
  const r = await rig(t);
  await r.owe(`${RUN}:result`);
  await r.owe("notice:1");
  await r.later(KEEP_MS + 1);
  await r.owe("notice:2");
  await r.connect();
  t.same(nonces(r.sent), ["notice:2"], "no flood after an outage");
  t.match(await r.row("notice:1"), { state: "failed", error: "not_connected" });
  t.equal((await r.failures()).length, 2);

  for (let tries = 0; (await r.row("notice:2")).state !== "failed"; tries++) {
    if ((await r.row("notice:2")).state === "sending") await r.answer("notice:2", "ratelimited");
    await r.later(300_000);
    if (tries > 400) break;
  }
  t.match(await r.row("notice:2"), { state: "failed", error: "ratelimited" }, "nor is it tried for ever");
  t.equal((await r.failures()).length, 3);

  r.outbox.setConnected(false);
  await r.owe("notice:3");
  await r.later(KEEP_MS + 1);
  await r.store.mutate((tx) => giveUpOld(tx, tx.now - KEEP_MS));
  t.match(await r.row("notice:3"), { state: "failed" }, "also where Slack is never reached");
});

t.test("two who post the same nonce are both answered", async (t) => {
  const r = await rig(t);
  const document = JSON.parse(DOC);
  const post = () =>
    r.outbox.post({ nonce: "n", channel: "C0OPS00001", thread: null, request: null, document }, []);
  const both = Promise.all([post(), post()]);
  await r.answer("n", null, "17.1");
  t.same(await both, [
    { channel: "C0OPS00001", ts: "17.1" },
    { channel: "C0OPS00001", ts: "17.1" },
  ]);
});
