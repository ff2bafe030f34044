import t from "tap";
import { type AuditEvent, makeEntry } from "../../src/audit/event.ts";
import { cefLine } from "../../src/siem/cef.ts";
import { ocsfLine } from "../../src/siem/ocsf.ts";
import { ocsfKind } from "../../src/siem/ocsf-kinds.ts";
import { entryOf } from "./examples.ts";
import { cefFields } from "./schemas.ts";

/** OCSF and CEF: what they say of an event, and what a text from outside can do to a line. */

const cefOf = (event: AuditEvent): string => {
  const { bytes, leaf } = entryOf(event);
  return cefLine(bytes, 7, leaf, "ops1");
};
const ocsfOf = (event: AuditEvent) => {
  const { bytes, leaf } = entryOf(event);
  return JSON.parse(ocsfLine(bytes, 7, leaf, "ops1"));
};

const refusal: AuditEvent = {
  type: "authz.denied",
  outcome: "denied",
  actor: { kind: "slack", enterprise: null, team: "T1", user: "U1" },
  op: "web/restart",
  reason: "No policy allows it.",
  policy: "default-deny",
  data: { action: "run", surface: "slash" },
};

t.test("CEF: header, own keys and ours", async (t) => {
  const line = cefOf(refusal);
  t.match(line, /^CEF:0\|sallyport\|sallyport\|[^|]+\|authz\.denied\|authz denied\|5\|rt=1795601472345 /);
  t.strictSame(
    Object.fromEntries(cefFields(line.trimEnd())),
    {
      rt: "1795601472345",
      dvchost: "ops1",
      externalId: "7",
      cat: "api",
      act: "denied",
      outcome: "failure",
      suid: "T1/U1",
      reason: "No policy allows it.",
      cs2Label: "op",
      cs2: "web/restart",
      cs3Label: "namespace",
      cs3: "web",
      cs4Label: "policy",
      cs4: "default-deny",
      cs5Label: "hash",
      cs5: entryOf(refusal).leaf.toString("hex"),
      sallyportAction: "run",
      sallyportSurface: "slash",
    },
    "and nothing that is not known",
  );
});

t.test("CEF: a text from outside is one value, whatever is in it", async (t) => {
  for (const text of [
    "a=b suid=admin",
    "x\noutcome=success",
    "\\",
    "ends in \\",
    "\\= \\n",
    "|7|suid=admin",
    "\r\n\r\n",
    "\u001b[2J\u0007\u202e",
    "",
  ]) {
    const line = cefOf({ ...refusal, reason: text });
    t.equal(line.indexOf("\n"), line.length - 1, JSON.stringify(text));
    const found = cefFields(line.trimEnd());
    t.equal(found.get("suid"), "T1/U1");
    t.equal(found.get("outcome"), "failure");
    t.equal(found.size, 18);
    if (!/[\r\u001b]/.test(text)) t.equal(found.get("reason"), text);
    t.notMatch(line.trimEnd(), /[\u0000-\u001f\u007f-\u009f\u202e]/);
  }
});

t.test("a connection, in both", async (t) => {
  const event: AuditEvent = {
    type: "network.refused",
    outcome: "denied",
    actor: { kind: "user", id: "u-1", name: "Ada" },
    run: "r-1",
    op: "web/restart",
    data: {
      target: "ssh://db.test:22",
      address: "192.0.2.1",
      bytesOut: 5,
      bytesIn: 7,
      durationMs: 9,
      count: 1,
    },
  };
  t.match(ocsfOf(event), {
    type_uid: 400105,
    action_id: 2,
    duration: 9,
    src_endpoint: { svc_name: "web/restart" },
    dst_endpoint: { hostname: "db.test", ip: "192.0.2.1", port: 22 },
    connection_info: { direction_id: 2 },
    traffic: { bytes_in: 7, bytes_out: 5 },
    actor: { user: { uid: "u-1" } },
    unmapped: { run: "r-1" },
  });
  const fields = Object.fromEntries(cefFields(cefOf(event).trimEnd()));
  t.match(fields, { dst: "192.0.2.1", dhost: "db.test", dpt: "22", in: "7", out: "5", act: "denied" });
  t.notMatch(`${JSON.stringify(ocsfOf(event))}${cefOf(event)}`, /Ada/, "no name");
});

t.test("who acted under which account of the host, and from where", async (t) => {
  const of = (actor: AuditEvent["actor"], data: { surface?: string } = {}) =>
    ocsfOf({ type: "authz.denied", outcome: "denied", actor, data });
  const account = { uid: 0, loginUid: 1000 };
  t.match(of({ kind: "user", id: "u-1", name: "Ada", account }), {
    actor: { user: { uid: "u-1", uid_alt: "uid:0" } },
    src_endpoint: { svc_name: "terminal" },
  });
  t.match(of({ kind: "user", id: "u-1", name: "Ada" }), { src_endpoint: { svc_name: "slack" } });
  t.match(of({ kind: "user", id: "u-1", name: "Ada" }, { surface: "tty" }), {
    src_endpoint: { svc_name: "terminal" },
  });
  t.match(of({ kind: "host", uid: 7, loginUid: null }), { actor: { user: { uid: "uid:7" } } });
  t.match(of({ kind: "system" }), { actor: { app_name: "sallyport" } });
});

t.test("the hash is the entry's leaf in the log, in both", async (t) => {
  const hash = entryOf(refusal).leaf.toString("hex");
  t.equal(ocsfOf(refusal).unmapped.hash, hash);
  t.equal(cefFields(cefOf(refusal).trimEnd()).get("cs5"), hash);
});

t.test("an event that this version does not know is a line all the same", async (t) => {
  t.match(ocsfKind("run.invented"), { classUid: 1007, activityId: 99, activityName: "Change" });
  t.match(ocsfKind("invented.thing"), { classUid: 6002, activityId: 99 });
});

t.test("the largest entry fits a line of journald", async (t) => {
  const long = "\u0000\n=\\\u2028\u{1f600}".repeat(20_000);
  const entry = makeEntry({ ...refusal, reason: long, policy: long, op: long, namespace: long });
  for (const line of [ocsfLine, cefLine]) {
    const text = line(entry.bytes, 0, entry.leaf);
    t.equal(text.split("\n").length, 2);
    t.ok(Buffer.byteLength(text) < 48 * 1024, `${Buffer.byteLength(text)} bytes`);
  }
});
