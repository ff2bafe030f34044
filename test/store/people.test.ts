import { randomBytes } from "node:crypto";
import t from "tap";
import { addGrant, applianceAdmins, listGrants, principal, removeGrant } from "../../src/store/grants.ts";
import { addGroup, addMember, listGroups, listMembers, removeMember } from "../../src/store/groups.ts";
import { addIdentity, listIdentities, removeIdentity, userByIdentity } from "../../src/store/identities.ts";
import {
  countWrongLink,
  createLink,
  LINK_TRIES,
  openLink,
  pruneLinks,
  useLink,
} from "../../src/store/links.ts";
import {
  addChannel,
  addNamespace,
  listChannels,
  listNamespaces,
  removeChannel,
} from "../../src/store/namespaces.ts";
import type { Store, Tx } from "../../src/store/store.ts";
import {
  addHostAccount,
  addUser,
  getUser,
  listHostAccounts,
  listUsers,
  setUserStatus,
  userByName,
  userByUid,
} from "../../src/store/users.ts";
import { codeOf, scratch, userAdded } from "./scratch.ts";

/** A logged mutation; what is logged is not this test's matter. */
function change<T>(store: Store, fn: (tx: Tx) => Promise<T>): Promise<T> {
  return store.mutate((tx) => {
    tx.log(userAdded("x"));
    return fn(tx);
  });
}

t.test("users and host accounts", async (t) => {
  const store = await scratch(t).open(true, () => 1000);
  const ada = await change(store, (tx) => addUser(tx, { name: "ada" }));
  const bob = await change(store, (tx) => addUser(tx, { name: "bob" }));
  t.match(ada, { id: /^u-[0-9a-f]{24}$/, name: "ada", status: "active", created: 1000 });
  t.equal(await codeOf(change(store, (tx) => addUser(tx, { name: "ada" }))), "conflict");
  t.equal(await codeOf(change(store, (tx) => addUser(tx, { name: "No Name" }))), "input_invalid");
  t.same(await getUser(store.read, ada.id), ada);
  t.same(await userByName(store.read, "bob"), bob);
  t.same(await listUsers(store.read), [ada, bob]);
  t.same(await listUsers(store.read, { after: "ada", limit: 1 }), [bob]);
  await change(store, (tx) => setUserStatus(tx, ada.id, "disabled"));
  t.match(await userByName(store.read, "ada"), { status: "disabled" });
  t.equal(await codeOf(change(store, (tx) => setUserStatus(tx, "u-none", "disabled"))), "not_found");

  await change(store, (tx) => addHostAccount(tx, { uid: 0, login: "root", userId: ada.id }));
  await change(store, (tx) => addHostAccount(tx, { uid: 4_000_000_000, login: "ada", userId: ada.id }));
  const taken = change(store, (tx) => addHostAccount(tx, { uid: 0, login: "root", userId: bob.id }));
  t.equal(await codeOf(taken), "conflict");
  const nobody = change(store, (tx) => addHostAccount(tx, { uid: 5, login: "x", userId: "u-none" }));
  t.equal(await codeOf(nobody), "not_found");
  t.match(await userByUid(store.read, 4_000_000_000), { id: ada.id });
  t.equal(await userByUid(store.read, 1), undefined);
  t.equal((await listHostAccounts(store.read)).length, 2);
  t.same(await listHostAccounts(store.read, bob.id), []);
});

