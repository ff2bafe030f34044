import t from "tap";
import { z } from "zod";
import { Message } from "../../src/wire/messages.ts";
import { quick } from "../../src/wire/quick.ts";

const request = {
  type: "slack.request",
  id: "a-1",
  dedupe: "envelope:1",
  trigger: null,
  surface: "slash",
  identity: { enterprise: null, team: "T1", user: "U1" },
  channel: { id: "C1", kind: "public" },
  thread: null,
  text: "run demo/hello",
  action: { id: "x", value: "y" },
  retry: 0,
  receivedAt: 1_800_000_000_000,
  standing: "member",
};
const finished = {
  type: "run.finished",
  run: "abcd",
  outcome: "exited",
  exit: 0,
  signal: null,
  detail: null,
  durationMs: 1.5,
  cpuMs: 0,
  userMs: 0,
  systemMs: 0,
  peakMemoryBytes: 1,
  processes: 1,
  limitedBy: "cgroup v2",
  outputBytes: 1,
  truncated: false,
  denied: [{ call: "mount", count: 1 }],
};
const messages: object[] = [
  request,
  { type: "slack.receipt", id: "a-1", accepted: true, duplicate: false, text: null },
  { type: "slack.acked", id: "a-1", accepted: false },
  { type: "slack.posted", nonce: "n", ok: true, channel: "C1", ts: "1.2", error: null },
  { type: "role.hello", version: "1", pid: 3, landlock: "abi=7" },
  finished,
];
/** What a value is replaced by: the edges of bounds, and other kinds of value. */
const ODD: unknown[] = [
  ...[null, true, -1, 0, 1.5, 256, 1e308, 2 ** 53, "", "x", "C1\n", "é", "x".repeat(128), "x".repeat(129)],
  ...["x".repeat(8000), "x".repeat(8001), [], [null], {}, { id: "x", value: "y", more: 1 }],
];

function schemaOf(message: { type?: unknown }): z.ZodType {
  const found = Message.options.find((option) => option.shape.type.value === message.type);
  if (found === undefined) throw new Error(`no schema for ${String(message.type)}`);
  return found;
}

/** The message with one value anywhere in it replaced, left out or added. */
function* mutations(value: unknown): Generator<unknown> {
  yield* ODD;
  if (value === null || typeof value !== "object") return;
  for (const key of Object.keys(value)) {
    for (const other of mutations((value as Record<string, unknown>)[key])) {
      yield Array.isArray(value) ? value.with(Number(key), other) : { ...value, [key]: other };
    }
    if (!Array.isArray(value)) {
      const { [key]: _, ...rest } = value as Record<string, unknown>;
      yield rest;
      yield { ...rest, other: 1 };
    }
  }
  if (Array.isArray(value)) yield [...value, ...Array(64).fill(value[0])];
  else yield* [{ ...value, more: null }, JSON.parse(`{"__proto__":1,${JSON.stringify(value).slice(1)}`)];
}

t.test("valid messages are taken without the schema", async (t) => {
  for (const message of messages)
    t.ok(quick(schemaOf(message))(message), JSON.stringify(message).slice(0, 40));
});

t.test("nothing is taken that the schema refuses or would change", async (t) => {
  let taken = 0;
  let refused = 0;
  for (const message of messages) {
    const schema = schemaOf(message);
    const test = quick(schema);
    for (const mutated of mutations(message)) {
      const judged = schema.safeParse(mutated);
      if (!test(mutated)) {
        refused++;
        if (judged.success) t.fail(`valid, but not taken: ${JSON.stringify(mutated).slice(0, 200)}`);
        continue;
      }
      taken++;
      if (!judged.success) t.fail(`taken, but invalid: ${JSON.stringify(mutated).slice(0, 200)}`);
      else if (JSON.stringify(judged.data) !== JSON.stringify(mutated)) {
        t.strictSame(judged.data, mutated, "as it stands");
      }
    }
  }
  t.ok(taken > 100 && refused > 300, `${taken} taken, ${refused} refused`);
});

t.test("what it does not know is left to the schema", async (t) => {
  const unknown: [z.ZodType, unknown][] = [
    [z.object({ a: z.string() }), { a: "x" }],
    [z.string().trim(), "x"],
    [z.string().refine(() => false), "x"],
    [z.strictObject({ a: z.boolean() }).refine(() => false), { a: true }],
    [z.boolean().refine(() => false), true],
    [z.string().regex(/x/g), "x"],
    [z.email(), "a@b.example"],
    [z.number().multipleOf(2), 3],
    [z.array(z.string()).refine(() => false), ["x"]],
    [z.string().default("x"), "x"],
    [z.union([z.string(), z.number()]), "x"],
    [z.record(z.string(), z.string()), {}],
    [z.unknown(), 1],
  ];
  for (const [schema, value] of unknown) t.notOk(quick(schema)(value));
});
