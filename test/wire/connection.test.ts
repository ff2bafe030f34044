import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Secret } from "../../src/core/secret.ts";
import { keyCopy } from "../../src/keys/memory.ts";
import { Connection, type ConnectionOptions } from "../../src/wire/connection.ts";
import { encodeFrame, FrameReader } from "../../src/wire/frame.ts";
import type { MessageOf } from "../../src/wire/messages.ts";
import type { SealState } from "../../src/wire/table.ts";
import { until } from "../e2e/appliance.ts";

/** The keeper's end of a real Unix socket, as it sees a gateway; `raw` is what the gateway can write to. */
async function pair(
  t: { teardown(call: () => unknown): void },
  state: SealState,
  more: Partial<ConnectionOptions> = {},
) {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-wire-"));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(dir, "s"), resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const raw = connect(join(dir, "s"));
  raw.on("error", () => undefined);
  const stream = await accepted;
  const seen: string[] = [];
  const violations: string[] = [];
  let closed = 0;
  const connection = new Connection({
    stream,
    self: "keeper",
    peer: "gateway",
    state: () => state,
    onMessage: (message) => seen.push(message.type),
    onViolation: (what) => violations.push(what),
    onClose: () => closed++,
    ...more,
  });
  t.teardown(() => {
    raw.destroy();
    server.close();
    rmSync(dir, { recursive: true, force: true });
  });
  const ended = new Promise<void>((resolve) => raw.once("close", () => resolve()));
  const send = (header: object, parts: Uint8Array[] = []) => {
    for (const bytes of encodeFrame(header, parts)) raw.write(bytes);
  };
  return { raw, send, seen, violations, connection, ended, closed: () => closed };
}

/** Header bytes as they are: what JSON.stringify would not write. */
function raw(header: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(Buffer.byteLength(header));
  return Buffer.concat([length, Buffer.from(header)]);
}

const ORDER: MessageOf<"run.order"> = {
  type: "run.order",
  run: "r-abcd",
  op: "web/restart",
  digest: `sha256:${"0".repeat(64)}`,
  argv: ["/bin/true"],
  env: {},
  input: "{}",
  limits: { timeMs: 1, memoryBytes: 1, pids: 1, diskBytes: 1, outputBytes: 1, cpu: 1 },
  seccomp: "default",
  network: [],
  secrets: [{ name: "KEY", as: "file" }],
};
const HELLO = { type: "role.hello", version: "1", pid: 1, landlock: "abi=7" };
const ACKED = { type: "slack.acked", id: "e1", accepted: true };

const VIOLATIONS: Record<
  string,
  { frame: object | Buffer; says: RegExp; parts?: Uint8Array[]; state?: SealState }
> = {
  "an unknown type": { frame: { type: "keeper.unlock" }, says: /unknown message type/ },
  "a type from the prototype": { frame: { type: "constructor" }, says: /unknown message type/ },
  "no type": { frame: { pid: 1 }, says: /unknown message type/ },
  "another role's message": {
    frame: { type: "run.started", run: "r-abcd" },
    says: /gateway may not send run.started/,
  },
  "the keeper's own message": {
    frame: { type: "gateway.connect" },
    says: /gateway may not send gateway.connect/,
  },
  "the admin's message": {
    frame: { type: "ctl.request", id: 1, command: "status", params: {} },
    says: /gateway may not send ctl.request/,
  },
  "a message out of its state": {
    frame: ACKED,
    says: /slack.acked is not allowed while sealed/,
    state: "sealed",
  },
  "a part where none belongs": { frame: HELLO, parts: [Buffer.from("x")], says: /role.hello with 1 parts/ },
  "a field too many": { frame: { ...HELLO, extra: 1 }, says: /role.hello: .*nrecognized/ },
  "a field of the wrong type": { frame: { ...HELLO, pid: "1" }, says: /role.hello: pid/ },
  "__proto__ as a field": {
    frame: raw('{"type":"role.hello","version":"1","pid":1,"landlock":"","__proto__":{}}'),
    says: /role.hello/,
  },
  "bytes that are no frame": { frame: Buffer.from("GET / HTTP/1.1\r\n\r\n"), says: /header of/ },
};

