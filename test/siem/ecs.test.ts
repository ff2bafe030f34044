import t from "tap";
import { CATALOGUE, type EventType } from "../../src/audit/catalogue.ts";
import { type AuditEvent, makeEntry } from "../../src/audit/event.ts";
import { ecsKind, entryLine } from "../../src/siem/ecs.ts";

type Line = Record<string, unknown> & { event: Record<string, unknown>; sallyport: Record<string, unknown> };

/** journald cuts lines here (LineMax= in journald.conf(5)). */
const JOURNALD_LINE = 48 * 1024;

function lineOf(event: AuditEvent, sequence = 7): { text: string; line: Line } {
  const entry = makeEntry(event, { now: new Date("2026-11-25T10:11:12.345Z") });
  const text = entryLine(entry.bytes, sequence, entry.leaf);
  return { text, line: JSON.parse(text) as Line };
}

t.test("what a SIEM asks of each event is there", async (t) => {
  for (const type of Object.keys(CATALOGUE) as EventType[]) {
    const { text, line } = lineOf({ type, outcome: "success", actor: { kind: "system" } } as AuditEvent);
    t.equal(text.indexOf("\n"), text.length - 1, `${type}: one line`);
    t.match(line, {
      "@timestamp": "2026-11-25T10:11:12.345Z",
      "ecs.version": String,
      service: { name: "sallyport", version: String },
      event: { action: type, outcome: "success", id: "7", sequence: 7, provider: "sallyport" },
    });
    const { category, type: kind, severity } = line.event;
    t.ok([category, kind].every((list) => Array.isArray(list) && list.length > 0));
    t.ok([1, 3, 4, 5].includes(severity as number));
  }
});

t.test("who, what, where and why of a refusal", async (t) => {
  const { line } = lineOf({
    type: "authz.denied",
    outcome: "denied",
    actor: { kind: "slack", enterprise: null, team: "T1", user: "U1" },
    run: "r-1",
    op: "web/restart",
    reason: "No policy allows it.",
    policy: "default-deny",
  });
  t.match(line, {
    event: { kind: "alert", outcome: "failure", reason: "No policy allows it." },
    user: { id: "T1/U1" },
    related: { user: ["T1/U1"] },
    process: { entity_id: "r-1" },
    rule: { id: "default-deny" },
    sallyport: { namespace: "web", op: "restart" },
  });
  t.equal(
    lineOf({ type: "log.heartbeat", outcome: "success", actor: { kind: "host", uid: 12, loginUid: 3 } }).line
      .user?.constructor,
    Object,
  );
});

t.test("who acted on the host: the user, and the account that the kernel told of", async (t) => {
  const by = (account: { uid: number; loginUid: number | null }) =>
    lineOf({
      type: "user.disabled",
      outcome: "success",
      actor: { kind: "user", id: "u-1", name: "Ada", account },
      data: { user: "u-2" },
    });
  const { line, text } = by({ uid: 0, loginUid: 1000 });
  t.match(line, {
    user: { id: "u-1" },
    related: { user: ["u-1", "uid:0", "uid:1000"] },
    sallyport: { user: "u-2", account: { uid: 0, login_uid: 1000 } },
  });
  t.notMatch(text, /Ada/, "no name");
  t.same(by({ uid: 7, loginUid: null }).line.sallyport.account, { uid: 7, login_uid: null });
  const host = lineOf({
    type: "appliance.unlocked",
    outcome: "success",
    actor: { kind: "host", uid: 12, loginUid: 3 },
  }).line;
  t.match(host, { user: { id: "uid:12" }, related: { user: ["uid:12", "uid:3"] } });
  t.same(host.sallyport.account, { uid: 12, login_uid: 3 });
  const slack = { kind: "slack", enterprise: null, team: "T1", user: "U1" } as const;
  t.notOk("account" in lineOf({ type: "log.heartbeat", outcome: "success", actor: slack }).line.sallyport);
});

t.test("an Op's connection, in ECS's own fields", async (t) => {
  const connection = (target: string, address: string | null) =>
    lineOf({
      type: "network.closed",
      outcome: "success",
      actor: { kind: "system" },
      run: "r-1",
      data: { target, address, bytesOut: 5, bytesIn: 7, durationMs: 9 },
    }).line;
  t.match(connection("ssh://db.test:22", "10.0.0.1"), {
    event: { category: ["network"], type: ["connection", "end"], duration: 9e6 },
    destination: { domain: "db.test", port: 22, ip: "10.0.0.1", bytes: 7 },
    source: { bytes: 5 },
    network: { direction: "egress" },
  });
  t.strictSame(connection("[fd00::1]:443", "fd00::1").destination, {
    port: 443,
    address: "fd00::1",
    ip: "fd00::1",
    bytes: 7,
  });
  t.strictSame(connection("", null).destination, { bytes: 7 });
});

t.test("a refused system call: what, and by which process of which run", async (t) => {
  const told = (data: Record<string, string | number | null>) =>
    lineOf({ type: "sandbox.denied", outcome: "denied", actor: { kind: "system" }, run: "r-1", data }).line;
  t.match(told({ call: "socket(AF_PACKET)", process: "main.sh", pid: 4 }), {
    event: { kind: "alert", outcome: "failure" },
    process: { entity_id: "r-1", pid: 4, name: "main.sh" },
    sallyport: { call: "socket(AF_PACKET)" },
  });
  t.same(told({ call: "mount", process: null, pid: null }).process, { entity_id: "r-1" });
});

t.test("a run's end has its exit status", async (t) => {
  const ended = (data: { exit?: number; durationMs: number }) =>
    lineOf({ type: "run.finished", outcome: "success", actor: { kind: "system" }, run: "r-1", data }).line;
  t.match(ended({ exit: 0, durationMs: 3 }), {
    process: { entity_id: "r-1", exit_code: 0 },
    event: { duration: 3e6 },
  });
  t.same(ended({ durationMs: 3 }).process, { entity_id: "r-1" });
});

t.test("an event that this version does not know is a line all the same", async (t) => {
  t.same(ecsKind("run.invented").category, "process");
  t.same(ecsKind("invented.thing"), { category: "host", types: ["info"] });
});

t.test("the hash is the entry's leaf in the log", async (t) => {
  const event: AuditEvent = { type: "log.heartbeat", outcome: "success", actor: { kind: "system" } };
  const entry = makeEntry(event);
  const line = JSON.parse(entryLine(entry.bytes, 0, entry.leaf)) as Line;
  t.equal(line.event.hash, entry.leaf.toString("hex"));
});

t.test("the largest entry fits a line of journald, and no text breaks the line", async (t) => {
  const long = "\u0000\n\u2028\u{1f600}".repeat(20_000);
  const { text } = lineOf({
    type: "authz.denied",
    outcome: "denied",
    actor: { kind: "system" },
    reason: long,
    policy: long,
    op: long,
    namespace: long,
  });
  t.equal(text.split("\n").length, 2);
  t.ok(Buffer.byteLength(text) < JOURNALD_LINE, `${Buffer.byteLength(text)} bytes`);
});
