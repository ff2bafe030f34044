import { closeSync, writeSync } from "node:fs";
import { mock } from "node:test";
import t from "tap";
import { createRedactor } from "../../src/exec/redact.ts";
import { OutputBudget, OutputStream, wholeCharacters } from "../../src/exec/stream.ts";
import { harden } from "../../src/host/harden.ts";

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setImmediate(resolve));
}

function open(limit = 1 << 20) {
  const [read, write] = harden().pipe();
  const parts: Buffer[] = [];
  const budget = new OutputBudget(limit);
  let reads = 0;
  const sink = {
    write: (bytes: Buffer) => void parts.push(Buffer.from(bytes)),
    ready: () => {
      reads++;
      return null;
    },
  };
  const stream = new OutputStream(read, createRedactor(null), budget, sink);
  const end = async () => {
    closeSync(write);
    await stream.ended;
    return parts.map((p) => p.toString("utf8"));
  };
  return {
    stream,
    budget,
    parts,
    /** Until the stream has read so many times. */
    read: (count: number) => until(() => reads >= count),
    put: (bytes: string | Buffer) => writeSync(write, Buffer.from(bytes as string)),
    end,
  };
}

t.test("what comes within the delay goes out together", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.teardown(() => mock.timers.reset());
  const o = open();
  o.put("a");
  await o.read(1);
  o.put("b");
  await o.read(2);
  mock.timers.tick(49);
  t.strictSame(o.parts, []);
  mock.timers.tick(1);
  t.strictSame(o.parts.map(String), ["ab"]);
  o.put("c");
  t.strictSame(await o.end(), ["ab", "c"]);
});

t.test("half a character waits for its other half, but not for ever", async (t) => {
  const o = open();
  const euro = Buffer.from("€");
  o.put(Buffer.concat([Buffer.from("x"), euro.subarray(0, 2)]));
  await until(() => o.parts.length > 0);
  t.strictSame(o.parts.map(String), ["x"]);
  o.put(euro.subarray(2));
  await until(() => o.parts.length > 1);
  o.put(euro.subarray(0, 1));
  const all = await o.end();
  t.strictSame(all, ["x", "€", "\ufffd"]);
});

t.test("whole characters", async (t) => {
  const cases: [string, number][] = [
    ["", 0],
    ["61", 1],
    ["61c3", 1],
    ["c3a4", 2],
    ["e282", 0],
    ["61e2", 1],
    ["f09f98", 0],
    ["f09f9880", 4],
    ["6180", 2],
    ["80808080", 4],
    ["61ff", 2],
    ["61c0", 2],
  ];
  for (const [hex, size] of cases) t.equal(wholeCharacters(Buffer.from(hex, "hex"), false), size, hex);
  t.equal(wholeCharacters(Buffer.from("61c3", "hex"), true), 2);
});

t.test("the bound is exact, over two streams of one budget too", async (t) => {
  const budget = new OutputBudget(5);
  t.equal(budget.take(Buffer.from("abc")).toString(), "abc");
  t.equal(budget.truncated, false);
  t.equal(budget.take(Buffer.from("de")).toString(), "de");
  t.equal(budget.truncated, false, "exactly the bound is not too much");
  t.equal(budget.take(Buffer.from("f")).length, 0);
  t.equal(budget.truncated, true);
});

t.test("a pipe that somebody keeps open does not keep the run", async (t) => {
  const o = open();
  o.put("last words");
  o.stream.expectEnd();
  await o.stream.ended;
  t.strictSame(o.parts.map(String), ["last words"]);
  await o.end();
});

t.test("a pipe that is at its end already is not waited for", async (t) => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const o = open();
  await o.end();
  const before = timers();
  o.stream.expectEnd();
  t.equal(timers(), before);
});
