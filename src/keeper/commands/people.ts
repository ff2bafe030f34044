import { SallyportError } from "../../core/errors.ts";
import { checkName, identityKey, type SlackIdentity } from "../../core/identity.ts";
import { principal } from "../../store/grants.ts";
import {
  addGroup,
  addMember,
  groupByName,
  listGroups,
  listMembers,
  removeMember,
} from "../../store/groups.ts";
import { listIdentities } from "../../store/identities.ts";
import { enrolledSince } from "../../store/totp.ts";
import type { Reader, Tx } from "../../store/tx.ts";
import {
  addHostAccount,
  addUser,
  type HostAccount,
  listHostAccounts,
  listUsers,
  removeHostAccount,
  setUserStatus,
  type UserRow,
  userByName,
} from "../../store/users.ts";
import { lockedOutBy } from "../admins.ts";
import type { Caller } from "../callers.ts";
import { confirmLink, showLink, unlink } from "../linking.ts";
import type { Session } from "../session.ts";
import type { CommandContext, Handlers } from "./command.ts";

const APPLIANCE = { kind: "appliance" } as const;
const DISABLED = "The user who asked for it was disabled.";

export const people: Handlers = {
  "user.add": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const name = checkName("user", params.name);
    return session.store.mutate(async (tx) => {
      const user = await addUser(tx, { name });
      if (params.hostUid !== undefined) {
        const login = params.login ?? String(params.hostUid);
        await mapAccount(tx, caller, { uid: params.hostUid, login, userId: user.id });
      }
      tx.log({
        type: "user.added",
        outcome: "success",
        actor: caller.actor,
        data: { user: user.id },
      });
      return { user: user.name };
    });
  },
  "user.list": async ({ session, caller }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const users = await listUsers(session.store.read, { limit: 1000 });
    return { users: await Promise.all(users.map((user) => describe(session.store.read, user))) };
  },
  "user.show": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    return describe(session.store.read, await existing(session.store.read, params.name));
  },
  "user.disable": async (context) => {
    const { session, caller, params } = context;
    const { user, ...answer } = await setStatus(context, "disabled");
    const kill = params.runs === "kill";
    // What of theirs waits for people is withdrawn by the look at all that waits which follows each command.
    const runs = await session.runs.endOf(user.id, { by: caller, kill, reason: DISABLED });
    return { user: user.name, ...answer, runs };
  },
  "user.enable": async (context) => {
    const { user, ...answer } = await setStatus(context, "active");
    return { user: user.name, ...answer };
  },
  "user.host-account": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const user = await existing(session.store.read, params.name);
    if (params.action === "add") {
      const { uid, login } = params;
      await session.store.mutate((tx) => mapAccount(tx, caller, { uid, login, userId: user.id }));
      return { user: user.name, uid };
    }
    return session.store.mutate(async (tx) => {
      const accounts = await listHostAccounts(tx, user.id);
      const account = accounts.find(({ uid, login }) => [login, String(uid)].includes(params.login));
      if (account === undefined) throw notTheirs(user, params.login, accounts);
      const { uid } = account;
      await removeHostAccount(tx, uid);
      await keepAnAdmin(session, tx);
      tx.log({
        type: "user.host_account",
        outcome: "success",
        actor: caller.actor,
        data: { user: user.id, uid, removed: true },
      });
      return { user: user.name, uid };
    });
  },

  "link.show": async ({ session, caller, params }) => {
    const { store, access } = session;
    const userName = params.user ?? caller.principal.name;
    const { link, user } = await showLink(
      { store, access, now: session.now() },
      caller,
      params.code,
      userName,
    );
    return shown(user.name, link.identity);
  },
  link: async ({ session, caller, params }) => {
    const { store, access } = session;
    const link = await confirmLink({ store, access, now: session.now() }, caller, params.code, params.user);
    return shown(params.user, link.identity);
  },
  unlink: async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const all = await listIdentities(session.store.read);
    const found = all.filter((i) => i.user === params.slackUser && (params.team ?? i.team) === i.team);
    if (found[0] === undefined) throw new SallyportError("not_found", "That Slack account is not linked.");
    if (found.length > 1)
      throw new SallyportError(
        "input_invalid",
        `${params.slackUser} is linked in several workspaces; name one with --team.`,
      );
    const { enterprise, team, user } = found[0];
    await unlink(session.store, session.access, caller, { enterprise, team, user });
    return { unlinked: identityKey({ enterprise, team, user }) };
  },

  "group.add": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const name = checkName("group", params.name);
    return session.store.mutate(async (tx) => {
      await addGroup(tx, { name });
      tx.log({ type: "group.added", outcome: "success", actor: caller.actor, data: { group: name } });
      return { group: name };
    });
  },
  "group.list": async ({ session, caller }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const groups = await listGroups(session.store.read);
    return {
      groups: await Promise.all(
        groups.map(async (group) => ({
          name: group.name,
          members: (await listMembers(session.store.read, group.id)).map((user) => user.name),
        })),
      ),
    };
  },
  "group.member": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const group = await groupByName(session.store.read, params.group);
    if (group === undefined) throw new SallyportError("not_found", `Group ${params.group}.`);
    const user = await existing(session.store.read, params.user);
    return session.store.mutate(async (tx) => {
      if (params.action === "add") await addMember(tx, group.id, user.id);
      else if (!(await removeMember(tx, group.id, user.id))) {
        throw new SallyportError("not_found", `${user.name} is not in ${group.name}.`);
      }
      await keepAnAdmin(session, tx);
      tx.log({
        type: params.action === "add" ? "group.member_added" : "group.member_removed",
        outcome: "success",
        actor: caller.actor,
        data: { group: group.name, user: user.id },
      });
      return { group: group.name, user: user.name };
    });
  },
};

