import t from "tap";
import {
  channelKindOf,
  checkName,
  identityKey,
  isChannelId,
  isSlackUserId,
  isTeamId,
  type NameKind,
  parseOpRef,
  parseSlackIdentity,
} from "../../src/core/identity.ts";

const refused = (detail = /./) => ({ code: "input_invalid", detail });

t.test("an identity is its ids; what else Slack sends counts for nothing", async (t) => {
  const full = { enterprise: "E012AB", team: "T012AB", user: "U012AB" };
  t.same(parseSlackIdentity({ ...full, name: "root", display_name: "alice", email: "a@b" }), full);
  for (const enterprise of [undefined, null, ""]) {
    t.equal(parseSlackIdentity({ team: "T01", user: "W01", enterprise }).enterprise, null);
  }
  for (const other of [{ enterprise: null }, { enterprise: "E9ZZ" }, { team: "T9ZZ" }, { user: "W012AB" }])
    t.not(identityKey(full), identityKey({ ...full, ...other }));
  t.equal(identityKey(full), "E012AB/T012AB/U012AB");
  t.equal(identityKey({ ...full, enterprise: null }), "-/T012AB/U012AB");
});

t.test("what is no identity", async (t) => {
  const bad: unknown[] = [
    null,
    "U01",
    {},
    { team: "T01" },
    { team: null, user: "U01" },
    { team: "t01", user: "U01" },
    { team: "E01", user: "U01" },
    { team: "T01", user: "B01" },
    { team: "T01", user: "u01" },
    { team: "T01", user: "U01 " },
    { team: "T01", user: "U01\n" },
    { team: "T01/U02", user: "U01" },
    { team: "T01", user: ["U01"] },
    { team: "T01", user: `U${"0".repeat(40)}` },
    { team: "T01", user: "U٠١٢" },
    { team: "T01", user: "U01", enterprise: "T01" },
    { team: "T01", user: "U01", enterprise: 0 },
  ];
  for (const value of bad) t.throws(() => parseSlackIdentity(value), refused(), JSON.stringify(value));
});

t.test("ids", async (t) => {
  t.ok(isTeamId("T0123") && isSlackUserId("W0123") && isChannelId("G0123"));
  for (const id of ["#general", "general", "C", "c0123", "C0123/..", 5, null])
    t.notOk(isChannelId(id), String(id));
  t.same(["C012", "D012", "G012"].map(channelKindOf), ["channel", "dm", "group"]);
  t.throws(() => channelKindOf("general"), refused());
});

t.test("names", async (t) => {
  const good: [NameKind, string][] = [
    ["user", "ann.lee-2_x"],
    ["namespace", "web"],
    ["op", "re_start-2"],
    ["secret", "DEPLOY_KEY"],
    ["input", "dry_run"],
    ["policy", "no-prod"],
  ];
  for (const [kind, name] of good) t.equal(checkName(kind, name), name);
  const kinds = good.map(([kind]) => kind);
  for (const kind of [...kinds, "group", "resource"] as const) {
    for (const name of [
      "",
      "é",
      "a b",
      "a/b",
      "..",
      "-a",
      "_a",
      "1a",
      "a\n",
      "a\0",
      "а",
      "x".repeat(65),
      null,
      5,
      {},
    ]) {
      t.throws(() => checkName(kind, name), refused(), `${kind} ${JSON.stringify(name)}`);
    }
  }
  for (const kind of ["user", "namespace", "op", "input"] as const)
    t.throws(() => checkName(kind, "Web"), refused());
  t.throws(() => checkName("secret", "key"), refused());
  t.throws(
    () => checkName("user", "a\u001b[2J\u202e"),
    refused(/^"a\\u001b\[2J\\u\{202e\}" is no user name/),
  );
});

t.test("names of Ops", async (t) => {
  t.same(parseOpRef("web/restart"), { namespace: "web", name: "restart" });
  t.same(parseOpRef("restart"), { namespace: null, name: "restart" });
  for (const ref of ["", "/", "web/", "/x", "a/b/c", "../x", "Web/x", "*/x", null])
    t.throws(() => parseOpRef(ref), refused());
});

t.test(
  "where an organisation is served, its own id may stand in a workspace's place, and no other",
  async (t) => {
    const member = { enterprise: "E0CORP0001", team: "E0CORP0001", user: "W0ALICE001" };
    t.same(parseSlackIdentity(member), member);
    t.equal(identityKey(member), "E0CORP0001/E0CORP0001/W0ALICE001");
    for (const enterprise of ["E0EVIL0001", null, ""])
      t.throws(() => parseSlackIdentity({ ...member, enterprise }), { code: "input_invalid" });
  },
);
