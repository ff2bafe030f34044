import { request } from "node:http";
import { ErrorCode, type WebAPIHTTPError, type WebAPIPlatformError } from "@slack/web-api";
import t from "tap";
import { acme, webClient } from "./client.ts";
import { differences, sample } from "./shape.ts";

/** The error that Slack's answer carries, as the real client reports it. */
async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    return (error as WebAPIPlatformError).data?.error ?? String(error);
  }
}

const section = (text: string) => ({ type: "section", text: { type: "mrkdwn", text } });
const button = { type: "button", action_id: "a", text: { type: "plain_text", text: "Go" } };

t.test("auth.test, users.info, conversations.info answer with Slack's fields", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const web = webClient(ws);
  const without = ["response_metadata"];
  t.same(differences(sample("50-auth.test.response"), await web.auth.test(), without), []);
  const { member, external_slack_connect: external } = sample("51-users.info.variants");
  t.same(
    differences(member, await web.users.info({ user: "U0ALICE001" }), [...without, "email", "display_name"]),
    [],
  );
  const mallory = ws.addPerson({ name: "mallory", kind: "foreign" });
  const foreign = (await web.users.info({ user: mallory.id })) as unknown as {
    user: Record<string, unknown>;
  };
  t.match(foreign.user, { team_id: "T0OTHER001", is_stranger: false });
  t.match(external, { user: { is_stranger: false } });
  for (const [kind, flags] of [
    ["deleted", { deleted: true }],
    ["guest", { is_restricted: true, is_ultra_restricted: false }],
    ["single_channel_guest", { is_restricted: true, is_ultra_restricted: true }],
    ["bot", { is_bot: true }],
    ["workflow_bot", { is_workflow_bot: true }],
    ["stranger", { is_stranger: true }],
  ] as const) {
    const person = ws.addPerson({ name: `x${kind}`, kind });
    t.match((await web.users.info({ user: person.id })).user, flags, kind);
  }
  ws.person("bob").deleted = true;
  t.match(await web.users.info({ user: "U0BOB00001" }), { user: { deleted: true } }, "changed while it runs");
  t.equal(await refusal(web.users.info({ user: "U0NOBODY01" })), "user_not_found");
  const { public: open, ext_shared: ext } = sample("52-conversations.info.variants") as Record<
    string,
    object
  >;
  t.same(differences(open, await web.conversations.info({ channel: "C0OPS00001" }), without), []);
  const shared = ws.addChannel({
    name: "shared",
    kind: "private",
    shared: true,
    members: ["alice", mallory],
  });
  const info = await web.conversations.info({ channel: shared.id });
  t.match(info.channel, { is_ext_shared: true, connected_team_ids: ["T0OTHER001"] });
  const here = ["is_channel", "is_group", "is_im", "is_mpim", "is_archived", "is_pending_ext_shared"];
  t.same(differences(ext, info, [...without, ...here]), []);
  t.equal(await refusal(web.conversations.info({ channel: ws.im("alice").id })), "missing_scope");
});

t.test("tokens: none, wrong, of the other kind, without the scope", async (t) => {
  const ws = await acme({ scopes: ["chat:write"] });
  t.teardown(() => ws.close());
  t.equal(await refusal(webClient(ws, "").auth.test()), "not_authed");
  t.equal(await refusal(webClient(ws, "xoxb-1-2-3").auth.test()), "invalid_auth");
  t.equal(await refusal(webClient(ws).apps.connections.open({})), "not_allowed_token_type");
  t.equal(
    await refusal(webClient(ws, ws.appToken).chat.postMessage({ channel: "C0OPS00001", text: "x" })),
    "not_allowed_token_type",
  );
  t.equal(await refusal(webClient(ws).users.info({ user: "U0ALICE001" })), "missing_scope");
  t.equal(await refusal(webClient(ws).apiCall("chat.invented")), "unknown_method");
  const opened = await webClient(ws, ws.appToken).apps.connections.open({});
  t.match(opened.url, /^ws:\/\/127\.0\.0\.1:\d+\/link\/\?ticket=/);
});