function shown(user: string, { enterprise, team, user: slackUser }: SlackIdentity): unknown {
  return { user, enterprise, team, slackUser };
}

async function setStatus(
  { session, caller, params }: CommandContext<"user.disable" | "user.enable">,
  status: "active" | "disabled",
): Promise<{ user: UserRow; status: UserRow["status"] }> {
  await session.access.demand(caller, "administer", APPLIANCE);
  const user = await existing(session.store.read, params.name);
  return session.store.mutate(async (tx) => {
    await setUserStatus(tx, user.id, status);
    await keepAnAdmin(session, tx);
    tx.log({
      type: status === "disabled" ? "user.disabled" : "user.enabled",
      outcome: "success",
      actor: caller.actor,
      data: { user: user.id },
    });
    return { user, status };
  });
}

async function mapAccount(
  tx: Tx,
  { actor }: Caller,
  account: { uid: number; login: string; userId: string },
): Promise<void> {
  await addHostAccount(tx, account);
  const data = { user: account.userId, uid: account.uid, removed: false };
  tx.log({ type: "user.host_account", outcome: "success", actor, data });
}

function notTheirs(user: UserRow, login: string, accounts: readonly HostAccount[]): SallyportError {
  const theirs = accounts.map((account) => `${account.login} (${account.uid})`).join(", ") || "none";
  return new SallyportError(
    "not_found",
    `${login} is no host account of ${user.name}'s; theirs are: ${theirs}.`,
  );
}

/** Throws `conflict` where the change leaves nobody who could undo it: roles, host accounts and policies together. */
export async function keepAnAdmin({ access, now }: Session, reader: Reader): Promise<void> {
  if ((await lockedOutBy(access.authorizer, reader, now())) === null) return;
  throw new SallyportError(
    "conflict",
    "That would leave the appliance without an admin who can reach it: enabled, with an account on this host, and not forbidden by a policy.",
  );
}

export async function existing(reader: Reader, name: string): Promise<UserRow> {
  const user = await userByName(reader, name);
  if (user === undefined)
    throw new SallyportError("not_found", `User ${name}. Add it with: sallyport user add ${name}`);
  return user;
}

async function describe(reader: Reader, user: UserRow): Promise<unknown> {
  const [identities, accounts, who, totp] = await Promise.all([
    listIdentities(reader, user.id),
    listHostAccounts(reader, user.id),
    principal(reader, user.id),
    enrolledSince(reader, user.id),
  ]);
  return {
    name: user.name,
    status: user.status,
    slack: identities.map(({ enterprise, team, user: id }) => ({ enterprise, team, user: id })),
    totp: totp !== null,
    hostUids: accounts.map((account) => account.uid),
    hostAccounts: accounts.map(({ uid, login }) => ({ uid, login })),
    roles: who?.roles ?? [],
    groups: who?.groups.map((group) => group.name) ?? [],
  };
}
