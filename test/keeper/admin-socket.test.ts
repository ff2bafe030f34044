import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import t from "tap";
import { encodeFrame, FrameReader } from "../../src/wire/frame.ts";
import { programForOthers, until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const OTHER = 65534;
const asOther = ["setpriv", `--reuid=${OTHER}`, `--regid=${OTHER}`, "--clear-groups"];
const isRoot = process.getuid?.() === 0;
const needsRoot = isRoot ? false : "another account can be tried only as root";

type Ran = { status: number | null; stderr: string };
function other(box: Box, command: readonly string[]): Promise<Ran> {
  const [file = "", ...args] = [...asOther, ...command];
  const child = spawn(file, args, { env: { ...box.env, HOME: "/" }, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return new Promise((resolve) => child.once("close", (status) => resolve({ status, stderr })));
}

const box = new Box();
t.teardown(() => box.stop());
const path = () => join(box.dir, "run/admin.sock");

/** Sends bytes to the admin socket; resolves when the keeper ended the connection, with what it had said. */
function raw(...frames: (object | Buffer)[]): { socket: Socket; replies: object[]; ended: Promise<void> } {
  const socket = connect(path());
  const replies: object[] = [];
  const reader = new FrameReader();
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => replies.push(...reader.push(chunk).map(({ header }) => header)));
  const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  for (const frame of frames)
    for (const bytes of Buffer.isBuffer(frame) ? [frame] : encodeFrame(frame)) socket.write(bytes);
  return { socket, replies, ended };
}

const HELLO = { type: "role.hello", version: "0", pid: 1, landlock: "abi=7" };
const REQUEST = {
  type: "slack.request",
  id: "e1",
  dedupe: "e1",
  trigger: null,
  surface: "slash",
  identity: { enterprise: null, team: "T1", user: "U1" },
  channel: null,
  thread: null,
  text: "run demo/hello",
  action: null,
  retry: 0,
  receivedAt: 0,
};
const spool = () => {
  try {
    return readFileSync(join(box.stateDir, "sealed-spool.jsonl"), "utf8");
  } catch {
    return "";
  }
};

t.test("sealed", async (t) => {
  await box.init();
  await box.serve();
  t.same(
    readdirSync(join(box.dir, "run")).sort(),
    ["admin.sock", "egress.sock", "lock"],
    "roles have no socket to connect to: runs hand their listeners over at egress.sock, which no role may connect to",
  );

  await t.test("another account is refused, and that is kept", { skip: needsRoot }, async (t) => {
    for (let i = 0; i < 2; i++) {
      const said = await other(box, [...programForOthers(), "status"]);
      t.equal(said.status, 3);
      t.match(said.stderr, /only the account that runs sallyport and root.*65534/);
    }
    t.equal(spool().split('"denied"').length, 2, "once, so that it can't fill the spool");
  });

  await t.test("what is no admin's message ends the connection, and is kept", async (t) => {
    await raw(HELLO).ended;
    await until(() => spool().includes("wire_violation"), 15_000);
    await raw(Buffer.from("GET / HTTP/1.1\r\n\r\n")).ended;
    await until(() => spool().split("wire_violation").length === 3, 15_000);
    await until(() => /ctl may not send role.hello to keeper/.test(box.log), 15_000);
    t.notMatch(spool(), /GET/, "nothing of what was sent is kept in clear");
    t.match(await box.status(), { state: "sealed", failedUnlocks: 0 }, "and it is no failed unlock");
  });
});

t.test("unlocked", async (t) => {
  await box.unlock();

  await t.test("what was kept while sealed is in the log now", async (t) => {
    const violations = await box.entries({ type: "wire.violation" });
    t.equal(violations.length, 2);
    t.match(violations[0]?.entry, { outcome: "denied", actor: { kind: "host" }, reason: /while sealed/ });
    if (isRoot)
      t.match((await box.event("authn.denied")).entry, {
        outcome: "denied",
        actor: { kind: "host", uid: OTHER },
        reason: /while sealed/,
      });
    t.equal(spool(), "");
  });

  await t.test("a process of the same account is no gateway", async (t) => {
    await raw(HELLO, REQUEST).ended;
    await box.event("wire.violation", (e) => e.reason?.includes("ctl may not send role.hello") === true);
    await raw(REQUEST).ended;
    const event = await box.event("wire.violation", (e) => e.reason?.includes("slack.request") === true);
    t.match(event.entry, { outcome: "denied", data: { role: "ctl" } });
    t.same(await box.entries({ type: "request.received" }), [], "and was not heard");
    t.match(await box.status(), { roles: { gateway: true } }, "the real one is still there");
  });

  await t.test("another account", { skip: needsRoot }, async (t) => {
    const refused = await other(box, [...programForOthers(), "runs"]);
    t.equal(refused.status, 3);
    t.match(refused.stderr, /Refused.*65534.*user add NAME --host-user/);
    const event = await box.event("authn.denied", (e) => e.reason?.includes("belongs to no user") === true);
    t.match(event.entry, {
      outcome: "denied",
      actor: { kind: "host", uid: OTHER },
      data: { surface: "tty" },
    });

    await box.ok(["user", "add", "eve", "--host-user", String(OTHER)]);
    t.equal((await other(box, [...programForOthers(), "runs"])).status, 0, "once it is a user's it is known");
    const lock = await other(box, [...programForOthers(), "lock"]);
    t.equal(lock.status, 3, "with no more than that user's rights");
    const denied = await box.event("authz.denied");
    t.match(denied, { name: "eve", entry: { outcome: "denied", actor: { kind: "user", uid: OTHER } } });
    await until(() => box.events.some((line) => line.includes('"authz.denied"')), 15_000);
    const line = JSON.parse(box.events.find((one) => one.includes('"authz.denied"')) ?? "{}");
    t.match(line, { related: { user: [String, `uid:${OTHER}`] }, sallyport: { account: { uid: OTHER } } });
    const own = await box.event("user.added", ({ actor }) => (actor as { kind: string }).kind === "user");
    t.match(own.entry.actor, { kind: "user", uid: process.getuid?.() }, "also of what was done");
    const loginUid = Number(readFileSync("/proc/self/loginuid", "utf8"));
    t.equal((own.entry.actor as { loginUid?: number }).loginUid, loginUid === 0xffffffff ? null : loginUid);
    await box.ok(["user", "disable", "eve"]);
    t.match(await other(box, [...programForOthers(), "runs"]), { status: 3, stderr: /disabled/ });
    await box.event("authn.denied", (e) => e.policy === "user_disabled");
  });

  await t.test("another account's idle connections keep nobody out", { skip: needsRoot }, async (t) => {
    const hold = `const n=require("net");for(let i=0;i<200;i++)n.connect(process.argv[1]).on("error",()=>{});setTimeout(()=>console.log("up"),300);setInterval(()=>{},1e4)`;
    const [file = "", ...args] = [...asOther, process.execPath, "-e", hold, path()];
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    t.match(await box.status(), { state: "unlocked" });
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
  });

  await t.test("an account that is nobody's gets little of the keeper", { skip: needsRoot }, async (t) => {
    const stranger = [`--reuid=65533`, "--regid=65533", "--clear-groups"];
    const script = `
      const net = require("net"), path = process.argv[1];
      const frame = (o) => { const j = Buffer.from(JSON.stringify(o)), l = Buffer.alloc(4); l.writeUInt32BE(j.length); return Buffer.concat([l, j]); };
      const ask = (id) => frame({ type: "ctl.request", id, command: "runs", params: {} });
      const open = (bytes) => new Promise((resolve) => {
        const s = net.connect(path); let got = 0;
        s.on("error", () => {}); s.on("data", (d) => { got += d.length; });
        s.on("close", () => resolve({ ended: true, got }));
        setTimeout(() => { resolve({ ended: false, got }); s.destroy(); }, 6000);
        s.write(bytes);
      });
      (async () => {
        const big = await open(frame({ type: "ctl.request", id: 1, command: "x".repeat(70000), params: {} }));
        const part = await open(frame({ type: "ctl.request", id: 1, command: "op.publish", params: {}, parts: [16777216] }));
        const many = await open(Buffer.concat([1, 2, 3, 4, 5, 6, 7, 8].map(ask)));
        const held = await Promise.all([1, 2, 3, 4].map(() => open(Buffer.alloc(0))));
        console.log(JSON.stringify({ big: big.ended, part: part.ended, many: many.ended, held: held.filter((h) => !h.ended).length }));
      })();`;
    const child = spawn("setpriv", [...stranger, process.execPath, "-e", script, path()], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString();
    });
    await new Promise((resolve) => child.once("close", resolve));
    t.same(JSON.parse(out), { big: true, part: true, many: true, held: 2 });
  });

  await t.test("a valid frame with a senseless command is an answer, and the connection stays", async (t) => {
    const ask = (id: number, command: string, params: object) => ({
      type: "ctl.request",
      id,
      command,
      params,
    });
    const end = raw(
      ask(1, "keeper.dump", {}),
      ask(2, "constructor", {}),
      ask(3, "user.add", { name: "x".repeat(65) }),
      ask(4, "user.add", { name: "bob", admin: true }),
      ask(5, "unlock", { kind: "passphrase" }),
      ask(6, "user.add", { name: "../bob" }),
      ask(7, "audit.log", { limit: 1e9 }),
      ask(8, "status", {}),
    );
    await until(
      () => end.replies.length === 8,
      15_000,
      () => JSON.stringify(end.replies),
    );
    const by = new Map(end.replies.map((reply) => [(reply as { id: number }).id, reply]));
    for (const id of [1, 2]) t.match(by.get(id), { ok: false, code: "usage" });
    for (const id of [3, 4, 5, 6, 7]) t.match(by.get(id), { ok: false, code: "input_invalid" });
    t.match(by.get(8), { ok: true });
    end.socket.destroy();
  });

  await t.test("half a frame and gone", async (t) => {
    const end = raw(Buffer.concat(encodeFrame(HELLO)).subarray(0, 9));
    end.socket.end();
    await end.ended;
    t.match(await box.status(), { state: "unlocked" });
  });

  t.ok(await box.verifies());
});