for (const [name, { frame, parts, says, state }] of Object.entries(VIOLATIONS)) {
  t.test(`${name} ends the connection`, async (t) => {
    const end = await pair(t, state ?? "open");
    end.send(HELLO);
    await until(() => end.seen.length === 1, 15_000);
    if (Buffer.isBuffer(frame)) end.raw.write(frame);
    else end.send(frame, parts);
    end.send(ACKED);
    await end.ended;
    t.equal(end.violations.length, 1, "told once");
    t.match(end.violations[0], says);
    t.same(end.seen, ["role.hello"], "what came before was taken; what came after was not");
    t.equal(end.closed(), 1);
    t.notOk(end.connection.isOpen);
  });
}

t.test("a valid sequence stays open", async (t) => {
  const end = await pair(t, "open");
  end.send(HELLO);
  end.send(ACKED);
  await until(() => end.seen.length === 2, 15_000);
  t.same(end.seen, ["role.hello", "slack.acked"]);
  t.same(end.violations, []);
  t.ok(end.connection.isOpen);
});

t.test("what may not be sent is not sent", async (t) => {
  const end = await pair(t, "open");
  t.throws(() => end.connection.send({ type: "run.started", run: "r-abcd" }), { code: "wire_violation" });
});

t.test("a handler that throws ends its connection, not the process", async (t) => {
  const failures: unknown[] = [];
  const boom = () => {
    throw new Error("boom");
  };
  const onFailure = (error: unknown) => failures.push(error);
  const one = await pair(t, "open", { onMessage: boom, onClose: boom, onFailure });
  one.send(HELLO);
  await one.ended;
  t.equal(failures.length, 2, "the message's handler and that of the end");
  t.notOk(one.connection.isOpen);
  const two = await pair(t, "open", { onViolation: boom, onFailure });
  two.send({ type: "keeper.unlock" });
  await two.ended;
  t.equal(failures.length, 3);
  t.equal(two.closed(), 1);
});

t.test(
  "a secret part arrives whole from a peer that reads late, and is wiped once it is written",
  async (t) => {
    const end = await pair(t, "open", { peer: "runner" });
    end.raw.pause();
    const values = Array.from({ length: 40 }, (_, i) => keyCopy(Buffer.alloc(64 * 1024, 0x41 + (i % 20))));
    const isWiped = (value: Uint8Array) => value.every((byte) => byte === 0);
    for (const value of values) end.connection.send(ORDER, [Buffer.alloc(1), new Secret(value)]);
    t.notOk(isWiped(values.at(-1)!), "what the kernel has not taken is still there");
    const reader = new FrameReader();
    let got = 0;
    end.raw.on("data", (chunk: Buffer) => {
      for (const { parts } of reader.push(chunk))
        if (parts[1]?.equals(Buffer.alloc(64 * 1024, 0x41 + (got++ % 20))) !== true)
          t.fail(`part ${got} was changed`);
    });
    end.raw.resume();
    await until(() => got === values.length && values.every(isWiped), 15_000);
    t.pass("all whole, all wiped");
  },
);

t.test("a secret that can't leave any more is wiped", async (t) => {
  const end = await pair(t, "open", { peer: "runner" });
  end.raw.pause();
  const stuck = Array.from({ length: 40 }, () => keyCopy(Buffer.alloc(64 * 1024, 0x41)));
  for (const value of stuck) end.connection.send(ORDER, [Buffer.alloc(1), new Secret(value)]);
  end.raw.destroy();
  await end.ended;
  await until(
    () => !end.connection.isOpen && stuck.every((value) => value.every((byte) => byte === 0)),
    15_000,
  );
  const late = keyCopy(Buffer.alloc(16, 0x41));
  end.connection.send(ORDER, [Buffer.alloc(1), new Secret(late)]);
  t.same(late, Buffer.alloc(16), "also one that comes when the connection is gone");
  const refused = keyCopy(Buffer.alloc(16, 0x41));
  const other = await pair(t, "open");
  t.throws(() => other.connection.send(ORDER, [Buffer.alloc(1), new Secret(refused)]), {
    code: "wire_violation",
  });
  t.same(refused, Buffer.alloc(16), "and one that may not be sent");
});
