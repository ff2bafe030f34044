import t from "tap";
import { Access } from "../../src/keeper/access.ts";
import { type Caller, hostCaller } from "../../src/keeper/callers.ts";
import { confirmLink, requestLink, showLink } from "../../src/keeper/linking.ts";
import { addGrant } from "../../src/store/grants.ts";
import { queryLog } from "../../src/store/log-query.ts";
import type { Store } from "../../src/store/store.ts";
import { addHostAccount, addUser } from "../../src/store/users.ts";
import { withPolicies } from "../core/authorizer-rig.ts";
import { codeOf, scratch } from "../store/scratch.ts";

const MINUTE = 60_000;
let uid = 1000;
let clock = Date.now();

/** People who come from host accounts of their own; an hour after the one before, so that no earlier wrong code counts. */
async function people(
  t: Parameters<typeof scratch>[0],
  ...names: string[]
): Promise<{ o: { store: Store; access: Access }; callers: Caller[] }> {
  clock += 61 * MINUTE;
  const store = await scratch(t).open(true, () => clock);
  const access = new Access({ store, authorizer: withPolicies(""), now: () => clock });
  const callers: Caller[] = [];
  for (const name of names) {
    const account = { uid: uid++, loginUid: null };
    await store.mutate(async (tx) => {
      tx.unlogged("test");
      const { id } = await addUser(tx, { name });
      await addHostAccount(tx, { uid: account.uid, login: name, userId: id });
      if (name === "root")
        await addGrant(tx, { role: "admin", namespace: "*", subject: { kind: "user", id } });
    });
    callers.push(await hostCaller(store.read, account));
  }
  return { o: { store, access }, callers };
}

const identity = (user: string) => ({ enterprise: null, team: "T0ACME0001", user });
async function entries(store: Store, type: string): Promise<Record<string, unknown>[]> {
  const rows = await queryLog(store.read, { type, order: "asc" });
  return rows.map((row) => JSON.parse(row.entry.toString("utf8")) as Record<string, unknown>);
}

t.test("ten minutes", async (t) => {
  const { o, callers } = await people(t, "root", "erin");
  const made = await requestLink(o.store, identity("U0ERIN0001"), clock);
  const show = () => showLink({ ...o, now: clock }, callers[0]!, made, "erin");
  clock += 10 * MINUTE - 1;
  t.match((await show()).link, { identity: identity("U0ERIN0001") }, "valid up to the last moment");
  clock += 2;
  t.equal(await codeOf(show()), "not_found", "and then no more");
});

t.test("one's own code, and nobody else's", async (t) => {
  const { o, callers } = await people(t, "root", "erin", "frank");
  const [root, erin, frank] = callers as [Caller, Caller, Caller];
  const made = await requestLink(o.store, identity("U0ERIN0001"), clock);
  for (const whom of ["erin", "root", "nobody"]) {
    await t.rejects(
      showLink({ ...o, now: clock }, frank, made, whom),
      { code: "denied" },
      `shown for ${whom}`,
    );
    await t.rejects(
      confirmLink({ ...o, now: clock }, frank, made, whom),
      { code: "denied" },
      `linked to ${whom}`,
    );
  }
  t.equal((await entries(o.store, "authz.denied")).length, 6, "an event each");
  await confirmLink({ ...o, now: clock }, erin, made, "erin");
  t.equal(await codeOf(showLink({ ...o, now: clock }, erin, made, "erin")), "not_found", "once");
  const other = await requestLink(o.store, identity("U0FRANK001"), clock);
  await confirmLink({ ...o, now: clock }, root, other, "frank");
  t.match(await entries(o.store, "link.confirmed"), [
    { policy: "own-link", data: { user: erin.id, slackUser: "U0ERIN0001" } },
    { policy: "admin-link", data: { user: frank.id, slackUser: "U0FRANK001" } },
  ]);
});

t.test("side by side there are no more guesses than one after another", async (t) => {
  const { o, callers } = await people(t, "erin", "frank");
  const [erin, frank] = callers as [Caller, Caller];
  const made = await requestLink(o.store, identity("U0ERIN0001"), clock);
  const guess = (code: string) => codeOf(showLink({ ...o, now: clock }, erin, code, "erin"));
  const many = await Promise.all(Array.from({ length: 20 }, (_, i) => guess(`0000-${1000 + i}`)));
  t.equal(many.filter((code) => code === "not_found").length, 3);
  t.equal(many.filter((code) => code === "slow_down").length, 17);
  t.equal(await guess(made), "slow_down", "and the right one has to wait");
  const failed = () => entries(o.store, "link.failed");
  t.match(
    (await failed()).map(({ reason, data }) => [reason, data]),
    [
      ...Array.from({ length: 3 }, () => [/unknown, used or expired/, { tries: 1 }]),
      [/throttled/, { tries: 1 }],
    ],
    "an event each; of those that had to wait one",
  );
  t.equal(
    await codeOf(showLink({ ...o, now: clock }, frank, made, "frank")),
    "resolved",
    "others are not held up by it, and their codes not burnt",
  );
  clock += MINUTE;
  t.equal(await guess("0000-0000"), "not_found", "a try when the time has passed");
  t.equal(await guess("0000-0000"), "slow_down");
  t.match((await failed()).at(-1), { reason: /throttled/, data: { tries: 18 } }, "with those left out");
});

t.test("who has linked starts afresh, who was only shown a code does not", async (t) => {
  const { o, callers } = await people(t, "erin");
  const erin = callers[0]!;
  const made = await requestLink(o.store, identity("U0ERIN0001"), clock);
  const show = (code: string) => codeOf(showLink({ ...o, now: clock }, erin, code, "erin"));
  t.same([await show("0000-0000"), await show("0000-0001")], ["not_found", "not_found"]);
  t.equal(await show(made), "resolved");
  t.equal(await show("0000-0002"), "not_found");
  t.equal(await show("0000-0003"), "slow_down");
  clock += 1000;
  await confirmLink({ ...o, now: clock }, erin, made, "erin");
  for (let i = 0; i < 3; i++) t.equal(await show(`0000-000${i}`), "not_found");
  t.equal(await show("0000-0003"), "slow_down");
});
