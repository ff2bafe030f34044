import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { OCI_ENGINES } from "../../src/core/engines.ts";
import { testEngines } from "../../src/exec/engines.ts";
import { ociConfig, withEngine } from "../../src/exec/oci.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { begin, findProcesses, plainGrant, runOp, sh, startLauncher, waitProcesses } from "./launcher.ts";

/** An Op under an OCI runtime ends as it would under the launcher alone, and leaves as little. */

t.setTimeout(FILE_TIMEOUT);

let serial = 0;
const newMarker = () => `sallyport-oci-${process.pid}-${++serial}-`;
const gone = (marker: string) => waitProcesses(marker, (n) => n === 0, 10_000);
const ENGINE_PROCESSES = /\0?(crun|runc|runsc|runsc-sandbox|runsc-gofer)\0/;

const started = startLauncher();
const { launcher } = started;
t.teardown(() => started.stop());
const reports = await testEngines(launcher);
const bounded = (await launcher.hello).cgroup !== "none";

/** What a runtime of the host would leave in its own places. */
const places = () =>
  ["/run", "/var/run", "/", "/tmp"]
    .flatMap((place) => readdirSync(place))
    .filter((name) => /crun|runc|runsc|bundle|rootfs/.test(name));
const before = places();

/** Processes whose argv says that they belong to a runtime's container of ours. */
function engineProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, "latin1");
        return line.includes("/run/state") && ENGINE_PROCESSES.test(line.replaceAll("/", "\0"));
      } catch {
        return false;
      }
    });
}

async function noEngineLeft(): Promise<number[]> {
  const until = Date.now() + 10_000;
  while (engineProcesses().length > 0 && Date.now() < until)
    await new Promise((resolve) => setTimeout(resolve, 20));
  return engineProcesses();
}

