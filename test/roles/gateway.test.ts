import { readFileSync } from "node:fs";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { processRig, text, tokens } from "../slack/rig.ts";

t.setTimeout(FILE_TIMEOUT);

async function connected(options?: Parameters<typeof processRig>[0]) {
  const rig = await processRig(options);
  rig.keeper.send({ type: "gateway.connect" }, tokens(rig.workspace));
  await rig.keeper.connected();
  return rig;
}

t.test("nothing is connected before the keeper says so", async (t) => {
  const rig = await processRig();
  t.teardown(rig.stop);
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.equal(rig.workspace.calls.length, 0, "no call, not even one that fails");
  rig.keeper.send({ type: "gateway.connect" }, tokens(rig.workspace));
  const state = await rig.keeper.connected();
  t.match(state, {
    team: "T0ACME0001",
    teamName: "Acme",
    botUser: "U0BOT00001",
    enterprise: null,
    error: null,
  });
});

t.test("receipt, acked to the keeper, ack to Slack: in this order", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  const order: string[] = [];
  const take = rig.keeper.take.bind(rig.keeper);
  rig.keeper.take = (message) => {
    if (message.type === "slack.request" || message.type === "slack.acked") order.push(message.type);
    take(message);
  };
  for (let i = 0; i < 20; i++) {
    order.length = 0;
    const delivery = rig.workspace.command("alice", "ops", `/ops run demo/hello --n ${i}`);
    const ack = await delivery.ack;
    // The ack is here; what was written to the keeper before it is at most on its way.
    await rig.keeper.until(() => order.includes("slack.acked"), "slack.acked");
    t.match(ack, { status: "acked", payload: {} });
    t.same(order, ["slack.request", "slack.acked"]);
  }
  t.match(rig.keeper.of("slack.acked").at(-1), { accepted: true });
});

t.test("no receipt within 2 s: told to try again, and the keeper told that it was", async (t) => {
  // Longer than Slack's 3 s: a busy machine may be late, never early.
  const rig = await connected({ ackTimeoutMs: 30_000 });
  t.teardown(rig.stop);
  await rig.workspace.command("alice", "ops", "/ops status").ack;
  rig.keeper.onRequest = () => {};
  const at = performance.now();
  const ack = await rig.workspace.command("alice", "ops", "/ops run x").ack;
  const ms = performance.now() - at;
  t.ok(ms >= 1900 && ms < 15_000, `after ${Math.round(ms)} ms`);
  t.match(ack, { status: "acked", payload: { response_type: "ephemeral", text: /Not accepted, try again/ } });
  const acked = await rig.keeper.until(() => rig.keeper.of("slack.acked").find((a) => !a.accepted), "acked");
  rig.keeper.receipt(acked.id);
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.equal(rig.keeper.of("slack.acked").length, 2, "a late receipt changes nothing");
});

t.test("no receipt for a click, which takes no text in its ack: response_url", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  const { workspace, keeper } = rig;
  const blocks = [
    { kind: "buttons" as const, buttons: [{ id: "run.cancel", label: "Cancel", value: "r-1" }] },
  ];
  const channel = workspace.channel("ops").id;
  keeper.send({
    type: "slack.post",
    nonce: "p",
    channel,
    thread: null,
    request: null,
    document: { summary: "s", blocks },
  });
  await keeper.posted("p");
  keeper.onRequest = (request) =>
    keeper.receipt(request.id, { accepted: false, text: "The appliance is sealed <!here>." });
  const click = workspace.click("alice", workspace.messages("ops")[0]!, "run.cancel");
  t.match(await click.ack, { status: "acked" });
  const answer = await click.response();
  t.match(answer, {
    ephemeralFor: workspace.person("alice").id,
    text: "The appliance is sealed &lt;!here&gt;.",
  });
});

t.test("a redelivery is acked silently", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  const delivery = rig.workspace.command("alice", "ops", "/ops run once");
  await delivery.ack;
  rig.workspace.faults.redeliver(delivery.envelopeId);
  await rig.workspace.waitFor(() => delivery.acks === 2);
  t.equal(delivery.responses.length, 0);
  t.equal(rig.keeper.of("slack.request").length, 1, "the keeper has heard of it");
  rig.keeper.send({ type: "gateway.disconnect" });
  await rig.workspace.waitFor(() => rig.workspace.connections.length === 0);
  await rig.keeper.connected(0);
  rig.keeper.send({ type: "gateway.connect" }, tokens(rig.workspace));
  await rig.keeper.connected();
  rig.workspace.faults.redeliver(delivery.envelopeId);
  await rig.workspace.waitFor(() => delivery.acks === 3);
  const [a, b] = rig.keeper.of("slack.request");
  t.equal(a!.dedupe, b!.dedupe, "a gateway that does not know of it asks");
  t.not(a!.id, b!.id);
});

