import { randomBytes } from "node:crypto";
import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import { BOUNDS, encodeFrame, FrameReader } from "../../src/wire/frame.ts";

function frame(header: string | object, parts: readonly Uint8Array[] = []): Buffer {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([length, json, ...parts]);
}

/** What the reader says of these bytes: the violation, or how many frames it made of them. */
function read(bytes: Uint8Array): string | number {
  try {
    return new FrameReader().push(Buffer.from(bytes)).length;
  } catch (error) {
    if (!(error instanceof SallyportError) || error.code !== "wire_violation") throw error;
    return error.detail;
  }
}

t.test("what is sent arrives, however the stream is cut", (t) => {
  const sent = [
    { header: { type: "a", text: 'é"\\{[' }, parts: [] },
    { header: { type: "b" }, parts: [randomBytes(70_000), Buffer.alloc(0), Buffer.from([0])] },
    { header: { type: "c" }, parts: [randomBytes(3)] },
  ];
  const whole = Buffer.concat(sent.flatMap(({ header, parts }) => encodeFrame(header, parts)));
  for (const step of [1, 3, 4, 5, 4096, whole.length]) {
    const reader = new FrameReader();
    const got = [];
    // The first bytes one by one in any case: that is where the length and header borders are.
    for (let at = 0; at < whole.length; at += step) {
      if (step === 1 && at > 400) {
        got.push(...reader.push(whole.subarray(at)));
        break;
      }
      got.push(...reader.push(whole.subarray(at, at + step)));
    }
    t.same(got, sent, `in steps of ${step}`);
  }
  t.end();
});

t.test("a truncated frame is no frame", (t) => {
  const whole = Buffer.concat(encodeFrame({ type: "a" }, [Buffer.from("secret")]));
  for (let cut = 0; cut < whole.length; cut++) t.equal(read(whole.subarray(0, cut)), 0, `${cut} bytes`);
  t.equal(read(whole), 1);
  t.end();
});

t.test("a part is a copy: wiping it leaves its neighbours as they were", (t) => {
  const reader = new FrameReader();
  const whole = Buffer.concat(encodeFrame({ type: "a" }, [Buffer.from("one"), Buffer.from("two")]));
  const [got] = reader.push(whole);
  got?.parts[0]?.fill(0);
  t.equal(got?.parts[1]?.toString(), "two");
  t.equal(whole.subarray(-6).toString(), "onetwo", "nor does it share memory with what was received");
  t.end();
});

t.test("lengths over the bounds end the stream before anything is kept", (t) => {
  const length = (n: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(n);
    return bytes;
  };
  t.match(read(length(BOUNDS.headerBytes + 1)), /header of 1048577 bytes/);
  t.match(read(length(0xffffffff)), /header of/);
  t.match(read(length(0)), /header of 0 bytes/);
  t.equal(read(length(BOUNDS.headerBytes)), 0, "at the bound it waits for more");
  const parts = (...lengths: unknown[]) => read(frame({ type: "a", parts: lengths }));
  t.match(parts(BOUNDS.partBytes + 1), /part of 16777217 bytes/);
  t.match(parts(BOUNDS.partBytes, BOUNDS.partBytes), /frame of 33554432 bytes/, "each fits, not all");
  t.match(parts(...Array(BOUNDS.parts + 1).fill(0)), /65 parts/);
  t.equal(parts(...Array(BOUNDS.parts).fill(0)), 1);
  for (const bad of [-1, 1.5, 1e300, "3", null, [1], true])
    t.match(parts(bad), /part lengths/, JSON.stringify(bad));
  t.match(read(frame({ type: "a", parts: { 0: 1 } })), /part lengths/);
  t.match(read(frame({ type: "a", parts: "9" })), /part lengths/);
  t.end();
});

t.test("depth is bounded before the JSON is parsed", (t) => {
  const nested = (depth: number) => frame(`{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`);
  t.equal(read(nested(BOUNDS.depth)), 1);
  t.match(read(nested(BOUNDS.depth + 1)), /nested deeper than 12/);
  t.match(read(frame("[".repeat(200_000))), /nested deeper/);
  t.equal(
    read(frame({ a: "[[[[[[[[[[[[[[[[[[[[", b: '\\"{{{{{{{{{{{{{{{{{{{{' })),
    1,
    "brackets in a text are text",
  );
  t.end();
});

t.test("garbage is a violation, never another kind of error", (t) => {
  for (const header of ["{}x", "{", "nul", "[]", "null", '"text"', "17", '{"a":}', "\u0000\u0000", "{'a':1}"])
    t.match(read(frame(header)), /header/, JSON.stringify(header));
  let refused = 0;
  for (let i = 0; i < 2000; i++) {
    const bytes = randomBytes(4 + (i % 64));
    // Half of them with a length that fits, so that the header is looked at.
    if (i % 2 === 0) bytes.writeUInt32BE(Math.max(2, bytes.length - 4));
    const said = read(bytes);
    if (typeof said === "string") refused++;
    else if (said !== 0) t.fail(`random bytes made a frame: ${bytes.toString("hex")}`);
  }
  t.ok(refused > 1500, `${refused} of 2000 random inputs refused; the rest waits for more`);
  t.end();
});

t.test("a sender's own mistake is caught where it is made", (t) => {
  t.throws(() => encodeFrame({ a: "x".repeat(BOUNDS.headerBytes) }), { code: "wire_violation" });
  t.throws(() => encodeFrame({}, Array(BOUNDS.parts + 1).fill(Buffer.alloc(0))), { code: "wire_violation" });
  t.throws(() => encodeFrame({}, [Buffer.alloc(BOUNDS.partBytes + 1)]), { code: "wire_violation" });
  t.end();
});
