import t from "tap";
import { encodeBundle, openBundle } from "../../src/core/bundle.ts";
import { manifestToJson } from "../../src/core/manifest.ts";
import { newRunId } from "../../src/core/run.ts";
import { Access } from "../../src/keeper/access.ts";
import { type Caller, hostCaller } from "../../src/keeper/callers.ts";
import { audit } from "../../src/keeper/commands/audit.ts";
import type { CommandContext } from "../../src/keeper/commands/command.ts";
import { WithBytes } from "../../src/keeper/commands/command.ts";
import { policies as policyCommands } from "../../src/keeper/commands/policies.ts";
import { runs as runCommands } from "../../src/keeper/commands/runs.ts";
import type { Session } from "../../src/keeper/session.ts";
import { dispatchSlack } from "../../src/keeper/slack-commands.ts";
import { addGrant } from "../../src/store/grants.ts";
import { addGroup, addMember } from "../../src/store/groups.ts";
import { addIdentity } from "../../src/store/identities.ts";
import { addChannel, addNamespace } from "../../src/store/namespaces.ts";
import { activateVersion, publishVersion } from "../../src/store/ops.ts";
import { createRun, getRun, moveRun } from "../../src/store/runs.ts";
import { addHostAccount, addUser } from "../../src/store/users.ts";
import { withPolicies } from "../core/authorizer-rig.ts";
import { codeOf, scratch } from "../store/scratch.ts";

/**
 * Who sees what of the log and of the runs, on every surface: each person against each row, by a rule that is written here anew.
 * You see the log of what you may run; a namespace's admin all of it; an appliance admin all.
 */

t.setTimeout(120_000);
const TEAM = "T0ACME0001";
const OPS = ["web/one", "web/two", "db/one", "db/three"] as const;
/** Of web alone; web/two is narrowed to one of them. */
const [WEB, NARROW, ELSEWHERE] = ["C0WEB00001", "C0NARROW01", "C0OTHER001"] as const;
type Role = "admin" | "coder" | "runner";
const PEOPLE: Record<string, [Role, string][]> = {
  root: [["admin", "*"]],
  allrun: [["runner", "*"]],
  webadmin: [["admin", "web"]],
  webcoder: [["coder", "web"]],
  webrun: [["runner", "web"]],
  dbgroup: [],
  both: [
    ["runner", "web"],
    ["admin", "db"],
  ],
  former: [],
  nobody: [],
};
/** More than is looked through before each place is asked. */
const BUSY = 1100;

const store = await scratch(t).open(true);
const access = new Access({ store, authorizer: withPolicies(""), now: Date.now });
const callers = new Map<string, Caller>();
const ids = new Map<string, string>();
const allRuns: { id: string; op: string; by: string }[] = [];
const slackId = (name: string) => `U0${name.toUpperCase()}`;

await store.mutate(async (tx) => {
  tx.unlogged("test");
  for (const name of ["web", "db"]) await addNamespace(tx, { name });
  for (const channel of [WEB, NARROW]) await addChannel(tx, "web", channel);
  let uid = 1000;
  const group = await addGroup(tx, { name: "dbas" });
  for (const [name, roles] of Object.entries(PEOPLE)) {
    const { id } = await addUser(tx, { name });
    ids.set(name, id);
    await addHostAccount(tx, { uid: uid++, login: name, userId: id });
    await addIdentity(tx, { enterprise: null, team: TEAM, user: slackId(name) }, id);
    for (const [role, namespace] of roles)
      await addGrant(tx, { role, namespace, subject: { kind: "user", id } });
    if (name === "dbgroup") await addMember(tx, group.id, id);
  }
  await addGrant(tx, { role: "runner", namespace: "db", subject: { kind: "group", id: group.id } });
  for (const op of OPS) {
    const [namespace = "", name = ""] = op.split("/");
    const channels = op === "web/two" ? `channels: [${NARROW}]\n` : "";
    const yaml = `op: ${op}\nsummary: s\nrun: ["/bin/true"]\n${channels}`;
    const bundle = encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(yaml) }]);
    const { digest, manifest } = openBundle(bundle);
    const made = { namespace, name, digest, manifest: manifestToJson(manifest), bundle };
    const by = { uid: 1000, loginUid: null };
    const userId = ids.get("root") ?? "";
    const { number } = await publishVersion(tx, { ...made, ...by, publisher: userId });
    await activateVersion(tx, { namespace, name, number, ...by, userId });
  }
});
/** Finished runs, each with its two entries. */
async function ran(op: string, by: string, count = 1): Promise<void> {
  const [namespace = "", name = ""] = op.split("/");
  const requester = ids.get(by) ?? "";
  await store.mutate(async (tx) => {
    const version = await tx.get<{ digest: string }>(
      "SELECT digest FROM op_versions WHERE namespace = ? AND name = ?",
      [namespace, name],
    );
    for (let i = 0; i < count; i++) {
      const id = newRunId();
      const made = { id, namespace, op: name, version: 1, digest: version?.digest ?? "", args: "{}" };
      await createRun(tx, { ...made, requester, source: "tty" });
      await moveRun(tx, id, { from: "requested", to: "denied" });
      const about = { actor: { kind: "user", id: requester, name: "" }, run: id, op, namespace } as const;
      tx.log({ type: "run.requested", outcome: "success", ...about });
      tx.log({ type: "run.finished", outcome: "denied", ...about, data: { state: "denied" } });
      allRuns.push({ id, op, by });
    }
  });
  // A run's id sorts by its time, in ms.
  await new Promise((resolve) => setTimeout(resolve, 2));
}
for (const op of OPS) for (const by of ["root", "former", "webrun"]) await ran(op, by);
await store.mutate((tx) => {
  const actor = { kind: "user", id: ids.get("root") ?? "", name: "" } as const;
  for (const namespace of ["web", "db"]) {
    tx.log({ type: "namespace.changed", outcome: "success", actor, namespace, data: { change: "add" } });
    tx.log({ type: "role.granted", outcome: "success", actor, namespace, data: { role: "runner" } });
  }
  tx.log({ type: "user.added", outcome: "success", actor, data: { user: "u-1" } });
  tx.log({ type: "role.granted", outcome: "success", actor, data: { role: "admin" } });
});
// So much of others that a page of the newest holds nothing else.
for (let i = 0; i < BUSY; i += 100) await ran("db/three", "root", 100);
allRuns.sort((a, b) => (a.id < b.id ? -1 : 1));

