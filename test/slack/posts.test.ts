import t from "tap";
import type { Message } from "../../src/workspace/index.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { QUICK, type Rig, sessionRig, text } from "./rig.ts";

t.setTimeout(FILE_TIMEOUT);

async function started(options?: Parameters<typeof sessionRig>[0]) {
  const rig = await sessionRig(options);
  rig.session.start();
  await rig.keeper.connected();
  return rig;
}

function post(
  rig: Rig,
  nonce: string,
  words: string,
  over: { channel?: string; thread?: string; request?: string } = {},
) {
  const channel = over.channel ?? rig.workspace.channel("ops").id;
  const { thread = null, request = null } = over;
  rig.keeper.send({ type: "slack.post", nonce, channel, thread, request, document: text(words) });
}

function update(rig: Rig, nonce: string, ts: string, words: string) {
  rig.keeper.send({
    type: "slack.update",
    nonce,
    channel: rig.workspace.channel("ops").id,
    ts,
    document: text(words),
  });
}

const said = (rig: Rig, channel = "ops") => rig.workspace.messages(channel).map((m: Message) => m.text);

async function request(rig: Rig, channel = "ops"): Promise<string> {
  const before = rig.keeper.of("slack.request").length;
  await rig.workspace.command("alice", channel, "/ops status").ack;
  return rig.keeper.of("slack.request")[before]!.id;
}

t.test("posts keep their order within a channel, whatever happens to single calls", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.faults.api("chat.postMessage", { delayMs: 200 });
  rig.workspace.faults.api("chat.postMessage", { status: 503 }, 2);
  rig.workspace.faults.api("chat.postMessage", { status: 429, retryAfter: 1 });
  for (let i = 0; i < 12; i++) post(rig, `n${i}`, `message ${i}`);
  await rig.keeper.posted("n11");
  t.same(
    said(rig),
    Array.from({ length: 12 }, (_, i) => `message ${i}`),
  );
});

t.test("a channel that is rate limited holds up no other", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.addChannel({ name: "other", members: ["alice"], botIsMember: true });
  rig.workspace.faults.api("chat.postMessage", { status: 429, retryAfter: 2 });
  post(rig, "slow", "late");
  post(rig, "quick", "soon", { channel: rig.workspace.channel("other").id });
  t.ok((await rig.keeper.posted("quick")).ok);
  t.same(said(rig), [], "the limited one still waits");
  const slow = await rig.keeper.posted("slow");
  t.ok(slow.ok);
  const calls = rig.workspace.calls.filter((c) => c.method === "chat.postMessage");
  const [limited, , again] = calls;
  t.ok(again!.at - limited!.at > 1900, "Retry-After was honoured");
});

t.test("about one post a second after a burst", async (t) => {
  const rig = await started({ limits: { outbox: { ...QUICK.outbox, postBurst: 3, postsPerSecond: 2 } } });
  t.teardown(rig.stop);
  for (let i = 0; i < 6; i++) post(rig, `n${i}`, `${i}`);
  await rig.keeper.posted("n5");
  const at = rig.workspace.calls.filter((c) => c.method === "chat.postMessage").map((c) => c.at);
  t.ok(at[2]! - at[0]! < 900, "three at once: at the rate alone they would take a second");
  t.ok(at[5]! - at[2]! > 1200, "then two a second");
});

t.test("a nonce is posted once", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  post(rig, "n1", "once");
  const first = await rig.keeper.posted("n1");
  post(rig, "n1", "once");
  post(rig, "n2", "next");
  await rig.keeper.posted("n2");
  t.same(said(rig), ["once", "next"]);
  t.same(
    rig.keeper.of("slack.posted").filter((p) => p.nonce === "n1"),
    [first, first],
    "answered from memory",
  );
});

t.test("a lost answer is not a second message", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.faults.api("chat.postMessage", { lostAfterEffect: true });
  post(rig, "n1", "perhaps");
  t.match(
    await rig.keeper.posted("n1"),
    { ok: false, error: "unknown", ts: null },
    "nobody can know: said so",
  );
  rig.workspace.faults.api("chat.postMessage", { hang: true });
  post(rig, "n2", "hangs");
  t.match(await rig.keeper.posted("n2"), { ok: false, error: "unknown" });
  rig.workspace.faults.api("chat.postMessage", { garbage: true });
  post(rig, "n3", "a proxy's page");
  t.match(await rig.keeper.posted("n3"), { ok: false, error: "unknown" });
  post(rig, "n4", "after");
  t.ok((await rig.keeper.posted("n4")).ok, "the queue goes on");
  t.equal(said(rig).filter((m) => m === "perhaps").length, 1);
  t.same(
    rig.workspace.calls.filter((c) => c.error !== null).map((c) => c.method),
    [],
    "nothing is asked of Slack that the app has no right to",
  );
});

t.test("an update whose answer was lost is repeated, and changes nothing twice", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  post(rig, "n1", "queued");
  const { ts } = await rig.keeper.posted("n1");
  rig.workspace.faults.api("chat.update", { lostAfterEffect: true }, 2);
  update(rig, "u1", ts!, "done");
  t.ok((await rig.keeper.posted("u1")).ok);
  t.same(said(rig), ["done"]);
});

