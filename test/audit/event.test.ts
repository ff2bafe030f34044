import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { CATALOGUE, type EventType, isEventType } from "../../src/audit/catalogue.ts";
import { type Actor, type AuditEvent, actorKey, makeEntry, parseEntry } from "../../src/audit/event.ts";
import { leafHash } from "../../src/audit/merkle.ts";
import { canonicalJson } from "../../src/core/canonical.ts";

const SRC = new URL("../../src/", import.meta.url).pathname;

const ADA: Actor = { kind: "user", id: "u-1", name: "Ada Lovelace" };
const NOW = new Date("2026-11-21T01:02:03.004Z");
const nonce = Buffer.alloc(16, 5);
const finished: AuditEvent = {
  type: "run.finished",
  outcome: "success",
  actor: ADA,
  run: "r-1",
  op: "web/restart",
  data: { state: "succeeded", exit: 0, signal: null, truncated: false },
};

t.test("canonical form: the samples of RFC 8785", async (t) => {
  const sample =
    '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}';
  t.equal(
    canonicalJson(JSON.parse(sample)),
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  );
  const sorting = { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\u{1f600}": 5, "\u0080": 6, "\u00f6": 7 };
  t.equal(
    canonicalJson(sorting),
    '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}',
    "keys sort by UTF-16 code units",
  );
  const numbers: [string, string][] = [
    ["0000000000000000", "0"],
    ["8000000000000000", "0"],
    ["0000000000000001", "5e-324"],
    ["7fefffffffffffff", "1.7976931348623157e+308"],
    ["4340000000000000", "9007199254740992"],
    ["444b1ae4d6e2ef50", "1e+21"],
    ["444b1ae4d6e2ef4f", "999999999999999900000"],
    ["3eb0c6f7a0b5ed8d", "0.000001"],
    ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
    ["41b3de4355555556", "333333333.3333334"],
  ];
  for (const [bits, text] of numbers)
    t.equal(canonicalJson(Buffer.from(bits, "hex").readDoubleBE()), text, bits);
  for (const bad of [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    "\ud800",
    undefined,
    () => 1,
    { a: undefined },
    1n,
  ])
    t.throws(() => canonicalJson(bad), { code: "internal" });
});

t.test("an entry's bytes, to the letter", async (t) => {
  const entry = makeEntry(finished, { now: NOW, nonce });
  t.equal(
    entry.bytes.toString(),
    '{"actor":{"id":"u-1","kind":"user"},"data":{"exit":0,"state":"succeeded","truncated":false},' +
      '"namespace":"web","nonce":"BQUFBQUFBQUFBQUFBQUFBQ==","op":"restart","outcome":"success","run":"r-1",' +
      '"severity":1,"time":"2026-11-21T01:02:03.004Z","type":"run.finished","v":1}',
  );
  t.same(entry.leaf, leafHash(entry.bytes));
  t.same(entry.row, {
    time: NOW.getTime(),
    type: "run.finished",
    outcome: "success",
    actor: "user:u-1",
    namespace: "web",
    op: "restart",
    run: "r-1",
  });
  t.match(parseEntry(entry.bytes), { v: 1, type: "run.finished", actor: { kind: "user", id: "u-1" } });
});

t.test("a user's name is not in the hashed bytes; equal events differ by their nonce", async (t) => {
  const { bytes } = makeEntry(finished);
  t.notOk(bytes.includes("Ada"));
  t.notSame(makeEntry(finished, { now: NOW }).bytes, makeEntry(finished, { now: NOW }).bytes);
});

t.test("actors", async (t) => {
  const actors: [Actor, string][] = [
    [ADA, "user:u-1"],
    [{ ...ADA, account: { uid: 0, loginUid: 1000 } }, "user:u-1"],
    [{ kind: "slack", enterprise: null, team: "T1", user: "U1" }, "slack:-/T1/U1"],
    [{ kind: "slack", enterprise: "E1", team: "T1", user: "U1" }, "slack:E1/T1/U1"],
    [{ kind: "host", uid: 1000, loginUid: null }, "host:1000"],
    [{ kind: "system" }, "system"],
  ];
  for (const [actor, key] of actors) {
    t.equal(actorKey(actor), key);
    const event: AuditEvent = { type: "log.heartbeat", outcome: "success", actor };
    t.equal(actorKey(parseEntry(makeEntry(event).bytes).actor), key);
  }
});

t.test(
  "what a user did on the host names the account; an entry of before that is read as it was",
  async (t) => {
    const account = { uid: 0, loginUid: 1000 };
    const { bytes } = makeEntry({ ...finished, actor: { ...ADA, account } });
    t.same(parseEntry(bytes).actor, { kind: "user", id: "u-1", ...account });
    const nobody = makeEntry({ ...finished, actor: { ...ADA, account: { uid: 7, loginUid: null } } });
    t.same(parseEntry(nobody.bytes).actor, { kind: "user", id: "u-1", uid: 7, loginUid: null });
    const before =
      '{"actor":{"id":"u-1","kind":"user"},"nonce":"BQUFBQUFBQUFBQUFBQUFBQ==","outcome":"success",' +
      '"severity":1,"time":"2026-11-21T01:02:03.004Z","type":"log.heartbeat","v":1}';
    t.same(parseEntry(Buffer.from(before)).actor, { kind: "user", id: "u-1" });
    const unknown = before.replace('{"id":"u-1"', '{"gid":1,"id":"u-1"');
    t.throws(() => parseEntry(Buffer.from(unknown)), { code: "log_damaged" });
  },
);

t.test("what the catalogue does not know is not logged", async (t) => {
  const broken = (event: unknown) => () => makeEntry(event as AuditEvent);
  t.throws(broken({ ...finished, type: "run.exploded" }), { code: "internal", detail: /run\.exploded/ });
  t.throws(broken({ ...finished, type: "toString" }), { code: "internal" });
  t.throws(broken({ ...finished, data: { password: "x" } }), {
    code: "internal",
    detail: /no field password/,
  });
  t.throws(broken({ ...finished, data: { constructor: "x" } }), { code: "internal" });
  t.throws(broken({ ...finished, data: { exit: "0" } }), {
    code: "internal",
    detail: /exit is not a number/,
  });
  t.throws(broken({ ...finished, data: { exit: Number.NaN } }), { code: "internal" });
});

t.test("long and ill-formed text is cut and mended, never refused", async (t) => {
  const entry = parseEntry(
    makeEntry({
      ...finished,
      reason: "r".repeat(5000),
      policy: "\ud800lone",
      data: { signal: "\u{1f600}".repeat(5000), state: "x" },
    }).bytes,
  );
  t.equal(entry.reason?.length, 1000);
  t.ok(entry.reason?.endsWith("\u2026"));
  t.equal(entry.policy, "\ufffdlone");
  t.ok(String(entry.data?.signal).length <= 2000);
  const nasty = "\u0001".repeat(4000);
  const worst = makeEntry({
    type: "run.finished",
    outcome: "unknown",
    actor: ADA,
    namespace: nasty,
    op: nasty,
    reason: nasty,
    policy: nasty,
    data: { state: nasty, signal: nasty, denied: nasty, code: nasty },
  });
  t.ok(worst.bytes.length < 32 * 1024, `${worst.bytes.length} bytes: shortened until it fits`);
  t.equal(parseEntry(worst.bytes).policy?.length, 500);
});

t.test("parsing refuses whatever is not exactly an entry", async (t) => {
  const text = makeEntry(finished, { now: NOW, nonce }).bytes.toString();
  for (const bad of [
    "",
    "{}",
    "null",
    ` ${text}`,
    text.replace('"v":1', '"v":2'),
    text.replace('"outcome":"success"', '"outcome":"great"'),
    text.replace('"exit":0', '"exit":0.0'),
    text.replace('"exit":0', '"exit":-0'),
    text.replace('"exit":0', '"exit":0,"exit":0'),
    text.replace('"u-1","kind":"user"', '"u-1","kind":"user","name":"Ada"'),
    text.replace("web", "\\u0077eb"),
    text.replace("01:02:03.004Z", "01:02:03Z"),
    text.replace("{", '{"a":1,'),
    "x".repeat(40_000),
  ])
    t.throws(() => parseEntry(Buffer.from(bad)), { code: "log_damaged" }, bad.slice(0, 60));
  t.throws(() => parseEntry(Buffer.concat([Buffer.from(text), Buffer.from([0xff])])), {
    code: "log_damaged",
  });
});

t.test("the catalogue itself", async (t) => {
  for (const [type, row] of Object.entries(CATALOGUE)) {
    t.match(type, /^[a-z]+\.[a-z_]+$/);
    t.ok(row.owasp === null || /^[a-z_]+$/.test(row.owasp), type);
    t.ok([1, 3, 4, 5].includes(row.severity), type);
    t.ok(row.when.length > 10, type);
    t.notOk(Object.keys(row.fields).some((field) => /name$|password|value|text/i.test(field)));
    const event = { type: type as EventType, outcome: "success", actor: { kind: "system" } } as AuditEvent;
    t.doesNotThrow(() => parseEntry(makeEntry(event).bytes), type);
  }
  t.notOk(isEventType("hasOwnProperty"));
});

t.test("every event of the catalogue is logged somewhere", async (t) => {
  // Only these rooms write to the log; elsewhere a message on the wire may have an event's name.
  const code = ["keeper", "store"]
    .flatMap((room) =>
      readdirSync(join(SRC, room), { recursive: true, encoding: "utf8" }).map((f) => join(SRC, room, f)),
    )
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(file, "utf8"))
    .join("\n");
  for (const type of Object.keys(CATALOGUE)) {
    // What a received message is compared with is not logged by that.
    const named = new RegExp(`(?<!=== )"${type.replaceAll(".", "\\.")}"`);
    t.match(code, named, type);
  }
});
