import t from "tap";
import type { Delivery } from "../../src/workspace/index.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { QUICK, type Rig, sessionRig } from "./rig.ts";

t.setTimeout(FILE_TIMEOUT);

/** What the official client does not survive (SLACK.md), each on a live session; a command afterwards is acked. */
async function works(rig: Rig): Promise<string> {
  await rig.keeper.connected();
  return (await rig.workspace.command("alice", "ops", "/ops status").ack).status;
}

/** A connection that Slack still uses. */
function live(rig: Rig): number {
  return rig.workspace.connections.findLast((c) => !c.draining)?.id ?? 0;
}

async function started(options?: Parameters<typeof sessionRig>[0]) {
  const rig = await sessionRig(options);
  rig.session.start();
  await rig.keeper.connected();
  return rig;
}

t.test("frames that are none", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const { faults } = rig.workspace;
  for (const frame of [
    "null",
    "[]",
    "7",
    '"x"',
    "",
    "{",
    "{}",
    '{"type":"slash_commands"}',
    Buffer.from([1, 2, 3]),
  ]) {
    faults.send(frame);
  }
  await rig.keeper.alarm("malformed_frame");
  t.equal(await works(rig), "acked", "null and other non-envelopes");
  faults.send('{"envelope_id":"e1","type":"events_api","payload":{"type":"event_callback"}}');
  await rig.keeper.alarm("unknown_envelope");
  t.equal(await works(rig), "acked", "an event without event");
  faults.appRateLimited();
  await rig.keeper.alarm("rate_limited");
  t.equal(await works(rig), "acked", "app_rate_limited");
  faults.unknownType();
  faults.invalidEnvelope();
  faults.garbage();
  t.equal(await works(rig), "acked", "unknown types");
  faults.oversizedFrame(2 * 1024 * 1024);
  await rig.keeper.alarm("oversized_frame");
  t.equal(await works(rig), "acked", "a frame of 2 MiB");
});

t.test("a listener that throws", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const take = rig.keeper.take.bind(rig.keeper);
  let thrown = 0;
  rig.keeper.take = (message) => {
    if (message.type === "slack.request" && thrown++ === 0) throw new Error("a bug in a handler");
    take(message);
  };
  const first = await rig.workspace.command("alice", "ops", "/ops one").ack;
  t.equal(thrown, 1);
  t.equal(first.status, "acked", "told to try again");
  t.match(first, { payload: { text: /Not accepted/ } });
  t.equal(await works(rig), "acked");
});

t.test("disconnect of every reason, with and without the socket being closed", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const { faults } = rig.workspace;
  for (const reason of ["warning", "refresh_requested", "made_up"]) {
    for (const close of [true, false]) {
      const before = new Set(rig.workspace.connections.map((c) => c.id));
      faults.disconnect(reason, { close, conn: live(rig) });
      await rig.workspace.waitFor(() => rig.workspace.connections.some((c) => !before.has(c.id)));
      t.equal(await works(rig), "acked", `${reason}, ${close ? "closed" : "left open"}`);
    }
  }
});

t.test("the replacement is open before the old connection is gone", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const [old] = rig.workspace.connections;
  let least = 9;
  const timer = setInterval(() => {
    least = Math.min(least, rig.workspace.connections.length);
  }, 1);
  rig.workspace.faults.disconnect("warning", { conn: old!.id, close: false });
  await rig.workspace.waitFor(() => rig.workspace.connections.length === 3);
  await rig.workspace.waitFor(() => rig.workspace.connections.every((c) => c.id !== old!.id));
  clearInterval(timer);
  t.equal(least, 2, "never fewer than two");
  t.same(rig.keeper.of("slack.alarm"), [], "our own draining connection is no alarm");
});

t.test("link_disabled: an alarm in words, slower attempts, and back when it is turned on", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  for (const c of rig.workspace.connections) rig.workspace.faults.disconnect("link_disabled", { conn: c.id });
  const alarm = await rig.keeper.alarm("auth_failed");
  t.match(alarm.detail, /Socket Mode is turned off/);
  const state = await rig.keeper.connected(0);
  t.match(state.error, /link_disabled/);
  const opens = rig.workspace.calls.filter((c) => c.method === "apps.connections.open").length;
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(rig.workspace.calls.filter((c) => c.method === "apps.connections.open").length, opens, "no storm");
  t.equal(await works(rig), "acked", "and it comes back");
  t.equal(rig.keeper.of("slack.state").at(-1)?.error, null);
});