t.test("Slack unreachable: tried again for a while, then said so", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.faults.api("chat.postMessage", { status: 503 }, 1000);
  post(rig, "n1", "never");
  t.match(await rig.keeper.posted("n1"), { ok: false, error: "unreachable" });
  rig.workspace.faults.clear();
  post(rig, "n2", "again");
  t.ok((await rig.keeper.posted("n2")).ok);
});

t.test("updates of a queued post, and of one message, collapse", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.faults.api("chat.postMessage", { delayMs: 150 });
  post(rig, "n0", "first");
  post(rig, "n1", "queued");
  update(rig, "u1", "n1", "running");
  update(rig, "u2", "n1", "done");
  const posted = await rig.keeper.posted("n1");
  t.same(
    [await rig.keeper.posted("u1"), await rig.keeper.posted("u2")],
    [
      { ...posted, nonce: "u1" },
      { ...posted, nonce: "u2" },
    ],
  );
  t.same(said(rig), ["first", "done"], "one call, with the latest text");
  t.equal(rig.workspace.calls.filter((c) => c.method === "chat.update").length, 0);
  rig.workspace.faults.api("chat.update", { delayMs: 150 });
  for (let i = 0; i < 20; i++) update(rig, `v${i}`, posted.ts!, `progress ${i}`);
  await rig.keeper.posted("v19");
  t.equal(
    rig.workspace.calls.filter((c) => c.method === "chat.update").length,
    2,
    "the first, and the last of the rest",
  );
  t.same(said(rig), ["first", "progress 19"]);
  t.equal(
    rig.keeper.of("slack.posted").filter((p) => p.nonce.startsWith("v") && p.ok).length,
    20,
    "each is answered",
  );
  update(rig, "w", "n1", "by nonce");
  await rig.keeper.posted("w");
  t.same(said(rig), ["first", "by nonce"], "a post's nonce stands for its message");
  post(rig, "below", "in its thread", { thread: "n1" });
  await rig.keeper.posted("below");
  t.equal(rig.workspace.messages("ops").at(-1)?.threadTs, posted.ts, "and for its thread");
  post(rig, "lost", "no such thread", { thread: "of-an-earlier-gateway" });
  t.ok((await rig.keeper.posted("lost")).ok);
  t.equal(rig.workspace.messages("ops").at(-1)?.threadTs, null, "a thread that is not known: the channel");
  update(rig, "x", "of-an-earlier-gateway", "anew");
  t.match(await rig.keeper.posted("x"), { ok: true });
  t.equal(said(rig).at(-1), "anew", "an update to a message of an earlier process is not lost");
});

t.test("where the bot is no member, the request's response_url carries the post", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.addChannel({ name: "secret", kind: "private", members: ["alice"], botIsMember: false });
  const channel = rig.workspace.channel("secret").id;
  const id = await request(rig, "secret");
  post(rig, "n1", "result", { channel, request: id });
  t.match(await rig.keeper.posted("n1"), { ok: true, channel, ts: null });
  const [message] = rig.workspace.messages("secret");
  t.match(message, { text: "result", via: "response_url", ephemeralFor: null });
  post(rig, "n2", "without a request", { channel });
  t.match(await rig.keeper.posted("n2"), { ok: false, error: /not_in_channel|channel_not_found/ });
  const elsewhere = await request(rig, "ops");
  post(rig, "n3", "of another channel's request", { channel, request: elsewhere });
  t.match(await rig.keeper.posted("n3"), { ok: false }, "a response_url answers in its own channel alone");
  update(rig, "u1", "n1", "later");
  t.match(await rig.keeper.posted("u1"), { ok: false, error: "not_updatable" });
});

t.test("a token revoked while running", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.faults.api("chat.postMessage", { error: "token_revoked" });
  post(rig, "n1", "x");
  t.match(await rig.keeper.posted("n1"), { ok: false, error: "token_revoked" });
  t.match((await rig.keeper.alarm("auth_failed")).detail, /bot token.*token_revoked/);
  await rig.keeper.until(() => rig.keeper.of("slack.state").at(-1)?.error, "state with the error");
  post(rig, "n1", "x");
  await rig.keeper.until(() => said(rig).includes("x"), "the same nonce, which surely was not posted");
});

t.test("what still waits when the tokens change is handed back", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.faults.api("chat.postMessage", { status: 503 }, 1000);
  for (const nonce of ["n1", "n2"]) post(rig, nonce, nonce);
  await rig.keeper.until(() => rig.workspace.calls.some((c) => c.method === "chat.postMessage"), "a try");
  rig.session.stop();
  for (const nonce of ["n1", "n2"])
    t.match(await rig.keeper.posted(nonce), { ok: false, error: "not_connected" }, nonce);
});

t.test("bounds of the queue", async (t) => {
  const rig = await started({ limits: { outbox: { ...QUICK.outbox, perChannel: 10 } } });
  t.teardown(rig.stop);
  rig.workspace.faults.api("chat.postMessage", { delayMs: 300 });
  for (let i = 0; i < 15; i++) post(rig, `n${i}`, `${i}`);
  t.match(await rig.keeper.posted("n14"), { ok: false, error: "queue_full" });
  t.ok((await rig.keeper.posted("n9")).ok);
});