let uid = 1000;
for (const name of Object.keys(PEOPLE))
  callers.set(name, await hostCaller(store.read, { uid: uid++, loginUid: null }));
const waiting = [{ view: { row: await getRun(store.read, allRuns.at(-1)?.id ?? "") } }];
const session = {
  store,
  access,
  now: Date.now,
  team: async () => ({ enterprise: null, team: TEAM, org: false }),
  // As if these waited to be approved: who is not asked must not see them for that.
  runs: { waiting: () => waiting },
} as unknown as Session;
/** A command of the admin socket, by somebody. */
const told = (
  handler: ((context: CommandContext<never>) => Promise<unknown>) | undefined,
  name: string,
  params: object,
) => (handler === undefined ? Promise.reject(new Error("no such command")) : handler(on(name, params)));
const on = (name: string, params: object) =>
  ({ session, caller: callers.get(name), params, parts: [] }) as unknown as CommandContext<never>;

// ---- the rule, once more --------------------------------------------------------------------------------------------
const rolesOf = (name: string): [Role, string][] =>
  name === "dbgroup" ? [["runner", "db"]] : (PEOPLE[name] ?? []);
const has = (name: string, namespace: string, admin: boolean) =>
  rolesOf(name).some(
    ([role, where]) => (where === "*" || where === namespace) && (!admin || role === "admin"),
  );
const isRoot = (name: string) => rolesOf(name).some(([role, where]) => role === "admin" && where === "*");
const isHere = (op: string, channel: string | null) =>
  channel === null ||
  op.startsWith("db/") ||
  (op === "web/two" ? channel === NARROW : [WEB, NARROW].includes(channel as never));
const namespaceOf = (op: string) => op.split("/")[0] ?? "";
type Row = { namespace?: string | undefined; op?: string | undefined };
function readsEntry(name: string, { namespace, op }: Row, channel: string | null): boolean {
  if (namespace === undefined) return isRoot(name) && channel === null;
  if (op === undefined)
    return (
      has(name, namespace, true) && (channel === null || namespace === "db" || isHere("web/one", channel))
    );
  return has(name, namespace, false) && isHere(`${namespace}/${op}`, channel);
}
const seesRun = (name: string, run: { op: string; by: string }) =>
  has(name, namespaceOf(run.op), false) || run.by === name;

type Line = { seq: number; name: string | null; entry: Row & { type: string; run?: string } };
const logOf = async (name: string, params: object): Promise<Line[]> =>
  ((await told(audit["audit.log"], name, params)) as { entries: Line[] }).entries;
/** What is refused on the way is logged too: only what was there before is compared. */
const all = await logOf("root", { limit: 1000 });
while (all[0]?.seq) all.unshift(...(await logOf("root", { limit: 1000, before: all[0].seq })));
const last = all.at(-1)?.seq ?? 0;

