import { once } from "node:events";
import t from "tap";
import { type RawData, WebSocket } from "ws";
import type { Workspace } from "../../src/workspace/index.ts";
import { acme, type SlackEvent, socketClient, webClient } from "./client.ts";
import { differences, sample } from "./shape.ts";

type Frame = Record<string, unknown> & { envelope_id?: string; type?: string };

/** A bare WebSocket that keeps every frame: what the official client does not show. */
async function bare(ws: Workspace) {
  const { url } = await webClient(ws, ws.appToken).apps.connections.open({});
  const socket = new WebSocket(url ?? "");
  const frames: Frame[] = [];
  socket.on("message", (data: RawData) => {
    const text = String(data);
    frames.push(text.startsWith("{") && text.endsWith("}") ? (JSON.parse(text) as Frame) : { raw: text });
  });
  await once(socket, "open");
  const frame = (type: string, nth = 0) =>
    ws.waitFor(() => frames.filter((f) => f.type === type)[nth], 15_000);
  const ack = (id: string, payload?: unknown) =>
    socket.send(JSON.stringify({ envelope_id: id, ...(payload === undefined ? {} : { payload }) }));
  return { socket, frames, frame, ack };
}

t.test("the official client: hello, a command, its ack's text, an answer", async (t) => {
  const ws = await acme();
  const events: SlackEvent[] = [];
  const client = socketClient(ws, (event) => {
    events.push(event);
    void event.ack({ text: "queued" });
  });
  t.teardown(async () => {
    await client.disconnect();
    await ws.close();
  });
  await client.start();
  const command = ws.command("alice", "ops", "/ops run demo/hello");
  t.match(await command.ack, { status: "acked", connection: 1, payload: { text: "queued" } });
  const shown = await command.response();
  t.match(shown, { text: "queued", ephemeralFor: "U0ALICE001", via: "ack" });
  t.same(ws.visible("bob", "ops"), [], "ephemeral");
  t.match(events[0], { type: "slash_commands", body: { text: "run demo/hello" } });
  const mention = ws.mention("bob", "ops", "status");
  t.equal((await mention.ack).status, "acked");
  t.match(events[1], { type: "events_api", retry_num: 0 });
});

t.test("hello has Slack's fields; the address is good for one upgrade", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const one = await bare(ws);
  t.same(differences(sample("01-hello"), await one.frame("hello")), []);
  const two = await bare(ws);
  t.equal((await two.frame("hello")).num_connections, 2);
  const again = new WebSocket(one.socket.url);
  const [error] = (await once(again, "error")) as [Error];
  t.match(error.message, "404");
});

t.test("each envelope goes to one connection; up to ten; the eleventh is turned away", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const clients = await Promise.all(Array.from({ length: 10 }, () => bare(ws)));
  await ws.waitFor(() => ws.connections.length === 10);
  const eleventh = await bare(ws);
  t.match(await eleventh.frame("disconnect"), { reason: "too_many_websockets", num_connections: 10 });
  for (let i = 0; i < 30; i++) ws.command("alice", "ops", `/ops ${i}`);
  const commands = () => clients.map((c) => c.frames.filter((f) => f.type === "slash_commands").length);
  await ws.waitFor(() => commands().reduce((a, b) => a + b) === 30);
  t.same(commands(), Array(10).fill(3));
});

t.test("no connection: dispatch_failed for a command, an event waits", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const command = ws.command("alice", "ops", "/ops list");
  t.equal((await command.ack).status, "dispatch_failed");
  t.match(ws.visible("alice", "ops")[0], { via: "slack", text: /dispatch_failed/ });
  const mention = ws.mention("alice", "ops", "status");
  const client = await bare(ws);
  const { envelope_id: id } = await client.frame("events_api");
  t.equal(id, mention.envelopeId);
  client.ack(id ?? "");
  t.equal((await mention.ack).status, "acked");
});