t.test("a Slack identity is one user's, with or without an enterprise", async (t) => {
  const store = await scratch(t).open(true);
  const ada = await change(store, (tx) => addUser(tx, { name: "ada" }));
  const bob = await change(store, (tx) => addUser(tx, { name: "bob" }));
  const plain = { enterprise: null, team: "T1", user: "U1" };
  const grid = { enterprise: "E1", team: "T1", user: "U1" };
  await change(store, (tx) => addIdentity(tx, plain, ada.id));
  t.equal(await codeOf(change(store, (tx) => addIdentity(tx, plain, bob.id))), "conflict");
  t.equal(await codeOf(change(store, (tx) => addIdentity(tx, plain, ada.id))), "conflict");
  t.equal(await userByIdentity(store.read, grid), undefined, "another enterprise is another identity");
  await change(store, (tx) => addIdentity(tx, grid, bob.id));
  t.match(await userByIdentity(store.read, plain), { name: "ada" });
  t.match(await userByIdentity(store.read, grid), { name: "bob" });
  t.match(await listIdentities(store.read), [
    { ...plain, userId: ada.id },
    { ...grid, userId: bob.id },
  ]);
  t.match(await listIdentities(store.read, bob.id), [grid]);
  const sister = { ...grid, team: "T0SISTER01" };
  t.match(await userByIdentity(store.read, sister), { name: "bob" }, "one id throughout an organisation");
  t.equal(await codeOf(change(store, (tx) => addIdentity(tx, sister, ada.id))), "conflict", "and one user");
  const second = { enterprise: null, team: "T0OTHER001", user: "U0ADAWORK1" };
  await change(store, (tx) => addIdentity(tx, second, ada.id));
  t.equal((await listIdentities(store.read, ada.id)).length, 2, "a user may have several");
  for (const one of [plain, second]) t.match(await userByIdentity(store.read, one), { name: "ada" });
  t.equal(await change(store, (tx) => removeIdentity(tx, plain)), true);
  t.equal(await userByIdentity(store.read, plain), undefined);
  t.ok(await userByIdentity(store.read, grid), "the other one stays");
});

t.test("link codes: once, for a while, few tries", async (t) => {
  let now = 1000;
  const store = await scratch(t).open(true, () => now);
  const make = (user: string, codeHash = randomBytes(32)) => {
    const identity = { enterprise: null, team: "T1", user };
    return change(store, (tx) =>
      createLink(tx, { codeHash, identity, display: "Ada", expires: now + 600_000 }),
    );
  };
  const first = randomBytes(32);
  const link = await make("U1", first);
  t.match(link, {
    identity: { enterprise: null, team: "T1", user: "U1" },
    display: "Ada",
    tries: 0,
    used: null,
  });
  t.same(await openLink(store.read, first, now), link);
  t.equal(await openLink(store.read, randomBytes(32), now), undefined);
  const second = randomBytes(32);
  await make("U1", second);
  t.equal(await openLink(store.read, first, now), undefined, "asked for again, the earlier one is worthless");
  const open = await openLink(store.read, second, now);
  const id = open?.id ?? 0;
  const both = await Promise.all([1, 2].map(() => codeOf(change(store, (tx) => useLink(tx, id)))));
  t.same(both.sort(), ["conflict", "resolved"], "used once");
  t.equal(await openLink(store.read, second, now), undefined);

  const third = randomBytes(32);
  await make("U3", third);
  for (let i = 1; i < LINK_TRIES; i++) t.equal(await change(store, countWrongLink), 1);
  t.ok(await openLink(store.read, third, now));
  t.equal(await change(store, countWrongLink), 0, "and dead at the last try");
  t.equal(await openLink(store.read, third, now), undefined);

  const fourth = randomBytes(32);
  const expiring = await make("U4", fourth);
  now += 600_000;
  t.equal(await openLink(store.read, fourth, now), undefined);
  t.equal(await codeOf(change(store, (tx) => useLink(tx, expiring.id))), "conflict", "expired");
  t.ok((await store.mutate((tx) => pruneLinks(tx, now + 1))) >= 3);
});

