import t from "tap";
import { canonicalJson, lengthPrefixed } from "../../src/core/canonical.ts";
import { type RunBinding, runDigest, shortDigest } from "../../src/core/digest.ts";
import { canMove, checkMove, isFinal, newRunId, RUN_STATES, type RunState } from "../../src/core/run.ts";

t.test("every move between states, allowed or not", async (t) => {
  const allowed = new Set(
    `requested>denied requested>waiting requested>queued requested>canceled
     waiting>denied waiting>expired waiting>queued waiting>canceled
     queued>denied queued>running queued>failed queued>canceled queued>lost
     running>succeeded running>failed running>timed_out running>canceled running>lost`.split(/\s+/),
  );
  for (const from of RUN_STATES) {
    for (const to of RUN_STATES) {
      const move = `${from}>${to}`;
      t.equal(canMove(from, to), allowed.has(move), move);
      if (!allowed.has(move)) t.throws(() => checkMove(from, to), { code: "conflict" }, move);
    }
  }
  t.throws(() => checkMove("succeeded", "running"), { code: "conflict", detail: /it is over/ });
});

t.test("every state leads to an end, and no end leads on", async (t) => {
  const ends = RUN_STATES.filter(isFinal);
  t.same(ends, ["denied", "expired", "succeeded", "failed", "timed_out", "canceled", "lost"]);
  const reaches = (state: RunState, seen: RunState[] = []): boolean =>
    isFinal(state) ||
    RUN_STATES.some((to) => canMove(state, to) && !seen.includes(to) && reaches(to, [...seen, state]));
  for (const state of RUN_STATES) t.ok(reaches(state), state);
});

t.test("run ids sort by time and do not repeat", async (t) => {
  t.equal(newRunId(0, new Uint8Array(6)), "r-0000000000000000");
  t.equal(newRunId(2 ** 48 - 1, new Uint8Array(6).fill(255)), "r-7zzzzzzzzzzzzzzz");
  const times = [0, 1, 31, 32, 1023, 1024, 1.7e12, 1.7e12 + 1, 2 ** 48 - 1];
  const ids = times.map((time) => newRunId(time));
  t.same(ids.toSorted(), ids);
  for (const id of ids) t.match(id, /^r-[0-9a-hjkmnp-tv-z]{16}$/);
  t.equal(new Set(Array.from({ length: 2000 }, () => newRunId(5))).size, 2000);
  t.throws(() => newRunId(-1), { code: "internal" });
  t.throws(() => newRunId(0, new Uint8Array(2)), { code: "internal" });
});

const BINDING: RunBinding = {
  opDigest: `sha256:${"a".repeat(64)}`,
  op: "web/restart",
  args: { env: "prod", count: 1 },
  secrets: [
    { name: "A", version: 1 },
    { name: "B", version: 2 },
  ],
  requester: "alice",
  channel: "C0123",
  expiresAt: 1000,
};

t.test("the digest binds every field, and only their meaning", async (t) => {
  const changes: Partial<RunBinding>[] = [
    {},
    { opDigest: `sha256:${"b".repeat(64)}` },
    { op: "web/restart2" },
    { args: { env: "prod" } },
    { args: { env: "prod", count: "1" } },
    { args: { env: "prod ", count: 1 } },
    { args: { count: 1, env: "prod", x: true } },
    { secrets: [] },
    { secrets: [{ name: "A", version: 1 }] },
    {
      secrets: [
        { name: "A", version: 2 },
        { name: "B", version: 1 },
      ],
    },
    {
      secrets: [
        { name: "A", version: "1" },
        { name: "B", version: 2 },
      ],
    },
    { requester: "bob" },
    { requester: "" },
    { channel: null },
    { channel: "null" },
    { channel: "C0124" },
    { expiresAt: null },
    { expiresAt: 1001 },
    { requester: "aliceC", channel: "0123" },
  ];
  const digests = changes.map((change) => runDigest({ ...BINDING, ...change }));
  t.equal(new Set(digests).size, digests.length);
  t.equal(
    runDigest({ ...BINDING, args: { count: 1, env: "prod" }, secrets: BINDING.secrets.toReversed() }),
    digests[0],
  );
  t.equal(digests[0], "sha256:a92888e0118607220c9d00832f78a77568f1a2399fe76409b07e0e404004356f");
  t.match(shortDigest(digests[0] ?? ""), /^([0-9a-f]{3} ){3}[0-9a-f]{3}$/);
});

t.test("what can't be bound", async (t) => {
  const bad: Partial<Record<keyof RunBinding, unknown>>[] = [
    { opDigest: "" },
    { opDigest: "a".repeat(64) },
    { expiresAt: 1.5 },
    { expiresAt: Number.NaN },
    {
      secrets: [
        { name: "A", version: 1 },
        { name: "A", version: 2 },
      ],
    },
    { args: { x: undefined } },
    { args: { x: Number.NaN } },
    { args: { x: "\ud800" } },
  ];
  for (const part of bad)
    t.throws(
      () => runDigest({ ...BINDING, ...part } as RunBinding),
      { code: "internal" },
      JSON.stringify(part),
    );
});

t.test("canonical JSON: the examples of RFC 8785, and what has no canonical form", async (t) => {
  // Section 3.2.3: sorting by UTF-16 code units; 3.2.2.3: numbers.
  const sorted = { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7 };
  t.equal(canonicalJson(sorted), '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}');
  t.equal(
    canonicalJson([333333333.3333333, 1e30, 4.5, 2e-3, 1e-27, -0]),
    "[333333333.3333333,1e+30,4.5,0.002,1e-27,0]",
  );
  t.equal(
    canonicalJson({ b: [true, null, '\u20ac$\u000f\nA\'B"\\\\"/'], a: {} }),
    '{"a":{},"b":[true,null,"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"]}',
  );
  const loop: unknown[] = [];
  loop.push(loop);
  for (const value of [
    undefined,
    Number.NaN,
    1n,
    () => 1,
    Symbol("x"),
    new Date(0),
    new Map(),
    "\udc00",
    { a: undefined },
    loop,
  ]) {
    t.throws(() => canonicalJson(value), { code: "internal" });
  }
  t.equal(
    lengthPrefixed(["ab", "", new Uint8Array([1])]).toString("hex"),
    "00000002616200000000" + "0000000101",
  );
});
