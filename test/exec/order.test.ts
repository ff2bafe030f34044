import t from "tap";
import { LiveRun } from "../../src/exec/run.ts";
import { harden } from "../../src/host/harden.ts";

const h = harden();
const STARTED = {
  kind: "started",
  handle: 1,
  noProc: false,
  cgroup: "none",
  noLandlock: false,
} as const;
const EXITED = {
  ...({ kind: "exited", handle: 1, code: 0, signal: 0, timedOut: false } as const),
  ...({ outOfMemory: false, tooManyProcesses: false } as const),
  ...{ denied: 0, wallUs: 1, userUs: 1, systemUs: 1, maxRssBytes: 1, memoryPeakBytes: 1, pidsHits: 0 },
  pidsPeak: 1,
};

/** A run whose launcher and Op are the test. `told`: what it told, in order. `end`: the Op's ends of its descriptors close. */
function live(): { run: LiveRun; told: string[]; end(): void } {
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
  const end = () => {
    for (const fd of [w1, w2, theirs]) h.closeFd(fd);
  };
  return { run, told, end };
}

t.test("the start is told first, whatever the launcher sends first", async (t) => {
  const { run, told, end } = live();
  const args: bigint[] = [];
  const denied = { kind: "denied", handle: 1, nr: 165, arch: 0xc000003e, args, process: null } as const;
  run.receive(denied);
  t.strictSame(told, []);
  run.receive(STARTED);
  run.receive({ ...denied, arch: 0x40000003 });
  t.strictSame(told, ["started", "mount", "foreign 165"]);
  end();
  run.receive({ ...EXITED, denied: 5 });
  t.match((await run.finished).denied, [
    { call: "mount", count: 1 },
    { call: "foreign 165", count: 1 },
    { call: "not told apart", count: 3 },
  ]);
});

t.test(
  "a cancel that comes after the Op's end changes nothing, however late its output is read",
  async (t) => {
    const { run, end } = live();
    run.receive(STARTED);
    run.receive({ ...EXITED, code: 3 });
    run.cancel(false);
    end();
    t.match(await run.finished, { outcome: "exited", exit: 3 });
  },
);