t.test("chat: post, thread, metadata, update, ephemeral, delete", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const web = webClient(ws);
  const parent = await web.chat.postMessage({ channel: "C0OPS00001", text: "running" });
  const answer = await web.chat.postMessage({
    channel: "C0OPS00001",
    thread_ts: parent.ts!,
    text: "out",
    metadata: { event_type: "run", event_payload: { nonce: "n1" } },
  });
  const { response } = sample("53-chat.postMessage.thread");
  t.same(differences(response, answer, ["response_metadata"]), []);
  const [first, second] = ws.messages("ops");
  t.equal(second!.threadTs, first!.ts);
  t.same(second!.metadata, { event_type: "run", event_payload: { nonce: "n1" } });
  t.same(ws.calls.at(-1)!.nonce, { nonce: "n1" });
  await web.chat.update({ channel: "C0OPS00001", ts: parent.ts!, text: "done", blocks: [section("done")] });
  t.equal(first!.text, "done");
  t.equal(first!.edits[0]!.text, "running");
  await web.chat.update({ channel: "C0OPS00001", ts: parent.ts!, text: "done!" });
  t.equal(first!.blocks.length, 1, "blocks that are not sent stay");
  const note = await web.chat.postEphemeral({ channel: "C0OPS00001", user: "U0BOB00001", text: "psst" });
  t.equal(
    await refusal(web.chat.update({ channel: "C0OPS00001", ts: note.message_ts!, text: "x" })),
    "message_not_found",
  );
  t.equal(ws.visible("bob", "ops").length, 3);
  t.equal(ws.visible("alice", "ops").length, 2);
  await web.chat.delete({ channel: "C0OPS00001", ts: answer.ts! });
  t.equal(ws.visible("alice", "ops").length, 1);
  const { message } = ws.message("alice", "ops", "mine");
  t.equal(
    await refusal(web.chat.update({ channel: "C0OPS00001", ts: message.ts, text: "x" })),
    "cant_update_message",
  );
  const dm = await web.chat.postMessage({ channel: "U0ALICE001", text: "hello" });
  t.equal(dm.channel, ws.im("alice").id, "a user id means that person's direct message");
});

t.test("chat: what Slack refuses", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const web = webClient(ws);
  ws.addChannel({ name: "away", botIsMember: false });
  ws.addChannel({ name: "hidden", kind: "private", botIsMember: false });
  ws.addChannel({ name: "old", archived: true });
  const post = (channel: string, more: object) =>
    refusal(web.apiCall("chat.postMessage", { channel, ...more }));
  const ops = "C0OPS00001";
  t.equal(await post("C0NOWHERE1", { text: "x" }), "channel_not_found");
  t.equal(await post(ws.channel("away").id, { text: "x" }), "not_in_channel");
  t.equal(await post(ws.channel("hidden").id, { text: "x" }), "channel_not_found");
  t.equal(await post(ws.channel("old").id, { text: "x" }), "is_archived");
  t.equal(await post(ops, {}), "no_text");
  t.equal(await post(ops, { text: "x".repeat(40_000) }), "ok");
  t.equal(await post(ops, { text: "x".repeat(40_001) }), "msg_too_long");
  t.equal(await post(ops, { blocks: [section("x".repeat(3000))] }), "ok");
  t.equal(await post(ops, { blocks: [section("x".repeat(3001))] }), "invalid_blocks");
  t.equal(await post(ops, { blocks: Array.from({ length: 50 }, () => ({ type: "divider" })) }), "ok");
  t.equal(
    await post(ops, { blocks: Array.from({ length: 51 }, () => ({ type: "divider" })) }),
    "invalid_blocks",
  );
  t.equal(await post(ops, { blocks: [{ type: "carousel_of_fun" }] }), "invalid_blocks");
  t.equal(await post(ops, { blocks: [{ type: "constructor" }] }), "invalid_blocks");
  t.equal(await post(ops, { blocks: "{" }), "invalid_blocks_format");
  t.equal(await post(ops, { blocks: [section("")] }), "invalid_blocks");
  t.equal(
    await post(ops, { blocks: [{ type: "header", text: { type: "mrkdwn", text: "x" } }] }),
    "invalid_blocks",
  );
  t.equal(await post(ops, { blocks: [{ type: "actions", elements: [button, button] }] }), "invalid_blocks");
  t.equal(
    await post(ops, { blocks: [{ type: "actions", elements: [{ ...button, style: "green" }] }] }),
    "invalid_blocks",
  );
  t.equal(
    await post(ops, { blocks: [{ type: "actions", elements: [{ ...button, value: "x".repeat(2001) }] }] }),
    "invalid_blocks",
  );
  t.equal(
    await post(ops, { blocks: Array.from({ length: 5 }, () => section("x".repeat(2900))) }),
    "msg_blocks_too_long",
  );
  t.equal(await post(ops, { text: "x", metadata: { event_type: "a" } }), "invalid_metadata_schema");
  t.equal(await post(ops, { text: "x", thread_ts: "yesterday" }), "invalid_thread_ts");
  const call = ws.calls.findLast((c) => c.error === "invalid_blocks")!;
  t.equal(call.effect, false);
});

