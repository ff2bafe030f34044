import { type ChildProcess, spawn } from "node:child_process";
import { constants, openSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { type BundleFile, bundleDigest, encodeBundle } from "../../src/core/bundle.ts";
import { asset } from "../../src/host/asset.ts";
import { encodeConfinement } from "../../src/host/confine.ts";
import { harden } from "../../src/host/harden.ts";
import { repoPath, selfExec } from "../../src/host/self.ts";
import { Connection } from "../../src/wire/connection.ts";
import type { Message, MessageOf } from "../../src/wire/messages.ts";
import { findProcesses, waitProcesses } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

type Got = { message: Message; parts: Buffer[] };

/** The runner as `serve` starts it: the launcher forks it, confined; we are the keeper. */
class Keeper {
  readonly connection: Connection;
  readonly launcher: ChildProcess;
  readonly got: Got[] = [];
  readonly exited: Promise<number | null>;
  #wake: () => void = () => {};

  constructor(
    env: Record<string, string> = {},
    wrapper: readonly string[] = [],
    options: readonly string[] = [
      "--limits",
      "best-effort",
      "--runtimes",
      "/nonexistent",
      "--engine",
      "native",
      "--resources",
      "[]",
    ],
  ) {
    const h = harden();
    const [ours, theirs] = h.socketpair();
    const { file, args } = selfExec();
    const exe = openSync(file, constants.O_RDONLY);
    const spec = h.memfd(
      "spec",
      encodeConfinement({
        argv: ["sallyport", ...args, "role", "runner", ...options],
        env: { PATH: "/usr/bin:/bin", SALLYPORT_PEER_FD: "5", ...env },
        execFd: 4,
        keepFds: [5],
        seccomp: asset("seccomp/role-runner.bpf"),
        paths: [{ path: "/", read: true, exec: true }],
        connect: false,
      }),
    );
    const stdio = ["ignore", "inherit", "inherit", spec, exe, theirs] as const;
    const [command, ...rest] = [...wrapper, repoPath("build/launcher"), "runner", "3"];
    this.launcher = spawn(command!, rest, { stdio: [...stdio], env: { PATH: "/usr/bin:/bin" } });
    for (const fd of [spec, exe, theirs]) h.closeFd(fd);
    this.exited = new Promise((resolve) => this.launcher.once("exit", (code) => resolve(code)));
    this.connection = new Connection({
      stream: new Socket({ fd: ours, readable: true, writable: true }),
      self: "keeper",
      peer: "runner",
      state: () => "open",
      onMessage: (message, parts) => {
        this.got.push({ message, parts });
        this.#wake();
      },
      onViolation: (what) => t.fail(`the runner sent ${what}`),
      onClose: () => this.#wake(),
    });
  }

  async wait<T extends Message["type"]>(type: T, run?: string): Promise<MessageOf<T>> {
    for (;;) {
      const found = this.got.find(
        (g) => g.message.type === type && (run === undefined || runOf(g.message) === run),
      );
      if (found !== undefined) return found.message as MessageOf<T>;
      if (!this.connection.isOpen) throw new Error(`the connection ended before ${type}`);
      await Promise.race([
        new Promise<void>((resolve) => (this.#wake = resolve)),
        sleep(15_000, undefined, { ref: false }),
      ]);
    }
  }

  order(
    run: string,
    argv: string[],
    more: Partial<MessageOf<"run.order">> = {},
    secrets: Buffer[] = [],
    files: BundleFile[] = [],
  ): void {
    const bundle = encodeBundle([
      { path: "op.yaml", mode: 0o644, bytes: Buffer.from("op: a/b\n") },
      ...files,
    ]);
    const limits = {
      timeMs: 20_000,
      memoryBytes: 128 << 20,
      pids: 32,
      diskBytes: 1 << 20,
      outputBytes: 1 << 20,
      cpu: 1,
    };
    const order = {
      type: "run.order",
      run,
      op: "a/b",
      digest: bundleDigest(bundle),
      argv,
      env: {},
      input: "{}",
    } as const;
    this.connection.send({ ...order, limits, seccomp: "default", network: [], secrets: [], ...more }, [
      bundle,
      ...secrets,
    ]);
  }

  /** Of a run's messages, in order; output counts once, as it comes in as many parts as it takes time. */
  types(run: string): string[] {
    const types = this.got.filter((g) => runOf(g.message) === run).map((g) => g.message.type);
    return types.filter((type, i) => type !== "run.output" || types[i - 1] !== type);
  }

  output(run: string): string {
    return this.got
      .filter((g) => g.message.type === "run.output" && g.message.run === run)
      .map((g) => g.parts[0]!.toString())
      .join("");
  }

  async stop(): Promise<number | null> {
    this.connection.close();
    return this.exited;
  }

  runnerPid(): number {
    const children = readFileSync(`/proc/${this.launcher.pid}/task/${this.launcher.pid}/children`, "utf8");
    return Number(children.trim().split(" ")[0]);
  }
}

const runOf = (message: Message): string | null =>
  "run" in message && typeof message.run === "string" ? message.run : null;
/** A zombie that nobody has reaped yet is dead. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
const marker = (n: number) => `sallyport-runner-${process.pid}-${n}-`;
const forever = (m: string) => ["/bin/sh", "-c", `trap '' TERM; while :; do sleep 0.2; done # ${m}`];

t.test("hello, self-test, an order from start to end", async (t) => {
  const k = new Keeper();
  t.teardown(() => k.stop());
  const ready = await k.wait("runner.ready");
  t.equal(k.got[0]?.message.type, "role.hello");
  t.strictSame(
    ready.checks.filter((c) => !c.ok),
    [],
  );
  t.equal(ready.ok, true);
  t.ok(ready.checks.length > 40);

  const script =
    '#!/bin/sh\ncat /op/input.json; echo " $INPUT_NAME $1 $SALLYPORT_RUN $SALLYPORT_OP"; cat /run/secrets/KEY; echo $TOKEN; exit 9\n';
  k.order(
    "r-one",
    ["./main.sh", "a b"],
    {
      env: { INPUT_NAME: "Ada" },
      input: '{"name":"Ada"}',
      secrets: [
        { name: "KEY", as: "file" },
        { name: "TOKEN", as: "env" },
      ],
    },
    [Buffer.from("first-secret\n"), Buffer.from("second-secret")],
    [{ path: "main.sh", mode: 0o755, bytes: Buffer.from(script) }],
  );
  const finished = await k.wait("run.finished", "r-one");
  t.match(finished, { outcome: "exited", exit: 9, truncated: false, denied: [] });
  t.equal(k.output("r-one"), '{"name":"Ada"} Ada a b r-one a/b\n[secret a/KEY]\n[secret a/TOKEN]\n');
  const seen = ["run.secret_seen", "run.secret_seen"];
  t.strictSame(k.types("r-one"), ["run.started", ...seen, "run.output", "run.finished"]);
  const printed = ["a/KEY", "a/TOKEN"].map((secret) => ({ secret, stream: "stdout", count: 1 }));
  t.match(
    k.got.map((g) => g.message).filter((m) => m.type === "run.secret_seen"),
    printed,
  );
  t.strictSame(finished.printed, printed);
});

t.test("the keeper's connection ends while the self-test does: the runner ends too", async (t) => {
  const k = new Keeper();
  t.teardown(() => k.launcher.kill("SIGKILL"));
  const children = () => readFileSync(`/proc/${k.launcher.pid}/task/${k.launcher.pid}/children`, "utf8");
  while (children() === "") await sleep(1);
  const runner = k.runnerPid();
  // Before the runner is there to ask it, so the self-test gets no answer.
  k.launcher.kill("SIGSTOP");
  await k.wait("role.hello");
  k.connection.close();
  for (let i = 0; i < 1000 && isAlive(runner); i++) await sleep(20);
  t.notOk(isAlive(runner));
  t.notOk(k.got.some((g) => g.message.type === "runner.ready"));
});

t.test("orders that are refused start nothing, and say why", async (t) => {
  const k = new Keeper();
  t.teardown(() => k.stop());
  k.order("r-early", ["/bin/true"]);
  t.match(await k.wait("run.finished", "r-early"), { outcome: "launch_failed", detail: /not finished/ });
  await k.wait("runner.ready");
  const bad: [string, Partial<MessageOf<"run.order">>, RegExp][] = [
    ["r-digest", { digest: `sha256:${"0".repeat(64)}` }, /digest is not the ordered one/],
    ["r-env", { env: { LD_PRELOAD: "/tmp/x" } }, /LD_PRELOAD/],
    ["r-net", { network: ["example.com:443"] }, /network/],
    ["r-secrets", { secrets: [{ name: "KEY", as: "file" }] }, /1 secrets were ordered and 0 came/],
    [
      "r-limit",
      { limits: { timeMs: 0, memoryBytes: 1, pids: 1, diskBytes: 1, outputBytes: 1, cpu: 1 } },
      /timeMs/,
    ],
  ];
  for (const [run, more, why] of bad) {
    k.order(run, ["/bin/true"], more);
    const finished = await k.wait("run.finished", run);
    t.match(finished, { outcome: "launch_failed", exit: null });
    t.match(finished.detail, why);
    t.strictSame(k.types(run), ["run.finished"]);
  }
  k.connection.send({ type: "run.cancel", run: "r-unknown", reason: "canceled" });
  k.order("r-fine", ["/bin/true"]);
  t.match(await k.wait("run.finished", "r-fine"), { outcome: "exited", exit: 0 });
});

t.test("a bundle's own system call profile: asked about, then run with", async (t) => {
  const k = new Keeper();
  t.teardown(() => k.stop());
  await k.wait("runner.ready");
  const shipped = JSON.parse(readFileSync(repoPath("policies/seccomp/network.json"), "utf8"));
  for (const rule of shipped.syscalls)
    rule.names = (rule.names as string[]).filter((name) => name !== "umask");
  const profile = Buffer.from(JSON.stringify(shipped));
  k.connection.send({ type: "profile.check", id: 7 }, [profile]);
  t.match(await k.wait("profile.checked"), { id: 7, ok: true, reason: "", notes: [] });
  k.got.length = 0;
  const wide = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [{ names: ["bpf"], action: "SCMP_ACT_ALLOW" }] };
  k.connection.send({ type: "profile.check", id: 8 }, [Buffer.from(JSON.stringify(wide))]);
  t.match(await k.wait("profile.checked"), { id: 8, ok: false, reason: /never does: bpf/ });

  const files = (bytes: Buffer): BundleFile[] => [{ path: "own.json", mode: 0o644, bytes }];
  const umask = ["/bin/sh", "-c", "umask 22; echo ran"];
  k.order("r-own", umask, { seccomp: "own.json" }, [], files(profile));
  t.match(await k.wait("run.finished", "r-own"), { outcome: "exited", denied: [] });
  shipped.defaultErrnoRet = 1;
  k.order("r-seen", umask, { seccomp: "own.json" }, [], files(Buffer.from(JSON.stringify(shipped))));
  const seen = await k.wait("run.finished", "r-seen");
  t.ok(
    seen.denied.some((d) => d.call.startsWith("umask")),
    JSON.stringify(seen),
  );
  k.order("r-wide", umask, { seccomp: "own.json" }, [], files(Buffer.from(JSON.stringify(wide))));
  t.match(await k.wait("run.finished", "r-wide"), { outcome: "launch_failed", detail: /never does: bpf/ });
  k.order("r-none", umask, { seccomp: "own.json" });
  t.match(await k.wait("run.finished", "r-none"), { outcome: "launch_failed", detail: /lacks/ });
  k.order("r-name", umask, { seccomp: "wide" });
  t.match(await k.wait("run.finished", "r-name"), { outcome: "launch_failed", detail: /not compiled/ });
});

t.test("more than 32 live runs are refused; cancel and lock end them", async (t) => {
  const k = new Keeper();
  t.teardown(() => k.stop());
  await k.wait("runner.ready");
  for (let i = 0; i < 33; i++) k.order(`r-many-${i}`, ["/bin/sleep", "60"]);
  t.match(await k.wait("run.finished", "r-many-32"), { outcome: "launch_failed", detail: /32 runs/ });
  for (let i = 0; i < 32; i++) await k.wait("run.started", `r-many-${i}`);
  for (let i = 0; i < 32; i++)
    k.connection.send({ type: "run.cancel", run: `r-many-${i}`, reason: i % 2 === 0 ? "lock" : "canceled" });
  for (let i = 0; i < 32; i++) t.match(await k.wait("run.finished", `r-many-${i}`), { outcome: "canceled" });
});

t.test("the keeper's connection ends: runs die, the runner exits 0", async (t) => {
  const k = new Keeper();
  await k.wait("runner.ready");
  k.order("r-one", forever(marker(1)));
  await k.wait("run.started", "r-one");
  t.ok(findProcesses(marker(1)).length > 0);
  t.equal(await k.stop(), 0);
  t.equal(await waitProcesses(marker(1), (n) => n === 0, 15_000), 0);
});

t.test("kill -9 of the runner: runs die, the launcher ends", async (t) => {
  const k = new Keeper();
  await k.wait("runner.ready");
  k.order("r-one", forever(marker(2)));
  await k.wait("run.started", "r-one");
  process.kill(k.runnerPid(), "SIGKILL");
  t.equal(await waitProcesses(marker(2), (n) => n === 0, 15_000), 0);
  t.equal(await k.exited, 137);
  t.notOk(k.types("r-one").includes("run.finished"), "what became of the run is the keeper's to say");
});

t.test("kill -9 of the launcher: runs die, the runner too", async (t) => {
  const k = new Keeper();
  await k.wait("runner.ready");
  k.order("r-one", forever(marker(3)));
  await k.wait("run.started", "r-one");
  const runner = k.runnerPid();
  k.launcher.kill("SIGKILL");
  t.equal(await waitProcesses(marker(3), (n) => n === 0, 15_000), 0);
  for (let i = 0; i < 100 && k.connection.isOpen; i++) await sleep(20);
  t.notOk(k.connection.isOpen);
  for (let i = 0; i < 50 && isAlive(runner); i++) await sleep(20);
  t.notOk(isAlive(runner));
});

t.test("the runner can't be traced, holds no environment of ours, and can't execute", async (t) => {
  const k = new Keeper({ MARK: "x" });
  t.teardown(() => k.stop());
  await k.wait("runner.ready");
  const status = readFileSync(`/proc/${k.runnerPid()}/status`, "utf8");
  t.match(status, /NoNewPrivs:\t1/);
  t.match(status, /Seccomp:\t2/);
  t.match(status, /Seccomp_filters:\t[2-9]/);
});

t.test("without its descriptors it does not start", async (t) => {
  const { file, args } = selfExec();
  const child = spawn(file, [...args, "role", "runner"], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (d: Buffer) => (said += d));
  const code = await new Promise((resolve) => child.once("exit", resolve));
  t.equal(code, 2);
  t.match(said, /started by sallyport itself/);
});

t.test("a self-test that fails: ready says why, and no Op runs", async (t) => {
  const script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"';
  const k = new Keeper({}, ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]);
  t.teardown(() => k.stop());
  const ready = await k.wait("runner.ready");
  t.equal(ready.ok, false);
  t.match(
    ready.checks.find((c) => !c.ok),
    { name: "set up a sandbox", detail: /max_user_namespaces/ },
  );
  k.order("r-never", ["/bin/true"]);
  const finished = await k.wait("run.finished", "r-never");
  t.match(finished, { outcome: "launch_failed", detail: /self-test failed.*max_user_namespaces/ });
  t.strictSame(k.types("r-never"), ["run.finished"]);
});

t.test("by default no Op runs where no cgroup bounds it", async (t) => {
  // A mount namespace in which no cgroup hierarchy is mounted.
  const script = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"';
  const alone = ["--mount", ...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"])];
  for (const options of [
    [],
    ["--limits", "required", "--runtimes", "/nonexistent", "--engine", "native", "--resources", "[]"],
    ["--limits", "best-effort", "--runtimes", "/nonexistent", "--engine", "native", "--resources", "[]"],
  ]) {
    const k = new Keeper({}, ["unshare", ...alone, "sh", "-c", script, "sh"], options);
    t.teardown(() => k.stop());
    const ready = await k.wait("runner.ready");
    const isAllowed = options[1] === "best-effort";
    t.match(ready, { ok: isAllowed, cgroup: "none" });
    t.equal(ready.degraded.filter((d) => /^limits: best-effort/.test(d)).length, isAllowed ? 1 : 0);
    if (!isAllowed)
      t.match(
        ready.checks.filter((c) => !c.ok),
        [{ name: "limits", detail: /delegated group.*limits: best-effort in sallyport.yaml/ }],
      );
    k.order("r-bounded", ["/bin/true"]);
    const finished = await k.wait("run.finished", "r-bounded");
    if (isAllowed) t.match(finished, { outcome: "exited", exit: 0, limitedBy: "best-effort", processes: 1 });
    else t.match(finished, { outcome: "launch_failed", limitedBy: null, detail: /limits: no cgroup bounds/ });
  }
});