t.test("the log on the host: no row too many, none too few", async (t) => {
  t.ok(all.length >= 2 * BUSY + 24 + 6, "the admin of the appliance reads all");
  for (const name of Object.keys(PEOPLE)) {
    const expected = all.filter(({ entry }) => readsEntry(name, entry, null));
    const read = async (params: object) => logOf(name, { before: last + 1, limit: 1000, ...params });
    if (expected.length === 0) {
      t.equal(await codeOf(read({})), "denied", `${name} reads nothing`);
      for (const filter of [{ op: "web/one" }, { namespace: "web" }, { op: "one" }, { person: "root" }])
        t.equal(await codeOf(read(filter)), "denied", `${name} ${JSON.stringify(filter)}`);
      continue;
    }
    const seqs = (lines: readonly Line[]) => lines.map(({ seq }) => seq);
    t.same(seqs(await read({})), seqs(expected.slice(-1000)), `${name} reads ${expected.length} entries`);
    for (const limit of [1, 5, 20])
      t.same(seqs(await read({ limit })), seqs(expected.slice(-limit)), `${name}: the last ${limit}`);
    const before = expected.at(-3)?.seq ?? 0;
    t.same(
      seqs(await read({ before, limit: 7 })),
      seqs(expected.filter(({ seq }) => seq < before).slice(-7)),
      `${name}: the page before`,
    );
    const filters: [object, (line: Line) => boolean][] = [
      [{ type: "run.finished" }, ({ entry }) => entry.type === "run.finished"],
      [{ type: "role.granted" }, ({ entry }) => entry.type === "role.granted"],
      [{ op: "one" }, ({ entry }) => entry.op === "one"],
      [{ op: "web/two" }, ({ entry }) => entry.namespace === "web" && entry.op === "two"],
      [{ namespace: "db" }, ({ entry }) => entry.namespace === "db"],
      [
        { outcome: "denied", namespace: "web" },
        ({ entry }) => entry.namespace === "web" && entry.type === "run.finished",
      ],
      [{ person: "former" }, ({ entry }) => allRuns.find(({ id }) => id === entry.run)?.by === "former"],
      [{ run: allRuns[0]?.id }, ({ entry }) => entry.run === allRuns[0]?.id],
      [{ run: allRuns.at(-1)?.id }, ({ entry }) => entry.run === allRuns.at(-1)?.id],
    ];
    for (const [filter, keeps] of filters) {
      const what = `${name} ${JSON.stringify(filter)}`;
      const wanted = expected.filter(keeps);
      const said = await read(filter).catch((error: { code: string }) => error.code);
      if (said === "denied") t.same(wanted, [], `${what}: refused, as nothing is theirs`);
      else t.same(seqs(said as Line[]), seqs(wanted.slice(-1000)), what);
    }
  }
});

t.test("what is not there and what is not theirs are one answer", async (t) => {
  const said = async (name: string, params: object) =>
    logOf(name, params).then(
      () => "answered",
      (error: Error) => error.message,
    );
  for (const [theirs, none] of [
    [{ op: "db/one" }, { op: "db/none" }],
    [{ op: "db/one" }, { op: "no/one" }],
    [{ namespace: "db" }, { namespace: "no" }],
  ] as const) {
    const [a, b] = [await said("webrun", theirs), await said("webrun", none)];
    const bare = (text: string) => text.replaceAll(/\b(db|no)(\/(one|none))?\b/g, "X");
    t.equal(bare(a), bare(b), JSON.stringify(none));
  }
  for (const person of ["no-such", "nobody"])
    t.same(await logOf("webrun", { person, before: last + 1 }), [], person);
  t.match(await said("root", { person: "no-such" }), /User no-such/, "an admin is told of the typing error");
  t.match(await said("root", { namespace: "no" }), /Namespace no/);
});

t.test("runs list: whole pages of what may be seen", async (t) => {
  const newest = allRuns.toReversed();
  for (const name of Object.keys(PEOPLE)) {
    const visible = newest.filter((run) => seesRun(name, run)).map(({ id }) => id);
    const list = async (params: object) =>
      (
        (await told(runCommands["run.list"], name, params)) as { runs: { run: string; op: string }[] }
      ).runs.map(({ run }) => run);
    t.same(await list({ limit: 1000 }), visible.slice(0, 1000), `${name} sees ${visible.length} runs`);
    t.same(await list({}), visible.slice(0, 50), `${name}: a page`);
    t.same(await list({ limit: 3 }), visible.slice(0, 3));
    const at = visible[2];
    if (at !== undefined)
      t.same(await list({ limit: 4, before: at }), visible.slice(3, 7), `${name}: the page before`);
    t.same(await list({ limit: 4, before: allRuns[0]?.id }), [], "before the first there is none");
  }
});