for (const engine of OCI_ENGINES) {
  const there = reports.find((r) => r.engine === engine)?.path !== null;
  const skip = there ? false : `${engine} is not installed here (scripts/setup --tests installs it)`;
  t.test(engine, { skip }, async (t) => {
    await t.test("exit status, output, no warning of the engine's own", async (t) => {
      const seen = await runOp(launcher, { engine, argv: sh("echo out; echo err >&2; exit 143") });
      t.match(seen.result, { outcome: "exited", exit: 143, signal: null, detail: null });
      t.equal(seen.stdout, "out\n");
      t.equal(seen.stderr, "err\n");
    });

    await t.test("a signal is a signal, not an exit status", async (t) => {
      for (const signal of ["TERM", "KILL", "ABRT", "SEGV"]) {
        const { result } = await runOp(launcher, { engine, argv: sh(`kill -${signal} $$`) });
        // ABRT has two names.
        const name = signal === "ABRT" ? /^SIG(ABRT|IOT)$/ : `SIG${signal}`;
        t.match(result, { outcome: "signaled", exit: null, signal: name });
      }
    });

    await t.test("an Op that can't be executed", async (t) => {
      const { result } = await runOp(launcher, { engine, argv: ["./none"] });
      t.match(result, { outcome: "launch_failed", detail: /could not be executed \(ENOENT\)/ });
    });

    await t.test("environment, input and secrets", async (t) => {
      const secret = { tree: "secrets", path: "KEY", mode: 0o400, bytes: Buffer.from("hush") } as const;
      const script = 'cat /run/secrets/KEY; echo; pwd; echo "$SALLYPORT_RUN"; touch /run/secrets/x 2>&1';
      const seen = await runOp(launcher, { engine, argv: sh(script), files: [secret] });
      t.match(seen.stdout, /^hush\n\/op\nr-test\n.*(Read-only|Permission)/);
    });

    await t.test("nothing of a run is in the engine's configuration", async (t) => {
      const { spec } = plainGrant({ argv: ["./probe", "a-secret-argument"] });
      const text = JSON.stringify(ociConfig({ ...spec, env: { PASSWORD: "hush" } }, engine));
      t.notMatch(text, /a-secret-argument|hush|PASSWORD/);
    });

    await t.test("output of some size arrives whole", async (t) => {
      const seen = await runOp(launcher, { engine, argv: sh("head -c 600000 /dev/zero | tr '\\0' x") });
      t.equal(seen.stdout.length, 600_000);
      t.match(seen.result, { outcome: "exited", exit: 0, truncated: false });
    });

    await t.test("control channel", async (t) => {
      const script = `[ -e /proc/self/fd/3 ] && echo '{"progress":"half","percent":50}' >&3; exit 0`;
      const seen = await runOp(launcher, { engine, argv: sh(script) });
      t.equal(seen.progress.length, engine === "gvisor" ? 0 : 1);
    });

    await t.test("refused calls are reported, where the host's kernel refuses them", async (t) => {
      const seen = await runOp(launcher, { engine, argv: ["./probe", "call:mount", "call:bpf"] });
      t.strictSame(seen.denied, engine === "gvisor" ? [] : ["mount", "bpf(BPF_MAP_CREATE)"]);
      t.match(seen.stdout, /call:mount\tEPERM\ncall:bpf\tEPERM\n/);
    });

    await t.test("cancel: TERM first, so that an Op can tidy up", async (t) => {
      const marker = newMarker();
      const ready = Promise.withResolvers<void>();
      const script = `trap 'echo tidy; exit 5' TERM; echo ready; while :; do sleep 0.05; done # ${marker}`;
      const { run, seen } = begin(
        launcher,
        { engine, argv: sh(script) },
        { onOutput: () => ready.resolve() },
      );
      await ready.promise;
      run.cancel(false);
      const { result, stdout } = await seen;
      t.match(result, { outcome: "canceled", exit: 5 });
      t.equal(stdout, "ready\ntidy\n", "once");
      t.equal(await gone(marker), 0);
    });

    await t.test("cancel: what ignores TERM is killed, its daemons too", async (t) => {
      const ready = Promise.withResolvers<void>();
      const marker = newMarker();
      const script = `trap "" TERM; ./probe daemon:${marker}a; echo ready; exec ./probe stubborn:${marker}b`;
      const { run, seen } = begin(
        launcher,
        { engine, argv: sh(script) },
        { onOutput: () => ready.resolve() },
      );
      await ready.promise;
      run.cancel(false);
      t.match((await seen).result, { outcome: "canceled", signal: "SIGKILL" });
      t.equal(await gone(marker), 0);
      t.strictSame(await noEngineLeft(), []);
    });

    await t.test("time limit, TERM ignored", async (t) => {
      const marker = newMarker();
      const argv = sh(`trap "" TERM; exec ./probe stubborn:${marker}`);
      const { result } = await runOp(launcher, { engine, argv, wallMs: 300, graceMs: 300 });
      t.match(result, { outcome: "timed_out", signal: "SIGKILL" });
      t.equal(await gone(marker), 0);
      t.strictSame(await noEngineLeft(), []);
    });

    await t.test("the Op ends: what it left behind ends with it", async (t) => {
      // gVisor's kernel hangs up the whole group when one of it is stopped, so there the Op's own end comes by a signal.
      for (const kind of engine === "gvisor" ? ["daemon"] : ["daemon", "stopped"]) {
        const marker = newMarker();
        const seen = await runOp(launcher, { engine, argv: sh(`./probe ${kind}:${marker}; exit 0`) });
        t.match(seen.result, { outcome: "exited", exit: 0 });
        t.equal(await gone(marker), 0, kind);
      }
      t.strictSame(await noEngineLeft(), []);
    });

    await t.test(
      "memory limit",
      { skip: bounded ? false : "no cgroup here: nothing bounds it" },
      async (t) => {
        const argv = sh("head -c 1000000000 /dev/zero | tail -c 999999999 > /dev/null; echo survived $?");
        const seen = await runOp(launcher, { engine, argv, memoryBytes: 64 << 20 });
        t.match(seen.result, { detail: /memory limit/ });
      },
    );

    await t.test("kill -9 of the launcher: nothing of the run or its engine is left", async (t) => {
      const other = startLauncher();
      const marker = newMarker();
      const ready = Promise.withResolvers<void>();
      const argv = sh(`./probe daemon:${marker}a; echo ready; exec ./probe stubborn:${marker}b`);
      begin(other.launcher, { engine, argv }, { onOutput: () => ready.resolve() });
      await ready.promise;
      other.child.kill("SIGKILL");
      t.match(await other.launcher.ended, /closed/);
      t.equal(await gone(marker), 0);
      t.strictSame(await noEngineLeft(), []);
    });

    await t.test("the runner's end of the socket closes: all of it ends", async (t) => {
      const other = startLauncher();
      const marker = newMarker();
      const ready = Promise.withResolvers<void>();
      const argv = sh(`echo ready; exec ./probe stubborn:${marker}`);
      begin(other.launcher, { engine, argv }, { onOutput: () => ready.resolve() });
      await ready.promise;
      await other.stop();
      t.equal(await gone(marker), 0);
      t.strictSame(await noEngineLeft(), []);
      t.strictSame(findProcesses(marker), []);
    });

    await t.test(
      "an engine that gives up before the Op's start is a failed launch, in its own words",
      async (t) => {
        const grant = plainGrant({ argv: ["/bin/echo", "never"] });
        const broken = {
          ...grant.spec,
          engine,
          files: [
            ...grant.spec.files,
            { tree: "bundle", path: "config.json", mode: 0o444, bytes: Buffer.from('{"ociVersion":') },
          ] as const,
        };
        const run = launcher.run(
          { ...grant, spec: broken },
          {
            onStarted: () => t.fail(),
            onOutput: () => t.fail(),
            ready: () => null,
            onProgress() {},
            onDenied() {},
          },
        );
        const { outcome, detail } = await run.finished;
        t.equal(outcome, "launch_failed");
        t.match(detail, /^The engine ended before it had started the Op\. It said: .+/);
      },
    );

    await t.test("nothing is left on the host's file systems", (t) => {
      t.strictSame(places(), before);
      t.end();
    });
  });
}

