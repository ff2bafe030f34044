import { writeSync } from "node:fs";
import t from "tap";
import { Secret } from "../../src/core/secret.ts";
import type { Printed } from "../../src/exec/printed.ts";
import { compileSecrets } from "../../src/exec/redact.ts";
import { LiveRun } from "../../src/exec/run.ts";
import { harden } from "../../src/host/harden.ts";
import { keyCopy } from "../../src/keys/memory.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { runOp, sh, startLauncher } from "./launcher.ts";

t.setTimeout(FILE_TIMEOUT);

const started = startLauncher();
t.teardown(() => started.stop());

const VALUE = "hunter2-is-no-good-password";
const secret = (text: string) => new Secret(keyCopy(Buffer.from(text)));
const SECRET = { name: "web/KEY", value: secret(VALUE) };

/** Each way on which bytes that an Op chose leave its run. A new one belongs here. */
async function told(script: string) {
  const printed: Printed[] = [];
  const told: string[] = [];
  const seen = await runOp(
    started.launcher,
    { argv: sh(script, VALUE), secrets: [SECRET] },
    {
      onSecret: (one) => printed.push(one),
      onDenied: (call, process) => told.push(`${call} ${process?.name}`),
    },
  );
  return { seen, printed, all: JSON.stringify([seen.stdout, seen.stderr, seen.progress, seen.result, told]) };
}

for (const [stream, to] of [
  ["stdout", 1],
  ["stderr", 2],
] as const)
  t.test(stream, async (t) => {
    const { seen, printed, all } = await told(
      `printf %s "$1" | base64 >&${to}; for i in 1 2 3; do echo "k=$1" >&${to}; done`,
    );
    t.notMatch(all, /hunter2|aHVudGVy/);
    t.match(seen[stream], /^\[secret web\/KEY\].{0,3}\n(k=\[secret web\/KEY\]\n){3}$/);
    t.strictSame(
      printed.map((one) => ({ ...one, count: 0 })),
      [{ secret: "web/KEY", stream, count: 0 }],
    );
    t.strictSame(seen.result.printed, [{ secret: "web/KEY", stream, count: 4 }], "counted in all");
  });

t.test("progress, also where its text is cut", async (t) => {
  const { seen, printed, all } = await told(
    `pad=$(printf %244s | tr ' ' x); echo "{\\"progress\\":\\"$pad$1\\",\\"percent\\":12.3456789}" >&3`,
  );
  t.notMatch(all, /hunt/);
  t.match(seen.progress[0]?.text, /x\[secre$/);
  t.equal(seen.progress[0]?.percent, 12.3);
  t.match(printed, [{ stream: "progress", count: 1 }]);
});

t.test("why its lines on fd 3 were ignored", async (t) => {
  const { seen, all } = await told(`echo "{\\"progress\\":\\"x\\",\\"$1\\":1}" >&3; echo "$1" >&3`);
  t.match(seen.result.detail, /unknown key "\[secret web\/KEY\]"/);
  t.notMatch(all, /hunter2/);
  const cut = await told(`echo "{\\"progress\\":\\"x\\",\\"$(printf %30s | tr ' ' x)$1\\":1}" >&3`);
  t.match(cut.seen.result.detail, /unknown key/);
  t.notMatch(cut.all, /hunter2/);
});

t.test("output beyond its bound, and the end of an output in the middle of a secret", async (t) => {
  const seen = await runOp(started.launcher, {
    argv: sh('echo "$1"; echo "$1"', VALUE),
    secrets: [SECRET],
    outputBytes: 20,
  });
  t.equal(seen.stdout, "[secret web/KEY]\n[se");
  const { seen: half } = await told('printf "x %.20s" "$1"');
  t.equal(half.stdout, "x [secret web/KEY]");
});

t.test(
  "the name that a process gave itself, which the kernel cuts, and what an engine said last",
  async (t) => {
    const h = harden();
    const run = (names: string[]) => {
      const [stdout, w1] = h.pipe();
      const [stderr, w2] = h.pipe();
      const [control, theirs] = h.socketpair();
      const live = new LiveRun({
        fds: { stdout, stderr, control },
        program: "./x",
        wallMs: 1000,
        graceMs: 1,
        outputBytes: 100,
        secrets: compileSecrets([{ name: "web/KEY", value: Buffer.from(VALUE) }]),
        handlers: {
          onStarted: () => {},
          onOutput: () => {},
          ready: () => null,
          onProgress: () => {},
          onDenied: (_call, process) => names.push(process?.name ?? ""),
        },
        kill: () => {},
      });
      return { live, write: w2, close: () => [w1, w2, theirs].forEach((fd) => void h.closeFd(fd)) };
    };
    const names: string[] = [];
    const one = run(names);
    const process = { pid: 2, name: VALUE.slice(0, 15) };
    const denied = { kind: "denied", handle: 1, nr: 165, arch: 0xc000003e, args: [], process } as const;
    one.live.receive(denied);
    one.live.receive({ kind: "started", handle: 1, noProc: false, cgroup: "none", noLandlock: false });
    one.live.receive(denied);
    t.strictSame(names, ["[secret web/KEY]", "[secret web/KEY]"]);
    one.live.abandon();
    one.close();

    const other = run([]);
    writeSync(other.write, `first\ncan't open /x/${VALUE}: no\n`);
    other.close();
    other.live.receive({ kind: "failed", handle: 1, errno: 2, step: "engine" });
    t.match((await other.live.finished).detail, /can't open \/x\/\[secret web\/KEY\]: no/);
  },
);

t.test("a value that can't be kept out of output starts nothing", async (t) => {
  for (const value of ["abc", "true", "", "--------"]) {
    const seen = await runOp(started.launcher, {
      argv: sh("echo started"),
      secrets: [{ name: "web/KEY", value: secret(value) }],
    });
    t.match(seen.result, { outcome: "launch_failed", detail: /The secret web\/KEY can't be used/ }, value);
    t.equal(seen.stdout, "");
    if (value.length > 2) t.notMatch(seen.result.detail, new RegExp(`"${value}"`));
  }
  const lines = Array.from({ length: 1300 }, (_, i) => `export NAME_${i}="pä'ss ${i * 7919}-${i}"`).join(
    "\n",
  );
  const many = Array.from({ length: 32 }, (_, i) => ({
    name: `web/KEY_${i}`,
    value: secret(`${i} ${lines}`),
  }));
  const { result } = await runOp(started.launcher, { argv: sh("echo started"), secrets: many });
  t.match(result, { outcome: "launch_failed", detail: /fewer or smaller/ });
});