t.test("no ack in time: an event comes again with its retry number, a command once more", async (t) => {
  const ws = await acme({ ackTimeoutMs: 100, retryDelaysMs: [0, 20, 20] });
  t.teardown(() => ws.close());
  const client = await bare(ws);
  const mention = ws.mention("alice", "ops", "status");
  t.match(await client.frame("events_api", 0), { retry_attempt: 0, retry_reason: "" });
  t.match(await client.frame("events_api", 1), { retry_attempt: 1, retry_reason: "timeout" });
  const third = await client.frame("events_api", 2);
  t.equal(third.envelope_id, mention.envelopeId);
  client.ack(mention.envelopeId);
  t.equal((await mention.ack).status, "acked");
  t.equal(mention.attempts.length, 3);
  const command = ws.command("alice", "ops", "/ops list");
  t.equal((await command.ack).status, "timeout");
  t.match(ws.visible("alice", "ops").at(-1), { via: "slack", text: /operation_timeout/ });
  t.equal((await client.frame("slash_commands", 1)).envelope_id, command.envelopeId);
});

t.test("an ack of 20,480 bytes: closed with 1009 and delivered again, or dropped", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const client = await bare(ws);
  const other = await bare(ws);
  await ws.waitFor(() => ws.connections.length === 2);
  const command = ws.command("alice", "ops", "/ops list");
  const first = await Promise.race([
    client.frame("slash_commands").then(() => client),
    other.frame("slash_commands").then(() => other),
  ]);
  const second = first === client ? other : client;
  const envelope = JSON.stringify({ envelope_id: command.envelopeId, payload: { text: "" } }).length;
  first.ack(command.envelopeId, { text: "x".repeat(20_480 - 8 - envelope) });
  const [code] = (await once(first.socket, "close")) as [number];
  t.equal(code, 1009);
  t.equal((await second.frame("slash_commands")).envelope_id, command.envelopeId);
  second.ack(command.envelopeId, { text: "x".repeat(20_479 - 8 - envelope) });
  t.match(await command.ack, { status: "acked" }, "one byte less is taken");
  const dropping = await acme({ bigAck: "drop", ackTimeoutMs: 150 });
  t.teardown(() => dropping.close());
  const dropped = await bare(dropping);
  const lost = dropping.command("alice", "ops", "/ops list");
  await dropped.frame("slash_commands");
  dropped.ack(lost.envelopeId, { text: "x".repeat(20_480) });
  t.equal((await lost.ack).status, "timeout");
  t.equal(dropped.socket.readyState, WebSocket.OPEN);
});

t.test("what a person submits in a modal is answered by the ack", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const client = await bare(ws);
  const text = (s: string) => ({ type: "plain_text", text: s });
  const field = {
    type: "input",
    block_id: "why",
    label: text("Reason"),
    element: { type: "plain_text_input", action_id: "v" },
  };
  const view = { type: "modal" as const, title: text("Run"), submit: text("Go"), blocks: [field] };
  const trigger = ws.command("alice", "ops", "/ops run").triggerId ?? "";
  await webClient(ws).apiCall("views.open", { trigger_id: trigger, view });
  const answer = async (payload?: unknown) => {
    const submitted = ws.submitView("alice", { why: "x" });
    client.ack(submitted.envelopeId, payload);
    await submitted.ack;
  };
  await answer({ response_action: "errors", errors: { why: "too short" } });
  t.same(ws.modal("alice")!.errors, { why: "too short" });
  await answer({ response_action: "update", view: { ...view, title: text("Sure?") } });
  t.match(ws.modal("alice")!.body, { title: { text: "Sure?" } });
  await answer({ response_action: "push", view: { ...view, title: text("Top") } });
  t.match(ws.modal("alice")!.body, { title: { text: "Top" } });
  await answer();
  t.match(ws.modal("alice")!.body, { title: { text: "Sure?" } }, "an empty ack closes the top one");
  await answer({ response_action: "clear" });
  t.equal(ws.modal("alice"), null);
});