t.test(
  "one run, on the host and in Slack: shown to whom it may be, and to others as one that is not there",
  async (t) => {
    const some = allRuns.slice(0, 12);
    for (const name of Object.keys(PEOPLE)) {
      for (const run of some) {
        const what = `${name}: ${run.op} of ${run.by}`;
        const show = runCommands["run.show"]?.(on(name, { run: run.id })) ?? Promise.resolve();
        const shown = await show.catch((error: Error) => error.message);
        if (seesRun(name, run)) t.ok(shown instanceof WithBytes, what);
        else t.equal(shown, `There is nothing of that name. Run ${run.id}.`, what);
        for (const channel of [WEB, NARROW, ELSEWHERE]) {
          const { text, policy } = await asked(name, channel, `show ${run.id}`);
          if (!seesRun(name, run)) {
            t.equal(text, `There is nothing of that name. Run ${run.id}.`, `${what} in ${channel}`);
            t.equal(policy, "hidden");
          } else if (isHere(run.op, channel)) t.match(text, run.op, `${what} in ${channel}`);
          else t.match(text, /This channel|does not name this channel/, `${what}: why not in ${channel}`);
        }
      }
      const { text } = await asked(name, WEB, "show r-0000000000000000");
      t.equal(text, "There is nothing of that name. Run r-0000000000000000.");
    }
  },
);

t.test(
  "why a run was decided as it was: for who administers its namespace, and one refusal for all others",
  async (t) => {
    for (const name of Object.keys(PEOPLE)) {
      const said = async (run: string) =>
        told(policyCommands["policy.explain"], name, { run }).then(
          () => "answered",
          (error: Error) => error.message,
        );
      const none = await said("r-0000000000000000");
      for (const { id, op } of allRuns.slice(0, 12)) {
        if (has(name, namespaceOf(op), true)) continue;
        t.equal(await said(id), none, `${name}: ${op}`);
        t.match(none, /^Refused\./);
      }
    }
  },
);

t.test("/ops log: only what is theirs and of this channel", async (t) => {
  for (const name of Object.keys(PEOPLE)) {
    for (const channel of [WEB, NARROW, ELSEWHERE]) {
      const { text } = await asked(name, channel, "log");
      const shown = [...text.matchAll(/^\S+Z (\S+) (\S+)/gm)].map(([, where]) => where ?? "");
      const rows = all.filter(({ entry }) => readsEntry(name, entry, channel));
      // Refusals of this test are entries too, so what is shown is held against the rule and not against a list.
      for (const where of shown) {
        const [namespace, op] = where.split("/");
        t.ok(readsEntry(name, { namespace, op }, channel), `${name} in ${channel}: ${where}`);
      }
      t.equal(shown.length > 0, rows.length > 0, `${name} in ${channel}: ${shown.length} rows`);
      if (rows.length === 0) t.match(text, /Nothing is logged here that you may read\.$/);
      for (const op of OPS) {
        const text = (await asked(name, channel, `log ${op}`)).text;
        const may = readsEntry(name, { namespace: namespaceOf(op), op: op.split("/")[1] }, channel);
        t.match(text, may ? new RegExp(`Z ${op} `) : /^Refused/, `${name} in ${channel}: log ${op}`);
      }
    }
  }
});

async function asked(
  name: string,
  channel: string,
  text: string,
): Promise<{ text: string; policy: string | null }> {
  const before = store.log.size();
  const answer = await dispatchSlack(session, {
    type: "slack.request",
    id: "q-1",
    dedupe: "envelope:1",
    trigger: null,
    surface: "slash",
    identity: { enterprise: null, team: TEAM, user: slackId(name) },
    channel: { id: channel, kind: "public" },
    thread: null,
    text,
    action: null,
    retry: 0,
    receivedAt: 0,
    standing: "member",
  }).catch((error: Error) => ({ outcome: "error", document: { summary: error.message, blocks: [] } }));
  const rows = store.log.size() > before ? await store.log.query({ limit: 1 }) : [];
  const entry = rows[0] && (JSON.parse(rows[0].entry.toString("utf8")) as { policy?: string });
  const words = (value: unknown): string[] =>
    typeof value === "string"
      ? [value]
      : typeof value === "object" && value !== null
        ? Object.values(value).flatMap(words)
        : [];
  const document = answer.document as { summary: string; blocks: unknown[] } | null;
  return {
    text: document?.blocks.length === 0 ? document.summary : words(document?.blocks ?? []).join("\n"),
    policy: entry?.policy ?? null,
  };
}