t.test("a body over the bound is refused, malformed JSON too", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const send = (type: string, body: string) =>
    fetch(`${ws.apiUrl}chat.postMessage`, {
      method: "POST",
      headers: { "content-type": type, authorization: `Bearer ${ws.botToken}` },
      body,
    });
  const json = await send("application/json", '{"channel":"C0OPS00001","text":"by JSON"}');
  t.match(await json.json(), { ok: true });
  t.match(await (await send("application/json", "{")).json(), { ok: false, error: "invalid_json" });
  t.match(await (await send("application/json", "[1]")).json(), { ok: false, error: "json_not_object" });
  const status = await new Promise<number | string>((resolve) => {
    const headers = {
      "content-type": "application/x-www-form-urlencoded",
      authorization: `Bearer ${ws.botToken}`,
    };
    const r = request(`${ws.apiUrl}chat.postMessage`, { method: "POST", headers }, (answer) =>
      resolve(answer.statusCode ?? 0),
    );
    r.on("error", (error) => resolve(error.message));
    r.end(`text=${"x".repeat(2 * 1024 * 1024)}`);
  });
  t.equal(status, 413);
  t.equal(ws.messages("ops").length, 1);
});

t.test("views: one use of a trigger within three seconds, hash, home", async (t) => {
  let now = Date.now();
  const ws = await acme({ now: () => now });
  t.teardown(() => ws.close());
  const web = webClient(ws);
  const text = (s: string) => ({ type: "plain_text" as const, text: s });
  const view = { type: "modal" as const, title: text("Run"), blocks: [section("hi")] };
  const trigger = ws.command("alice", "ops", "/ops run").triggerId!;
  const opened = await web.views.open({ trigger_id: trigger, view });
  t.equal(ws.modal("alice")!.id, opened.view!.id);
  t.equal(ws.modal("bob"), null);
  t.equal(await refusal(web.views.open({ trigger_id: trigger, view })), "exchanged_trigger_id");
  const late = ws.command("alice", "ops", "/ops run").triggerId!;
  now += 3001;
  t.equal(await refusal(web.views.open({ trigger_id: late, view })), "expired_trigger_id");
  t.equal(await refusal(web.views.open({ trigger_id: "1.2.3", view })), "invalid_trigger_id");
  const again = ws.command("alice", "ops", "/ops run").triggerId!;
  const long = { ...view, title: text("x".repeat(25)) };
  t.equal(await refusal(web.views.open({ trigger_id: again, view: long })), "invalid_arguments");
  const stale = web.views.update({ view_id: opened.view!.id!, hash: "1.x", view });
  t.equal(await refusal(stale), "hash_conflict");
  await web.views.update({ view_id: opened.view!.id!, view: { ...view, title: text("Two") } });
  t.match(ws.modal("alice")!.body, { title: { text: "Two" } });
  await web.views.publish({ user_id: "U0BOB00001", view: { type: "home", blocks: [section("home")] } });
  t.match(ws.home("bob")!.body.blocks, [{ type: "section" }]);
});

t.test("files: announced, uploaded as the client does and as raw bytes, completed in a thread", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const web = webClient(ws);
  const parent = await web.chat.postMessage({ channel: "C0OPS00001", text: "running" });
  await web.filesUploadV2({
    channel_id: "C0OPS00001",
    thread_ts: parent.ts!,
    filename: "run.log",
    file: Buffer.from("by the client"),
  });
  t.equal(ws.files[0]!.bytes!.toString(), "by the client");
  t.match(ws.messages("ops").at(-1)!, { threadTs: parent.ts, files: [{ name: "run.log" }] });
  t.equal(ws.calls.find((c) => c.method === "upload")!.token, "bot", "the library sends its token along");
  const { upload_url: url, file_id: id } = await web.files.getUploadURLExternal({ filename: "b", length: 3 });
  t.equal((await fetch(url!, { method: "POST", body: "four" })).status, 400);
  t.equal(await (await fetch(url!, { method: "POST", body: "raw" })).text(), "OK - 3");
  t.equal((await fetch(url!, { method: "POST", body: "raw" })).status, 404, "once");
  await web.files.completeUploadExternal({ files: [{ id: id!, title: "b" }], channel_id: "C0OPS00001" });
  t.equal(ws.files[1]!.bytes!.toString(), "raw");
});