t.test("a native Op's spec is not touched", (t) => {
  const { spec } = plainGrant({ argv: ["/bin/true"] });
  t.equal(withEngine(spec, "native"), spec);
  t.equal(withEngine(spec, undefined), spec);
  t.throws(() => withEngine(spec, "kata"), { code: "launch_failed" });
  t.end();
});

const noRoot = process.getuid?.() === 0 ? false : "only root can put another's program in the engine's place";
const crunThere =
  reports.find((r) => r.engine === "crun")?.path === "/usr/bin/crun" ? false : "no /usr/bin/crun here";
/** A launcher that finds this program, of this owner, where crun is. */
function withCrun(program: string, owner: number): ReturnType<typeof startLauncher> {
  const file = join(mkdtempSync("/var/tmp/sallyport-engine-"), "crun");
  writeFileSync(file, program, { mode: 0o755 });
  chmodSync(file, 0o755);
  chownSync(file, owner, owner);
  const script = `mount --bind ${file} /usr/bin/crun && rm -r ${dirname(file)}; exec "$@"`;
  return startLauncher({ before: ["unshare", "--mount", "sh", "-c", script, "sh"] });
}

t.test("a program that others may write is not executed", { skip: noRoot || crunThere }, async (t) => {
  const other = withCrun("#!/bin/sh\necho never\n", 54_321);
  t.teardown(() => other.stop());
  const { result } = await runOp(other.launcher, { engine: "crun", argv: ["/bin/true"] });
  t.match(result, { outcome: "launch_failed", detail: /can be written by others than root/ });
});

/** Says on stdin, where the container's init would, what an engine that is taken over could: Python, since sh has no sockets. */
const liar = (words: string): string => `#!/usr/bin/python3
import array, os, socket, time
s = socket.socket(fileno=os.dup(0))
def say(word, *fds):
    s.sendmsg([word], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
${words}
time.sleep(60)
`;
const python = existsSync("/usr/bin/python3") ? false : "no /usr/bin/python3 here";
t.test("an engine that lies to the launcher", { skip: noRoot || crunThere || python }, async (t) => {
  const ticks = (pid: number): number => {
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]!.split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  await t.test("a descriptor that is no listener does not keep the launcher busy", async (t) => {
    const other = withCrun(liar(`say(b"S\\0\\0\\0\\0", os.open("/dev/zero", os.O_RDONLY))`), 0);
    t.teardown(() => other.stop());
    const began = Promise.withResolvers<void>();
    const { run, seen } = begin(
      other.launcher,
      { engine: "crun", argv: ["/bin/true"] },
      { onStarted: () => began.resolve() },
    );
    await began.promise;
    const before = ticks(other.child.pid!);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    t.ok(ticks(other.child.pid!) - before < 50, "less than half of the time");
    run.cancel(true);
    t.equal((await seen).result.outcome, "canceled");
    t.equal((await runOp(other.launcher, { argv: ["/bin/echo", "fine"] })).stdout, "fine\n");
  });

  for (const [what, words, outcome] of [
    ["an end before the start", `say(b"E\\0\\0\\0\\0")`, "launch_failed"],
    ["a word that nobody knows", `say(b"X" * 79)`, "launch_failed"],
    ["two starts", `say(b"S\\0\\0\\0\\0"); say(b"S\\0\\0\\0\\0")`, "signaled"],
    ["a start, then a failure", `say(b"S\\0\\0\\0\\0"); say(b"F\\1\\0\\0\\0exec")`, "signaled"],
  ] as const)
    await t.test(what, async (t) => {
      const other = withCrun(liar(words), 0);
      t.teardown(() => other.stop());
      const { result } = await runOp(other.launcher, { engine: "crun", argv: ["/bin/true"] });
      t.equal(result.outcome, outcome, result.detail ?? "");
      t.equal((await runOp(other.launcher, { argv: ["/bin/echo", "fine"] })).stdout, "fine\n");
    });
});
