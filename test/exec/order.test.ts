import t from "tap";
import { LiveRun } from "../../src/exec/run.ts";
import { harden } from "../../src/host/harden.ts";

t.test("the start is told first, whatever the launcher sends first", async (t) => {
  const h = harden();
  const [stdout, w1] = h.pipe();
  const [stderr, w2] = h.pipe();
  const [control, theirs] = h.socketpair();
  const told: string[] = [];
  const run = new LiveRun({
    fds: { stdout, stderr, control },
    program: "./x",
    wallMs: 1000,
    graceMs: 1,
    outputBytes: 100,
    secrets: null,
    handlers: {
      onStarted: () => told.push("started"),
      onOutput: () => told.push("output"),
      ready: () => null,
      onProgress: () => told.push("progress"),
      onDenied: (call) => told.push(call),
    },
    kill: () => {},
  });
  const denied = { kind: "denied", handle: 1, nr: 165, arch: 0xc000003e } as const;
  run.receive(denied);
  t.strictSame(told, []);
  const flags = { noProc: false, noLandlock: false, noMemfdNoexec: false };
  run.receive({ kind: "started", handle: 1, ...flags });
  run.receive({ ...denied, arch: 0x40000003 });
  t.strictSame(told, ["started", "mount", "foreign 165"]);
  for (const fd of [w1, w2, theirs]) h.closeFd(fd);
  const ended = { code: 0, signal: 0, timedOut: false, outOfMemory: false, denied: 5 };
  const usage = { wallUs: 1, userUs: 1, systemUs: 1, maxRssBytes: 1, memoryPeakBytes: 1, pidsHits: 0 };
  run.receive({ kind: "exited", handle: 1, ...ended, ...usage });
  t.match((await run.finished).denied, [
    { call: "mount", count: 1 },
    { call: "foreign 165", count: 1 },
    { call: "not told apart", count: 3 },
  ]);
});
