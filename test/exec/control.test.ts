import t from "tap";
import { ControlReader, Throttle } from "../../src/exec/control.ts";

const read = (text: string, size = 7) => {
  const reader = new ControlReader((text) => text);
  const bytes = Buffer.from(text);
  const out = [];
  for (let i = 0; i < bytes.length; i += size) out.push(...reader.push(bytes.subarray(i, i + size)));
  return out;
};

t.test("progress lines, in any chunks", async (t) => {
  for (const size of [1, 7, 1000])
    t.strictSame(
      read('{"progress":"eïns","percent":10}\n\n{"progress":"zwei"}\n{"progress":"no newline yet"}', size),
      [
        { kind: "progress", text: "eïns", percent: 10 },
        { kind: "progress", text: "zwei", percent: null },
      ],
    );
});

t.test("everything else is refused and skipped", async (t) => {
  const bad = [
    "not json",
    "[1]",
    '"x"',
    "{}",
    '{"progress":1}',
    '{"progress":"x","percent":101}',
    '{"progress":"x","percent":"1"}',
    '{"progress":"x","extra":1}',
    '{"ask":"really?"}',
    '{"file":"/tmp/x"}',
    `{"progress":"${"x".repeat(5000)}"}`,
  ];
  for (const line of bad) {
    const out = read(`${line}\n{"progress":"ok"}\n`);
    t.equal(out.length, 2, line.slice(0, 40));
    t.equal(out[0]?.kind, "refused");
    t.strictSame(out[1], { kind: "progress", text: "ok", percent: null });
  }
  t.match(read('{"ask":"x"}\n')[0], { why: /not supported yet/ });
});

t.test("an endless line is not held", async (t) => {
  const reader = new ControlReader((text) => text);
  let refused = 0;
  for (let i = 0; i < 1000; i++) refused += reader.push(Buffer.alloc(65536, 120)).length;
  t.equal(refused, 1);
});

t.test("throttle: the first at once, the last always", async (t) => {
  const seen: number[] = [];
  const throttle = new Throttle<number>(20, (n) => seen.push(n));
  for (let i = 0; i < 100; i++) throttle.push(i);
  t.strictSame(seen, [0]);
  await new Promise((r) => setTimeout(r, 60));
  t.strictSame(seen, [0, 99]);
  throttle.push(1);
  throttle.push(2);
  throttle.end();
  t.strictSame(seen.at(-1), 2);
});
