import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { roleConfinement } from "../../src/cli/role-confinement.ts";
import { harden } from "../../src/host/harden.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { program, until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";
import { plainSite } from "../sandbox/support/site.ts";
import { GOOD_HOST } from "./host-facts.ts";

t.setTimeout(FILE_TIMEOUT);

/** The real keeper and the real notary; the test is the supervisor, and a gateway and a runner that were taken over. */
class Rig extends Box {
  #handover = -1;
  #notify: Socket | undefined;
  readonly #children: ChildProcess[] = [];

  async start(): Promise<void> {
    for (const dir of ["run", "log"]) mkdirSync(join(this.dir, dir), { mode: 0o711 });
    const [ours, theirs] = harden().socketpair();
    const [handover, keepers] = harden().socketpair();
    const [state = "", run = "", log = ""] = ["state", "run", "log"].map((name) => join(this.dir, name));
    const { args } = roleConfinement("keeper", plainSite({ state, run, log }));
    this.#role("keeper", args, { SALLYPORT_NOTIFY_FD: theirs, SALLYPORT_HANDOVER_FD: keepers });
    this.#notify = new Socket({ fd: ours, readable: true, writable: true });
    this.#notify.on("error", () => undefined);
    this.#handover = handover;
    await new Promise((resolve) => this.#notify?.once("data", resolve));
    const [end, notarys] = harden().socketpair();
    this.#role("notary", ["--dir", join(this.stateDir, "notary")], { SALLYPORT_PEER_FD: notarys });
    this.#give("notary", end);
    await until(
      async () => (await this.status()).roles.notary,
      10_000,
      () => this.log,
    );
  }

  async json<T>(command: "status" | "doctor"): Promise<T> {
    return (await callKeeper(this.runDir, command, {})) as T;
  }

  #role(name: string, args: readonly string[], fds: Record<string, number>): void {
    const [file = "", ...self] = program();
    const given = Object.values(fds);
    const env = Object.fromEntries(Object.keys(fds).map((key, i) => [key, String(3 + i)]));
    const child = spawn(file, [...self, "role", name, ...args], {
      env: { ...this.env, ...env },
      stdio: ["ignore", "ignore", "pipe", ...given],
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      this.log += chunk.toString();
    });
    for (const fd of given) harden().closeFd(fd);
    this.#children.push(child);
  }

  #give(role: string, end: number): void {
    harden().sendFds(this.#handover, Buffer.from(role), [end]);
    this.#notify?.write(".");
    harden().closeFd(end);
  }

  /** A connection that the keeper takes for this role's. */
  async peer(role: "gateway" | "runner"): Promise<{
    send: (what: object | Buffer) => void;
    /** What the keeper sent so far. */
    heard: () => string;
    ended: Promise<void>;
  }> {
    const [ours, theirs] = harden().socketpair();
    this.#give(role, theirs);
    const socket = new Socket({ fd: ours, readable: true, writable: true });
    socket.on("error", () => undefined);
    let heard = "";
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
    });
    const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    await until(async () => (await this.status()).roles[role], 15_000);
    const send = (what: object | Buffer) => {
      for (const bytes of Buffer.isBuffer(what) ? [what] : encodeFrame(what)) socket.write(bytes);
    };
    return { send, heard: () => heard, ended };
  }

  override async stop(): Promise<void> {
    this.#notify?.destroy();
    for (const child of this.#children)
      if (child.exitCode === null && child.signalCode === null) {
        child.kill("SIGKILL");
        await new Promise((resolve) => child.once("exit", resolve));
      }
    await super.stop();
  }
}

type Report = { ok: boolean; checks: { name: string; ok: boolean; warn?: true; detail: string }[] };
const HELLO = { type: "role.hello", version: "0", pid: 1, landlock: "abi=7" };
const FINISHED = {
  type: "run.finished",
  run: "r-abcdefgh",
  outcome: "exited",
  exit: 0,
  signal: null,
  detail: null,
  durationMs: 1,
  cpuMs: 1,
  userMs: 0,
  systemMs: 0,
  peakMemoryBytes: 0,
  processes: 1,
  limitedBy: "cgroup v2",
  outputBytes: 0,
  truncated: false,
  denied: [],
};
const ACKED = { type: "slack.acked", id: "e1", accepted: true };
const SIGNED = { type: "notary.signed", size: 1, checkpoint: "x" };

const rig = new Rig();
t.teardown(() => rig.stop());

t.test("sealed: a gateway or runner that speaks out of turn is cut off, and that is kept", async (t) => {
  await rig.init();
  await rig.start();
  for (const [role, message] of [
    ["gateway", ACKED],
    ["runner", FINISHED],
  ] as const) {
    const peer = await rig.peer(role);
    peer.send(HELLO);
    peer.send(message);
    await peer.ended;
    await until(async () => !(await rig.status()).roles[role], 15_000);
    t.match(rig.log, new RegExp(`${message.type} is not allowed while sealed`), role);
  }
  const spool = readFileSync(join(rig.stateDir, "sealed-spool.jsonl"), "utf8");
  t.equal(spool.split("wire_violation").length, 3);
});

