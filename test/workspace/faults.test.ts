import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { Workspace } from "../../src/workspace/index.ts";
import { acme, type SlackEvent, socketClient, webClient } from "./client.ts";

const CRASH = fileURLToPath(new URL("crash-client.ts", import.meta.url));

async function child(ws: Workspace): Promise<ChildProcess> {
  const process_ = spawn(process.execPath, [CRASH, ws.apiUrl], { stdio: ["pipe", "ignore", "pipe"] });
  process_.stdin?.end(ws.appToken);
  await ws.waitFor(() => ws.connections.length === 1, 10_000);
  return process_;
}

function connected(
  ws: Workspace,
  t: { teardown: (fn: () => Promise<void>) => void },
  listener: (event: SlackEvent) => void = (e) => void e.ack(),
) {
  const client = socketClient(ws, listener);
  t.teardown(async () => {
    await client.disconnect();
  });
  return client;
}

t.test("frames that end the official client's process: null, and an event without event", async (t) => {
  for (const fault of ["nullFrame", "appRateLimited"] as const) {
    const ws = await acme();
    t.teardown(() => ws.close());
    const process_ = await child(ws);
    t.teardown(() => process_.kill());
    ws.faults[fault]();
    const [code] = (await once(process_, "exit")) as [number | null];
    t.equal(code, 1, fault);
  }
});

t.test("frames that it survives: garbage, unknown type, malformed envelope, one of a megabyte", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const seen: string[] = [];
  const client = connected(ws, t, (e) => {
    seen.push(e.type);
    if (e.body !== null) void e.ack();
  });
  await client.start();
  ws.faults.garbage();
  ws.faults.unknownType();
  ws.faults.invalidEnvelope();
  ws.faults.oversizedFrame();
  t.equal((await ws.command("alice", "ops", "/ops list").ack).status, "acked");
  t.same(seen, ["from_the_future", "slash_commands", "slash_commands", "slash_commands"]);
});

t.test("no hello: start() stays pending; a stalled or refused upgrade never connects", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const pending = (client: ReturnType<typeof socketClient>) =>
    Promise.race([
      client.start().then(
        () => "connected",
        () => "failed",
      ),
      new Promise((done) => setTimeout(() => done("pending"), 200)),
    ]);
  ws.faults.dropHello();
  t.equal(await pending(connected(ws, t)), "pending");
  t.equal(ws.connections.length, 1, "it is open all the same");
  t.equal((await ws.command("alice", "ops", "/ops x").ack).status, "dispatch_failed", "and gets nothing");
  ws.faults.stallUpgrade();
  t.equal(await pending(socketClient(ws, () => {})), "pending");
  t.equal(ws.connections.length, 1);
  ws.faults.refuseUpgrade(503);
  t.not(await pending(socketClient(ws, () => {})), "connected");
  ws.faults.stallAfterUpgrade();
  t.equal(await pending(socketClient(ws, () => {})), "pending");
});

t.test("apps.connections.open: 5xx, invalid_auth and 429 for the next calls", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const client = connected(ws, t);
  ws.faults.api("apps.connections.open", { status: 503 });
  await t.rejects(client.start());
  ws.faults.api("apps.connections.open", { error: "invalid_auth" }, 2);
  await t.rejects(client.start(), /invalid_auth/);
  await t.rejects(client.start(), /invalid_auth/);
  await client.start();
  t.equal(ws.connections.length, 1);
  t.same(
    ws.calls.map((c) => c.error),
    ["http_503", "invalid_auth", "invalid_auth", null],
  );
});

t.test("disconnect frames of every reason", async (t) => {
  for (const reason of ["refresh_requested", "link_disabled", "too_many_websockets", "warning"]) {
    const ws = await acme();
    t.teardown(() => ws.close());
    const frames: string[] = [];
    const client = connected(ws, t);
    client.on("ws_message", (data: string) => frames.push(data));
    await client.start();
    ws.faults.disconnect(reason, { afterMs: 20 });
    await ws.waitFor(() => ws.connections.length === 0);
    t.match(JSON.parse(frames.at(-1) ?? "{}"), { type: "disconnect", reason });
  }
});