t.test("groups, namespaces, grants and what follows from them", async (t) => {
  const store = await scratch(t).open(true);
  const ada = await change(store, (tx) => addUser(tx, { name: "ada" }));
  const bob = await change(store, (tx) => addUser(tx, { name: "bob" }));
  const ops = await change(store, (tx) => addGroup(tx, { name: "ops" }));
  const idle = await change(store, (tx) => addGroup(tx, { name: "idle" }));
  t.equal(await codeOf(change(store, (tx) => addGroup(tx, { name: "ops" }))), "conflict");
  for (const group of [ops, idle]) await change(store, (tx) => addMember(tx, group.id, bob.id));
  t.equal(await codeOf(change(store, (tx) => addMember(tx, ops.id, bob.id))), "conflict");
  t.equal(await codeOf(change(store, (tx) => addMember(tx, ops.id, "u-none"))), "not_found");
  t.match(await listMembers(store.read, ops.id), [{ name: "bob" }]);
  t.equal((await listGroups(store.read)).length, 2);

  await change(store, (tx) => addNamespace(tx, { name: "web" }));
  t.equal(await codeOf(change(store, (tx) => addNamespace(tx, { name: "web" }))), "conflict");
  t.equal(await codeOf(change(store, (tx) => addNamespace(tx, { name: "*" }))), "input_invalid");
  await change(store, (tx) => addChannel(tx, "web", "C1"));
  t.equal(await codeOf(change(store, (tx) => addChannel(tx, "web", "C1"))), "conflict");
  t.equal(await codeOf(change(store, (tx) => addChannel(tx, "db", "C1"))), "not_found");
  t.same(await listChannels(store.read, "web"), ["C1"]);
  t.match(await listNamespaces(store.read), [{ name: "web", anyChannel: false }]);
  t.equal(await change(store, (tx) => removeChannel(tx, "web", "C1")), true);

  const admin = { role: "admin", namespace: "*", subject: { kind: "user", id: ada.id } } as const;
  const runner = { role: "runner", namespace: "web", subject: { kind: "group", id: ops.id } } as const;
  t.equal((await applianceAdmins(store.read)).length, 0);
  for (const grant of [admin, runner]) await change(store, (tx) => addGrant(tx, grant));
  for (const grant of [admin, runner]) {
    t.equal(await codeOf(change(store, (tx) => addGrant(tx, grant))), "conflict");
  }
  t.equal(await codeOf(change(store, (tx) => addGrant(tx, { ...runner, namespace: "db" }))), "not_found");
  const nobody = { ...admin, subject: { kind: "user", id: "u-none" } } as const;
  t.equal(await codeOf(change(store, (tx) => addGrant(tx, nobody))), "not_found");
  t.strictSame(await applianceAdmins(store.read), [], "none without an account on the host");
  await change(store, (tx) => addHostAccount(tx, { uid: 77, login: "ada", userId: ada.id }));
  t.strictSame(await applianceAdmins(store.read), [ada.id]);
  t.match(await listGrants(store.read), [
    { role: "admin", namespace: "*", subject: { kind: "user", name: "ada" } },
    { role: "runner", namespace: "web", subject: { kind: "group", name: "ops" } },
  ]);
  t.equal((await listGrants(store.read, { namespace: "web", subject: runner.subject })).length, 1);

  t.same(await principal(store.read, ada.id), {
    id: ada.id,
    name: "ada",
    disabled: false,
    roles: [{ role: "admin", namespace: "*" }],
    groups: [],
  });
  const seen = await principal(store.read, bob.id);
  t.same(seen?.roles, []);
  t.same(
    seen?.groups.sort((a, b) => (a.name < b.name ? -1 : 1)),
    [
      { name: "idle", roles: [] },
      { name: "ops", roles: [{ role: "runner", namespace: "web" }] },
    ],
  );
  t.equal(await principal(store.read, "u-none"), undefined);

  const byGroup = { ...admin, subject: { kind: "group", id: ops.id } } as const;
  await change(store, (tx) => addGrant(tx, byGroup));
  await change(store, (tx) => addHostAccount(tx, { uid: 78, login: "bob", userId: bob.id }));
  t.equal((await applianceAdmins(store.read)).length, 2, "one through a group");
  await change(store, (tx) => setUserStatus(tx, ada.id, "disabled"));
  t.equal((await applianceAdmins(store.read)).length, 1, "a disabled one does not count");
  t.equal(await change(store, (tx) => removeGrant(tx, byGroup)), true);
  t.equal(await change(store, (tx) => removeGrant(tx, byGroup)), false);
  t.equal(await change(store, (tx) => removeMember(tx, idle.id, bob.id)), true);
});