t.test("unlocked: the two are in the log", async (t) => {
  await rig.unlock();
  t.equal((await rig.entries({ type: "wire.violation" })).length, 2);
});

const CASES: readonly [string, "gateway" | "runner", object | Buffer, RegExp][] = [
  ["a gateway as runner", "gateway", FINISHED, /gateway may not send run.finished/],
  ["a gateway as notary", "gateway", SIGNED, /gateway may not send notary.signed/],
  [
    "a gateway as admin",
    "gateway",
    { type: "ctl.request", id: 1, command: "lock", params: {} },
    /gateway may not/,
  ],
  ["a runner as gateway", "runner", ACKED, /runner may not send slack.acked/],
  [
    "a gateway that sends an order",
    "gateway",
    { type: "run.cancel", run: "r-abcd", reason: "lock" },
    /may not send/,
  ],
  ["a header without end", "gateway", Buffer.from([0xff, 0xff, 0xff, 0xff]), /header of 4294967295 bytes/],
  ["noise", "runner", Buffer.alloc(4096, 0x5a), /header of/],
];
for (const [name, role, message, reason] of CASES) {
  t.test(`${name} is cut off, and that is an event`, async (t) => {
    const peer = await rig.peer(role);
    peer.send(HELLO);
    await until(async () => (await rig.entries({ type: "role.started" })).length > 0, 15_000);
    peer.send(message);
    await peer.ended;
    const event = await rig.event(
      "wire.violation",
      (e) => e.data?.role === role && reason.test(e.reason ?? ""),
    );
    t.equal(event.entry.outcome, "denied");
    t.match(await rig.status(), { state: "unlocked", roles: { [role]: false } });
  });
}

t.test("a role without Landlock is told of", async (t) => {
  const peer = await rig.peer("gateway");
  const landlock = async () => (await rig.json<{ landlock: Record<string, unknown> }>("status")).landlock;
  t.match(await landlock(), { gateway: null }, "nothing is known before its hello");
  peer.send({ ...HELLO, landlock: "refused=EPERM" });
  await until(async () => (await landlock()).gateway !== null, 15_000);
  t.match(await landlock(), { gateway: "refused=EPERM", keeper: "absent" }, "and the keeper's own");
  const report = await rig.json<{ ok: boolean; checks: { name: string; ok: boolean; detail: string }[] }>(
    "doctor",
  );
  const checks = report.checks.filter(({ name }) => name.endsWith("Landlock"));
  t.notOk(report.ok);
  t.match(
    checks.find(({ name }) => name.startsWith("gateway")),
    {
      ok: false,
      detail: /^refused=EPERM: .*kernel of 5.13/,
    },
  );
});

t.test("what a host does not give Ops' sandboxes is told of", async (t) => {
  const peer = await rig.peer("runner");
  peer.send(HELLO);
  const checks = [{ name: "mount", ok: true, detail: "" }];
  const ready = { type: "runner.ready", ok: true, cgroup: "v2", degraded: ["Ops run without /proc"] };
  peer.send({ ...ready, checks, facts: GOOD_HOST });
  const sandbox = async () => (await rig.json<{ sandbox: string }>("status")).sandbox;
  await until(async () => (await sandbox()) !== "not tested yet", 15_000);
  t.equal(await sandbox(), "tested, limits by cgroup v2; degraded: Ops run without /proc");
  const asked = rig.json<Report>("doctor");
  await until(async () => peer.heard().includes("runner.test"), 15_000);
  // It has changed since: what is told is what holds now.
  peer.send({
    ...ready,
    checks: [{ ...checks[0], ok: false, detail: "it got out" }],
    ok: false,
    facts: { ...GOOD_HOST, smt: null },
  });
  const report = await asked;
  t.match(
    report.checks.filter(({ name }) => name.startsWith("sandbox")),
    [
      { name: "sandbox: mount", ok: false, detail: "it got out" },
      { name: "sandbox: degraded", ok: true, warn: true, detail: "Ops run without /proc" },
    ],
  );
  t.match(
    report.checks.find(({ name }) => name === "host: SMT"),
    { ok: true, warn: true },
  );
  t.match(
    report.checks.find(({ name }) => name === "host: kernel"),
    { ok: true, warn: undefined },
  );
  await until(async () => /failed: mount/.test(await sandbox()), 15_000);
  await until(async () => (await rig.entries({ type: "sandbox.selftest" })).length === 2, 15_000);
});

t.test("a runner that goes while it tests: doctor says so at once", async (t) => {
  const peer = await rig.peer("runner");
  peer.send(HELLO);
  const asked = rig.json<Report>("doctor");
  await until(async () => peer.heard().includes("runner.test"), 15_000);
  // What a runner may not say ends its connection.
  peer.send(ACKED);
  t.match(
    (await asked).checks.filter(({ name }) => name.startsWith("sandbox")),
    [{ name: "sandbox", ok: false, detail: /no runner is connected/ }],
  );
});

t.test("a newer connection of a role replaces the older one", async (t) => {
  const first = await rig.peer("gateway");
  await rig.peer("gateway");
  await first.ended;
  t.match(await rig.status(), { roles: { gateway: true } });
  t.ok(await rig.verifies());
});
