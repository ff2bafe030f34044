import t from "tap";
import { killFrame, LauncherReader, runFrame } from "../../src/exec/frames.ts";
import { exitedResult, failedResult } from "../../src/exec/result.ts";

const frame = (kind: number, handle: number, body: Buffer): Buffer => {
  const header = Buffer.alloc(13);
  header.writeUInt32LE(13 + body.length, 0);
  header.writeUInt8(kind, 4);
  header.writeBigUInt64LE(BigInt(handle), 5);
  return Buffer.concat([header, body]);
};
const u32 = (...values: number[]) => Buffer.from(Uint32Array.from(values).buffer);
const u64 = (...values: bigint[]) => Buffer.from(BigUint64Array.from(values).buffer);

t.test("what is sent", async (t) => {
  t.equal(runFrame(5, 14).toString("hex"), "0e0000000105000000000000000e");
  t.equal(killFrame(5, 9).toString("hex"), "1100000002050000000000000009000000");
});

const CALL = Buffer.concat([u32(165, 0xc000003e, 9, 1), u64(1n, 0n, 0n, 0n, 0n, 6n)]);

t.test("what is received, in any chunks", async (t) => {
  const all = Buffer.concat([
    frame(128, 0, u32(1, 2)),
    frame(129, 3, u32(4711, 1, 5)),
    frame(130, 4, Buffer.concat([u32(2), Buffer.from("exec")])),
    frame(131, 3, Buffer.concat([u32(9, 0, 1, 2), u64(1n, 2n, 3n, 4n, 5n, 6n, 7n)])),
    frame(132, 3, Buffer.concat([CALL, u32(7), Buffer.from("sh\x1b[2J".padEnd(16, "\0"))])),
    frame(132, 3, Buffer.concat([CALL, u32(0), Buffer.alloc(16)])),
    frame(133, 0, Buffer.alloc(0)),
  ]);
  for (const size of [1, 5, 1000]) {
    const reader = new LauncherReader();
    const got = [];
    for (let i = 0; i < all.length; i += size) got.push(...reader.push(all.subarray(i, i + size)));
    t.match(got, [
      { kind: "hello", cgroup: "v2" },
      { kind: "started", handle: 3, cgroup: "v1", noProc: true, noLandlock: false },
      { kind: "failed", handle: 4, errno: 2, step: "exec" },
      {
        kind: "exited",
        handle: 3,
        code: 9,
        signal: 0,
        timedOut: true,
        denied: 2,
        wallUs: 1,
        pidsHits: 6,
        pidsPeak: 7,
      },
      {
        ...{ kind: "denied", handle: 3, nr: 165, arch: 0xc000003e, args: [1n, 0n, 0n, 0n, 0n, 6n] },
        process: { pid: 7, name: "sh?[2J" },
      },
      { kind: "denied", process: null },
      { kind: "pong" },
    ]);
  }
});

t.test("what is no frame ends it", async (t) => {
  const bad = [
    u32(12, 0, 0, 0),
    u32(5000, 0, 0, 0),
    frame(7, 0, Buffer.alloc(0)),
    frame(128, 0, u32(2, 0)),
    frame(131, 1, u32(1)),
    frame(129, 1, u32(1)),
  ];
  for (const bytes of bad) t.throws(() => new LauncherReader().push(bytes), { code: "internal" });
});

t.test("results", async (t) => {
  const seen = { limitedBy: "best-effort" as const, outputBytes: 1, truncated: false, denied: [] };
  const exited = {
    ...({
      kind: "exited",
      handle: 1,
      code: 0,
      signal: 0,
      timedOut: false,
      outOfMemory: false,
      tooManyProcesses: false,
    } as const),
    ...{
      denied: 0,
      wallUs: 1500,
      userUs: 1000,
      systemUs: 500,
      maxRssBytes: 10,
      memoryPeakBytes: 0,
      pidsHits: 0,
      pidsPeak: 2,
    },
  };
  const of = (change: object, canceled = false) => exitedResult({ ...exited, ...change }, canceled, seen);
  t.match(of({ code: 3 }), {
    outcome: "exited",
    exit: 3,
    signal: null,
    durationMs: 1.5,
    cpuMs: 1.5,
    userMs: 1,
    systemMs: 0.5,
    peakMemoryBytes: 10,
    processes: 2,
    limitedBy: "best-effort",
  });
  t.match(of({ signal: 11 }), { outcome: "signaled", exit: null, signal: "SIGSEGV" });
  t.match(of({ signal: 9, outOfMemory: true }), { outcome: "signaled", detail: /memory limit/ });
  t.match(of({ code: 2, pidsHits: 3 }), { outcome: "exited", detail: /limit of processes/ });
  t.match(of({ signal: 9, tooManyProcesses: true }), { detail: /more processes than its limit/ });
  t.match(of({ signal: 9, outOfMemory: true, pidsHits: 3 }), { detail: /memory limit/ });
  t.match(of({ signal: 9, timedOut: true }, true), { outcome: "timed_out", signal: "SIGKILL" });
  t.match(of({ signal: 15 }, true), { outcome: "canceled", signal: "SIGTERM" });
  t.match(of({ memoryPeakBytes: 99 }), { peakMemoryBytes: 99 });
  const failed = failedResult({ kind: "failed", handle: 1, errno: 1, step: "clone" }, "./x");
  t.match(failed, { outcome: "launch_failed", detail: /step "clone" \(EPERM\)/ });
  const full = failedResult({ kind: "failed", handle: 1, errno: 12, step: "memory" }, "./x");
  t.match(full.detail, /memory limit does not hold.*limits.memory/);
});
