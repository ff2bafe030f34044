import { SallyportError } from "../../core/errors.ts";
import { ANY_NAMESPACE, checkName, isChannelId } from "../../core/identity.ts";
import { addGrant, listGrants, removeGrant } from "../../store/grants.ts";
import { groupByName } from "../../store/groups.ts";
import {
  addChannel,
  addNamespace,
  listChannels,
  listNamespaces,
  removeChannel,
  setNamespaceEngine,
  setTwoPersonPublish,
} from "../../store/namespaces.ts";
import type { Reader } from "../../store/tx.ts";
import { userByName } from "../../store/users.ts";
import type { CommandParams } from "../../wire/ctl.ts";
import type { CommandContext, Handlers } from "./command.ts";
import { keepAnAdmin } from "./people.ts";

const APPLIANCE = { kind: "appliance" } as const;

export const rights: Handlers = {
  "role.grant": (context) => change(context, "grant"),
  "role.revoke": (context) => change(context, "revoke"),
  "role.list": async ({ session, caller, params }) => {
    await demandGrant({ session, caller }, params.namespace ?? ANY_NAMESPACE);
    const grants = await listGrants(
      session.store.read,
      params.namespace === undefined ? {} : { namespace: params.namespace },
    );
    return {
      grants: grants.map(({ role, namespace, subject }) => ({
        role,
        namespace,
        subject: subject.name,
        kind: subject.kind,
      })),
    };
  },

  "namespace.add": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const name = checkName("namespace", params.name);
    return session.store.mutate(async (tx) => {
      await addNamespace(tx, { name });
      tx.log({ type: "namespace.added", outcome: "success", actor: caller.actor, namespace: name });
      return { namespace: name };
    });
  },
  "namespace.list": async ({ session, caller }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const rows = await listNamespaces(session.store.read);
    return {
      namespaces: await Promise.all(
        rows.map(async (row) => ({
          name: row.name,
          engine: row.engine,
          twoPersonPublish: row.twoPersonPublish,
          channels: await listChannels(session.store.read, row.name),
        })),
      ),
    };
  },
  "namespace.channel": async ({ session, caller, params }) => {
    await session.access.demandNamespace(caller, "administer", params.namespace);
    const namespace = await session.access.namespace(session.store.read, params.namespace);
    if (!isChannelId(params.channel)) {
      throw new SallyportError(
        "input_invalid",
        `"${params.channel}" is no channel id; in Slack: channel details, at the very bottom.`,
      );
    }
    return session.store.mutate(async (tx) => {
      if (params.action === "add") await addChannel(tx, namespace.name, params.channel);
      else if (!(await removeChannel(tx, namespace.name, params.channel))) {
        throw new SallyportError("not_found", `${params.channel} is no channel of ${namespace.name}.`);
      }
      const channels = await listChannels(tx, namespace.name);
      tx.log({
        type: "namespace.changed",
        outcome: "success",
        actor: caller.actor,
        namespace: namespace.name,
        data: { channel: params.channel, change: params.action, anyChannel: channels.length === 0 },
      });
      return { namespace: namespace.name, channel: params.channel, channels };
    });
  },
  "namespace.two-person": async ({ session, caller, params }) => {
    const { namespace: name, on } = params;
    await session.access.demandNamespace(caller, "administer", name);
    return session.store.mutate(async (tx) => {
      await setTwoPersonPublish(tx, name, on);
      tx.log({
        type: "namespace.two_person_publish",
        outcome: "success",
        actor: caller.actor,
        namespace: name,
        data: { on },
      });
      return { namespace: name, twoPersonPublish: on };
    });
  },
  "namespace.engine": async ({ session, caller, params }) => {
    const { namespace: name, engine } = params;
    await session.access.demandNamespace(caller, "administer", name);
    return session.store.mutate(async (tx) => {
      await setNamespaceEngine(tx, name, engine);
      tx.log({
        type: "namespace.changed",
        outcome: "success",
        actor: caller.actor,
        namespace: name,
        data: { engine: engine ?? "default", change: "engine" },
      });
      return { namespace: name, engine };
    });
  },
};

async function demandGrant(
  { session, caller }: Pick<CommandContext<"role.grant">, "session" | "caller">,
  namespace: string,
): Promise<void> {
  if (namespace === ANY_NAMESPACE) {
    await session.access.demand(caller, "grant", APPLIANCE);
    return;
  }
  await session.access.demandNamespace(caller, "grant", namespace);
}

async function change(
  { session, caller, params }: CommandContext<"role.grant"> | CommandContext<"role.revoke">,
  action: "grant" | "revoke",
): Promise<unknown> {
  const { role, namespace } = params;
  const { read } = session.store;
  await demandGrant({ session, caller }, namespace);
  const { kind, id } = await subjectOf(read, params.subject);
  const { name } = params.subject;
  return session.store.mutate(async (tx) => {
    const grant = { role, namespace, subject: { kind, id } };
    if (action === "grant") await addGrant(tx, grant);
    else if (!(await removeGrant(tx, grant)))
      throw new SallyportError("not_found", `${name} is not ${role} of ${namespace}.`);
    await keepAnAdmin(session, tx);
    tx.log({
      type: action === "grant" ? "role.granted" : "role.revoked",
      outcome: "success",
      actor: caller.actor,
      ...(namespace === ANY_NAMESPACE ? {} : { namespace }),
      data: { role, subject: id, subjectKind: kind },
    });
    return { role, namespace, subject: name, kind };
  });
}

async function subjectOf(
  reader: Reader,
  { kind, name }: CommandParams<"role.grant">["subject"],
): Promise<{ kind: "user" | "group"; id: string }> {
  const user = kind === "group" ? undefined : await userByName(reader, name);
  const group = kind === "user" ? undefined : await groupByName(reader, name);
  if (user !== undefined && group !== undefined) {
    throw new SallyportError("input_invalid", `${name} is a user and a group; write --group for the group.`);
  }
  if (user !== undefined) return { kind: "user", id: user.id };
  if (group !== undefined) return { kind: "group", id: group.id };
  throw new SallyportError(
    "not_found",
    `No ${kind === "group" ? "group" : "user or group"} is named ${name}.`,
  );
}
