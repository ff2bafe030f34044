import t from "tap";
import { type Rig, sessionRig, text } from "./rig.ts";

/** Answers for one person alone. */

async function started(options?: Parameters<typeof sessionRig>[0]) {
  const rig = await sessionRig(options);
  rig.session.start();
  await rig.keeper.connected();
  return rig;
}

async function request(rig: Rig, channel = "ops"): Promise<string> {
  const before = rig.keeper.of("slack.request").length;
  await rig.workspace.command("alice", channel, "/ops status").ack;
  return rig.keeper.of("slack.request")[before]!.id;
}
/** What a person reads anywhere, and how it came. */
function reads(rig: Rig, who: string): { text: string; via: string; channel: string }[] {
  const places = [rig.workspace.channel("ops"), rig.workspace.im(who)];
  return places.flatMap((place) =>
    rig.workspace
      .visible(who, place)
      .map((m) => ({ text: m.text, via: m.via, channel: place.kind === "im" ? "dm" : place.name })),
  );
}

t.test("a private answer is seen by its person alone, by whatever way is left", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const id = await request(rig);
  for (let i = 0; i < 7; i++)
    rig.keeper.send({ type: "slack.respond", request: id, document: text(`private ${i}`) });
  const seen = (who: string) => rig.workspace.visible(who, "ops").map((m) => m.text);
  await rig.workspace.waitFor(() => seen("alice").length === 7);
  t.same(
    seen("alice"),
    Array.from({ length: 7 }, (_, i) => `private ${i}`),
    "in order, beyond the URL's five uses",
  );
  t.same(seen("bob"), []);
  t.same(
    rig.workspace.messages("ops").map((m) => m.via),
    [...Array(5).fill("response_url"), "chat.postEphemeral", "chat.postEphemeral"],
  );
  rig.workspace.mention("bob", "ops", "status");
  const mention = await rig.keeper.until(
    () => rig.keeper.of("slack.request").find((r) => r.surface === "mention"),
    "mention",
  );
  rig.keeper.send({ type: "slack.respond", request: mention.id, document: text("for bob") });
  await rig.workspace.waitFor(() => seen("bob").includes("for bob"));
  t.notOk(seen("alice").includes("for bob"), "a mention has no response_url: chat.postEphemeral");
  rig.keeper.send({ type: "slack.respond", request: "no-such", document: text("nobody") });
});

t.test("a private answer of which one way fails comes by the next", async (t) => {
  const cases = [
    { faults: [["response_url", { status: 500 }]], via: "chat.postEphemeral", channel: "ops" },
    { faults: [["response_url", { hang: true }]], via: "chat.postEphemeral", channel: "ops" },
    {
      faults: [
        ["response_url", { status: 500 }],
        ["chat.postEphemeral", { garbage: true }],
      ],
      via: "chat.postMessage",
      channel: "dm",
    },
  ] as const;
  for (const { faults, via, channel } of cases) {
    const rig = await started({ limits: { webTimeoutMs: 600 } });
    t.teardown(rig.stop);
    const id = await request(rig);
    for (const [method, fault] of faults) rig.workspace.faults.api(method, fault);
    rig.keeper.send({ type: "slack.respond", request: id, document: text("refused") });
    await rig.workspace.waitFor(() => reads(rig, "alice").length > 0, 20_000);
    t.same(reads(rig, "alice"), [{ text: "refused", via, channel }]);
    t.same(reads(rig, "bob"), []);
  }
});

t.test("where every way fails for a while, the last is tried again", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  for (const fault of [{ status: 429, retryAfter: 1 }, { status: 503 }, { status: 500 }] as const) {
    const id = await request(rig);
    rig.workspace.faults.api("response_url", { status: 500 });
    rig.workspace.faults.api("chat.postEphemeral", { status: 500 });
    rig.workspace.faults.api("chat.postMessage", fault);
    const words = `code after ${fault.status}`;
    rig.keeper.send({ type: "slack.respond", request: id, document: text(words) });
    await rig.workspace.waitFor(() => reads(rig, "alice").some((m) => m.text === words), 20_000);
  }
  t.same(reads(rig, "bob"), []);
});

t.test("a post to the request's own person is for that person alone, where they asked", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const id = await request(rig);
  const channel = rig.workspace.person("alice").id;
  const post = (nonce: string, request: string | null) =>
    rig.keeper.send({ type: "slack.post", nonce, channel, thread: null, request, document: text(nonce) });
  post("n1", id);
  t.match(await rig.keeper.posted("n1"), { ok: true, channel, ts: null });
  rig.workspace.faults.api("response_url", { status: 500 });
  post("n2", id);
  t.match(await rig.keeper.posted("n2"), { ok: true });
  post("n3", "of-an-earlier-gateway");
  t.match(await rig.keeper.posted("n3"), { ok: true, channel: rig.workspace.im("alice").id });
  t.same(reads(rig, "alice"), [
    { text: "n1", via: "response_url", channel: "ops" },
    { text: "n2", via: "chat.postEphemeral", channel: "ops" },
    { text: "n3", via: "chat.postMessage", channel: "dm" },
  ]);
  t.same(reads(rig, "bob"), []);
});
