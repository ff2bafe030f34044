import { readFileSync } from "node:fs";
import t from "tap";
import { MAX_FRAME, readFrame } from "../../src/slack/frame.ts";

t.test("frames", async (t) => {
  const kind = (frame: unknown) => readFrame(typeof frame === "string" ? frame : JSON.stringify(frame)).kind;
  t.equal(kind("null"), "malformed");
  t.equal(kind("[]"), "malformed");
  t.equal(kind("{"), "malformed");
  t.equal(kind({}), "malformed");
  t.equal(kind({ type: "slash_commands" }), "malformed", "no envelope_id");
  t.equal(
    kind({ type: "slash_commands", envelope_id: "x\n" }),
    "malformed",
    "an id that could not be echoed",
  );
  t.equal(readFrame(Buffer.from("{}")).kind, "malformed", "binary");
  t.equal(kind(`"${"x".repeat(MAX_FRAME)}"`), "oversized");
  t.equal(kind("[".repeat(500_000)), "malformed", "nesting costs no stack");
  t.same(readFrame('{"type":"hello","num_connections":3}'), { kind: "hello", connections: 3 });
  t.same(readFrame('{"type":"hello","num_connections":"x"}'), { kind: "hello", connections: 0 });
  for (const reason of ["link_disabled", "refresh_requested", "too_many_websockets", "warning"]) {
    const frame = readFileSync(new URL(`payloads/02-disconnect.${reason}.json`, import.meta.url), "utf8");
    t.match(readFrame(frame), { kind: "disconnect", reason });
  }
});

t.test("an envelope's own fields", async (t) => {
  const file = new URL("../workspace/payloads/10-slash_commands.public_channel.json", import.meta.url);
  const sample = JSON.parse(readFileSync(file, "utf8"));
  const read = (over: object) => readFrame(JSON.stringify({ ...sample, ...over }));
  for (const envelope_id of [undefined, "", "a b", "x".repeat(121), 7])
    t.match(read({ envelope_id }), { why: /envelope_id/ });
  for (const type of [undefined, "", "x".repeat(101), 7]) t.match(read({ type }), { why: /type/ });
  for (const [retry_attempt, retry] of [
    [2, 2],
    [-1, 0],
    [1.5, 0],
    ["2", 0],
    [1001, 0],
  ])
    t.match(read({ retry_attempt }), { envelope: { retry } });
  t.match(read({ accepts_response_payload: 1 }), { envelope: { acceptsPayload: false } });
  t.match(read({ accepts_response_payload: true }), { envelope: { acceptsPayload: true } });
});