t.test("acks stay under Slack's bound", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  rig.keeper.onRequest = (r) => rig.keeper.receipt(r.id, { accepted: false, text: "\u0001<&".repeat(166) });
  const ack = await rig.workspace.command("alice", "ops", "/ops status").ack;
  t.ok(ack.status === "acked" && ack.bytes < 20_480, JSON.stringify(ack).slice(0, 100));
});

t.test("the frames and events that end the official client's process do not end this one", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  const { faults } = rig.workspace;
  faults.nullFrame();
  faults.appRateLimited();
  faults.garbage();
  faults.oversizedFrame();
  faults.unknownType();
  faults.invalidEnvelope();
  faults.api("apps.connections.open", { error: "invalid_auth" });
  faults.api("apps.connections.open", { status: 503 });
  for (const c of rig.workspace.connections) faults.kill(c.id);
  await rig.keeper.connected(0);
  await rig.keeper.until(
    () => rig.keeper.of("slack.state").at(-1)?.connections !== 0,
    "a connection",
    15_000,
  );
  t.equal((await rig.workspace.command("alice", "ops", "/ops status").ack).status, "acked");
  t.equal(rig.stderr(), "", "and nothing is written about it");
});

t.test("gateway.disconnect leaves Slack; gateway.connect comes back", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  rig.keeper.send({ type: "gateway.disconnect" });
  await rig.workspace.waitFor(() => rig.workspace.connections.length === 0);
  t.match(await rig.keeper.connected(0), { team: null, error: null });
  const document = text("x");
  rig.keeper.send({
    type: "slack.post",
    nonce: "n",
    channel: "C0OPS00001",
    thread: null,
    request: null,
    document,
  });
  t.match(await rig.keeper.posted("n"), { ok: false, error: "not_connected" });
  rig.keeper.send({ type: "gateway.connect" }, tokens(rig.workspace));
  await rig.keeper.connected();
  t.equal((await rig.workspace.command("alice", "ops", "/ops status").ack).status, "acked");
});

t.test("wrong tokens are said in words", async (t) => {
  const rig = await processRig();
  t.teardown(rig.stop);
  rig.keeper.send({ type: "gateway.connect" }, [Buffer.from("xapp-wrong"), Buffer.from("xoxb-wrong")]);
  t.match((await rig.keeper.alarm("auth_failed")).detail, /bot token .*auth\.test: invalid_auth/);
  rig.keeper.send({ type: "gateway.connect" }, [Buffer.from("xapp-wrong"), tokens(rig.workspace)[1]!]);
  await rig.keeper.until(() => rig.keeper.of("slack.alarm").find((a) => /app token/.test(a.detail)), "alarm");
  rig.keeper.send({ type: "gateway.connect" }, [Buffer.alloc(0), Buffer.alloc(0)]);
  await rig.keeper.until(() => rig.keeper.of("slack.state").at(-1)?.error, "an error for empty tokens");
  rig.keeper.send({ type: "gateway.connect" }, [Buffer.alloc(0), tokens(rig.workspace)[1]!]);
  await rig.keeper.until(
    () => rig.keeper.of("slack.state").at(-1)?.error === "could not connect",
    "an error",
  );
  rig.keeper.send({ type: "gateway.connect" }, [
    Buffer.from("xapp\n\u2028"),
    Buffer.from("xoxb-\r\nX: y\u0000"),
  ]);
  rig.keeper.send({ type: "gateway.connect" }, tokens(rig.workspace));
  await rig.keeper.connected();
  t.equal(rig.stderr(), "");
});

t.test("it ends with its keeper", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  rig.connection.close();
  t.equal(await rig.exit, 0);
});

t.test("a keeper that breaks the wire's rules is left", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  rig.stream.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]));
  t.equal(await rig.exit, 1);
  t.match(rig.stderr(), "connection was ended");
});

t.test("the tokens are not in its command line, environment or log", async (t) => {
  const rig = await connected();
  t.teardown(rig.stop);
  const { pid } = rig.keeper.of("role.hello")[0]!;
  const secrets = [rig.workspace.appToken, rig.workspace.botToken];
  // Not readable at all once the process is not dumpable, except by root.
  for (const file of ["cmdline", "environ"]) {
    let content = "";
    try {
      content = readFileSync(`/proc/${pid}/${file}`, "latin1");
    } catch {}
    for (const secret of secrets) t.notOk(content.includes(secret), file);
  }
  for (const secret of secrets) t.notOk(rig.stderr().includes(secret));
});