t.test("too_many_websockets", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  rig.workspace.faults.disconnect("too_many_websockets");
  const alarm = await rig.keeper.alarm("too_many_connections");
  t.match(alarm.detail, /too_many_websockets/);
  t.equal(await works(rig), "acked");
});

t.test("a TCP reset, a mute server", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const killed = rig.workspace.connections[0]!.id;
  rig.workspace.faults.kill(killed);
  await rig.workspace.waitFor(() => rig.workspace.connections.every((c) => c.id !== killed));
  t.equal(await works(rig), "acked", "after a reset");
  const before = rig.workspace.connections.map((c) => c.id);
  rig.workspace.faults.mute(before[0]);
  await rig.workspace.waitFor(() => rig.workspace.connections.some((c) => !before.includes(c.id)), 10_000);
  t.equal(await works(rig), "acked", "after pings stay unanswered");
});

/** Someone else with the same app token: a bare WebSocket with a ticket of its own. */
async function thief(rig: Rig): Promise<WebSocket> {
  const answer = await fetch(`${rig.workspace.apiUrl}apps.connections.open`, {
    method: "POST",
    headers: { authorization: `Bearer ${rig.workspace.appToken}` },
  });
  const socket = new WebSocket(((await answer.json()) as { url: string }).url);
  await rig.workspace.waitFor(() => rig.workspace.connections.length === 3);
  return socket;
}

t.test("a connection that is not ours raises an alarm; our own do not", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  t.same(rig.keeper.of("slack.alarm"), [], "two of ours are two");
  const other = await thief(rig);
  t.teardown(() => other.close());
  rig.workspace.faults.disconnect("refresh_requested", { conn: rig.workspace.connections[0]!.id });
  const alarm = await rig.keeper.alarm("too_many_connections");
  t.match(alarm.detail, /counts 4 connections.* 3 are ours/);
});

t.test("a surplus that is gone when counted again is no alarm", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const other = await thief(rig);
  const before = rig.workspace.calls.filter((c) => c.method === "apps.connections.open").length;
  const opens = () => rig.workspace.calls.filter((c) => c.method === "apps.connections.open").length - before;
  rig.workspace.faults.disconnect("refresh_requested", { conn: rig.workspace.connections[0]!.id });
  await rig.workspace.waitFor(() => rig.workspace.connections.length === 4);
  other.close();
  await rig.workspace.waitFor(() => opens() === 2);
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.same(rig.keeper.of("slack.alarm"), []);
});

t.test("no envelope is lost over 300 commands with disconnects in between", async (t) => {
  const rig = await started({ ackTimeoutMs: 1500, limits: { pool: { ...QUICK.pool, shortMs: 5 } } });
  t.teardown(rig.stop);
  const { faults } = rig.workspace;
  const sent: Delivery[] = [];
  for (let i = 0; i < 300; i++) {
    // One fault every 15 commands, while others are on their way; Slack, too, spares the second connection.
    if (i % 15 === 5) [refresh, kill, storm, twice][Math.floor(i / 15) % 4]?.();
    sent.push(rig.workspace.command(i % 2 ? "alice" : "bob", "ops", `/ops run ${i}`));
    await new Promise((resolve) => setTimeout(resolve, i % 3 === 0 ? 8 : 0));
  }
  function refresh() {
    faults.disconnect("refresh_requested", { afterMs: 5, conn: live(rig) });
  }
  function kill() {
    faults.kill(live(rig));
  }
  function storm() {
    faults.refreshDuringNext();
  }
  function twice() {
    faults.duplicateNext();
  }
  const statuses = await Promise.all(sent.map(({ ack }) => ack));
  t.same(
    statuses.filter((s) => s.status !== "acked"),
    [],
    "every command was acked",
  );
  const { keeper } = rig;
  t.equal(new Set(keeper.of("slack.request").map((r) => r.text)).size, 300, "the keeper has each");
  t.ok(sent.filter(({ attempts }) => attempts.length > 1).length > 0, "some came twice");
  t.equal(keeper.of("slack.request").length, 300, "and are one question");
  t.equal(keeper.of("slack.acked").length, keeper.of("slack.request").length, "whose end it knows");
});