t.test("a draining connection gets no new envelope, its acks still count", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  // A client of our own kind: it does not leave at the first word.
  const { url } = await webClient(ws, ws.appToken).apps.connections.open({});
  const socket = new WebSocket(url ?? "");
  const ids: string[] = [];
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(String(data)) as { envelope_id?: string };
    if (frame.envelope_id !== undefined) ids.push(frame.envelope_id);
  };
  await ws.waitFor(() => ws.connections.length === 1);
  const before = ws.command("alice", "ops", "/ops 1");
  await ws.waitFor(() => ids.length === 1);
  ws.faults.disconnect("refresh_requested", { afterMs: 300 });
  const during = ws.command("alice", "ops", "/ops 2");
  t.equal((await during.ack).status, "dispatch_failed");
  socket.send(JSON.stringify({ envelope_id: before.envelopeId }));
  t.equal((await before.ack).status, "acked");
  await once(socket as unknown as EventTarget, "close");
});

t.test("TCP stays open after the close handshake", async (t) => {
  const ws = await acme({ keepTcpOpen: true });
  t.teardown(() => ws.close());
  const { url } = await webClient(ws, ws.appToken).apps.connections.open({});
  const path = (url ?? "").replace(/^ws:\/\/[^/]+/, "");
  const tcp = connect(ws.port, "127.0.0.1");
  const key = Buffer.alloc(16).toString("base64");
  tcp.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  const seen: Buffer[] = [];
  tcp.on("data", (data: Buffer) => void seen.push(data));
  let ended = false;
  tcp.on("end", () => {
    ended = true;
  });
  await ws.waitFor(() => Buffer.concat(seen).includes("hello"));
  seen.length = 0;
  tcp.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])); // close 1000, masked with zeros
  await ws.waitFor(() => Buffer.concat(seen).includes(Buffer.from([0x88, 0x02, 0x03, 0xe8])));
  t.equal(ws.connections.length, 0, "as a connection it is gone");
  await new Promise((done) => setTimeout(done, 150));
  t.equal(ended, false, "as TCP it is not");
  tcp.destroy();
});

t.test("one envelope twice, to two connections; again on demand", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const seen: [number, string][] = [];
  for (const n of [1, 2]) {
    await connected(ws, t, (e) => {
      seen.push([n, e.envelope_id]);
      void e.ack();
    }).start();
  }
  ws.faults.duplicateNext();
  const command = ws.command("alice", "ops", "/ops run");
  await ws.waitFor(() => command.acks === 2);
  t.same(new Set(seen.map(([n]) => n)), new Set([1, 2]));
  ws.faults.redeliver(command.envelopeId);
  await ws.waitFor(() => command.acks === 3);
  t.same(new Set(seen.map(([, id]) => id)).size, 1);
});

t.test("a refresh in the middle of a delivery: it comes again elsewhere", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  for (const _ of [1, 2]) await connected(ws, t).start();
  ws.faults.refreshDuringNext();
  const command = ws.command("alice", "ops", "/ops run");
  t.match(await command.ack, { status: "acked" });
  t.equal(command.attempts.length, 2);
  t.not(command.attempts[0]?.connection, command.attempts[1]?.connection);
});

t.test("a killed connection's envelope goes to the other one; a lost ack comes again", async (t) => {
  const ws = await acme({ ackTimeoutMs: 150 });
  t.teardown(() => ws.close());
  const client = connected(ws, t, () => {});
  client.on("error", () => {});
  await client.start();
  const command = ws.command("alice", "ops", "/ops run");
  await connected(ws, t).start();
  ws.faults.kill(command.attempts[0]?.connection);
  t.match(await command.ack, { status: "acked", connection: 2 });
  ws.faults.loseAckNext();
  const mention = ws.mention("alice", "ops", "status");
  t.equal((await mention.ack).status, "acked");
  t.equal(mention.attempts.length, 2);
});

t.test("a muted connection answers no ping, the client leaves it", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const client = connected(ws, t);
  await client.start();
  ws.faults.mute();
  await ws.waitFor(() => ws.connections.length === 0, 15_000);
  t.pass("after clientPingTimeout");
});