t.test("response_url: five uses, thirty minutes, replace and delete", async (t) => {
  let now = Date.now();
  const ws = await acme({ now: () => now });
  t.teardown(() => ws.close());
  const post = async (url: string, body: object) => {
    const answer = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return `${answer.status} ${await answer.text()}`;
  };
  const command = ws.command("alice", "ops", "/ops list");
  const url = command.responseUrl!;
  t.equal(await post(url, { text: "one" }), "200 ok");
  t.equal(command.responses[0]!.ephemeralFor, "U0ALICE001");
  t.equal(await post(url, { text: "two", response_type: "in_channel" }), "200 ok");
  t.equal(command.responses[1]!.ephemeralFor, null);
  t.equal(await post(url, { text: "uno", replace_original: true }), "200 ok");
  t.equal(command.responses[0]!.text, "uno");
  t.equal(await post(url, { delete_original: true }), "200 ok");
  t.equal(command.responses[0]!.deleted, true);
  t.equal(await post(url, { text: "five" }), "200 ok");
  t.match(await post(url, { text: "six" }), /^404 .*used_url/);
  const later = ws.command("alice", "ops", "/ops list").responseUrl!;
  now += 30 * 60 * 1000 + 1;
  t.match(await post(later, { text: "late" }), /^404 .*expired_url/);
});

t.test("Web API faults: each on demand, then normal again", async (t) => {
  const ws = await acme();
  t.teardown(() => ws.close());
  const web = webClient(ws);
  const post = () => web.chat.postMessage({ channel: "C0OPS00001", text: "x" });
  const failed = async (call: Promise<unknown>) => {
    const error = await call.then(
      () => null,
      (e: Error & { code?: string }) => e,
    );
    t.not(error, null, "the call fails");
    return error as (Error & { code?: string; retryAfter?: number }) | null;
  };
  ws.faults.api("chat.postMessage", { status: 429, retryAfter: 7 });
  t.match(await failed(post()), { code: ErrorCode.RateLimitedError, retryAfter: 7 });
  ws.faults.api("chat.postMessage", { status: 503 }, 2);
  t.equal(((await failed(post())) as WebAPIHTTPError).statusCode, 503);
  t.equal(((await failed(post())) as WebAPIHTTPError).statusCode, 503);
  ws.faults.api("chat.postMessage", { error: "token_revoked" });
  t.equal(await refusal(post()), "token_revoked");
  ws.faults.api("chat.postMessage", { garbage: true });
  t.match(await refusal(post()), "<html>");
  ws.faults.api("*", { resetBefore: true });
  t.match(await failed(post()), { code: ErrorCode.RequestError });
  t.equal(ws.messages("ops").length, 0, "none of these had an effect");
  ws.faults.api("chat.postMessage", { lostAfterEffect: true });
  t.match(await failed(post()), { code: ErrorCode.RequestError });
  t.equal(ws.messages("ops").length, 1, "the answer is lost, the message is there");
  t.match(ws.calls.at(-1), { effect: true, status: 0 });
  ws.faults.api("chat.postMessage", { delayMs: 100 });
  await post();
  t.ok(ws.calls.at(-1)!.ms >= 95);
  ws.faults.api("chat.postMessage", { hang: true });
  const hung = fetch(`${ws.apiUrl}chat.postMessage`, { method: "POST", signal: AbortSignal.timeout(150) });
  t.equal((await failed(hung))!.name, "TimeoutError");
  await post();
  t.equal(ws.messages("ops").length, 3);
});

t.test("a rate per channel, where asked for", async (t) => {
  const ws = await acme({ postsPerSecond: 1 });
  t.teardown(() => ws.close());
  ws.addChannel({ name: "dev" });
  const web = webClient(ws);
  await web.chat.postMessage({ channel: "C0OPS00001", text: "1" });
  await t.rejects(web.chat.postMessage({ channel: "C0OPS00001", text: "2" }), {
    code: ErrorCode.RateLimitedError,
  });
  await web.chat.postMessage({ channel: ws.channel("dev").id, text: "other channel" });
  t.equal(ws.messages().length, 2);
});
