import {
  type Answer,
  type Args,
  content,
  flag,
  jsonField,
  type Method,
  type MethodContext,
  optionalString,
  requiredString,
  SlackFailure,
  target,
} from "./args.ts";
import { completeUpload, getUploadUrl } from "./methods-files.ts";
import { openView, publishView, updateView } from "./methods-views.ts";
import { FOREIGN_TEAM, type State } from "./state.ts";
import type { Block, Metadata, Person } from "./types.ts";

function metadataOf(args: Args): Metadata | null | undefined {
  const value = jsonField(args, "metadata", "invalid_metadata_format");
  if (value === undefined) return undefined;
  const m = value as Partial<Metadata>;
  const isRecord = typeof m.event_payload === "object" && m.event_payload !== null;
  if (typeof m !== "object" || typeof m.event_type !== "string" || !isRecord) {
    throw new SlackFailure("invalid_metadata_schema");
  }
  return { event_type: m.event_type, event_payload: m.event_payload as Record<string, unknown> };
}

function shown(
  state: State,
  message: { ts: string; text: string; blocks: Block[] },
  threadTs: string | null,
  parent: string | null,
): Answer {
  return {
    user: state.bot.userId,
    type: "message",
    ts: message.ts,
    bot_id: state.bot.botId,
    app_id: state.appId,
    text: message.text,
    team: state.team.id,
    ...(message.blocks.length > 0 ? { blocks: message.blocks } : {}),
    ...(threadTs === null
      ? {}
      : { thread_ts: threadTs, ...(parent === null ? {} : { parent_user_id: parent }) }),
  };
}

function postMessage(args: Args, { state, overRate }: MethodContext): Answer {
  const channel = target(args, state);
  const { text, blocks } = content(args, true);
  if (text === undefined && (blocks === undefined || blocks.length === 0)) throw new SlackFailure("no_text");
  const metadata = metadataOf(args);
  const threadTs = optionalString(args, "thread_ts") ?? null;
  if (threadTs !== null && !/^\d+\.\d{6}$/.test(threadTs)) throw new SlackFailure("invalid_thread_ts");
  if (overRate(channel.id)) throw new SlackFailure("ratelimited");
  const message = state.post({
    channel: channel.id,
    user: state.bot.userId,
    botId: state.bot.botId,
    text: text ?? "",
    ...(blocks === undefined ? {} : { blocks }),
    mrkdwn: flag(args, "mrkdwn") ?? true,
    linkNames: flag(args, "link_names") === true || args.parse === "full",
    threadTs,
    metadata: metadata ?? null,
    via: "chat.postMessage",
  });
  return {
    channel: channel.id,
    ts: message.ts,
    message: shown(state, message, threadTs, message.parentUserId),
  };
}

function postEphemeral(args: Args, { state }: MethodContext): Answer {
  const channel = target(args, state);
  const { text, blocks } = content(args, true);
  if (text === undefined && (blocks === undefined || blocks.length === 0)) throw new SlackFailure("no_text");
  const user = state.people.find((p) => p.id === requiredString(args, "user", "user_not_in_channel"));
  if (user === undefined || !state.canSee(user, channel)) throw new SlackFailure("user_not_in_channel");
  const message = state.post({
    channel: channel.id,
    user: state.bot.userId,
    botId: state.bot.botId,
    text: text ?? "",
    ...(blocks === undefined ? {} : { blocks }),
    threadTs: optionalString(args, "thread_ts") ?? null,
    ephemeralFor: user.id,
    via: "chat.postEphemeral",
  });
  return { message_ts: message.ts };
}

function own(args: Args, state: State, refusal: string) {
  const channel = target(args, state);
  const message = state.findMessage(channel.id, requiredString(args, "ts", "message_not_found"));
  // An ephemeral message can be reached through its response_url alone.
  if (message === undefined || message.deleted || message.ephemeralFor !== null) {
    throw new SlackFailure("message_not_found");
  }
  if (message.user !== state.bot.userId) throw new SlackFailure(refusal);
  return { channel, message };
}

function updateMessage(args: Args, { state }: MethodContext): Answer {
  const { channel, message } = own(args, state, "cant_update_message");
  const { text, blocks } = content(args, true);
  if (text === undefined && blocks === undefined) throw new SlackFailure("no_text");
  const metadata = metadataOf(args);
  state.update(message, {
    ...(text === undefined ? {} : { text }),
    ...(blocks === undefined ? {} : { blocks }),
    ...(metadata === undefined ? {} : { metadata }),
  });
  return {
    channel: channel.id,
    ts: message.ts,
    text: message.text,
    message: shown(state, message, message.threadTs, message.parentUserId),
  };
}

function deleteMessage(args: Args, { state }: MethodContext): Answer {
  const { channel, message } = own(args, state, "cant_delete_message");
  state.remove(message);
  return { channel: channel.id, ts: message.ts };
}

export function userObject(state: State, person: Person): Answer {
  return {
    id: person.id,
    team_id: person.teamId,
    name: person.name,
    deleted: person.deleted,
    real_name: person.realName,
    is_admin: false,
    is_owner: false,
    is_primary_owner: false,
    is_restricted: person.restricted,
    is_ultra_restricted: person.ultraRestricted,
    is_bot: person.bot,
    ...(person.workflowBot ? { is_workflow_bot: true } : {}),
    ...(person.teamId === state.team.id ? {} : { is_stranger: person.stranger }),
    is_app_user: false,
    is_email_confirmed: true,
    updated: 1_795_000_000,
    profile: {
      display_name: person.name,
      team: person.teamId,
      ...(person.botId === null ? {} : { bot_id: person.botId, api_app_id: `A${person.botId.slice(1)}` }),
    },
    ...(state.enterprise === null || person.stranger || person.teamId === FOREIGN_TEAM
      ? {}
      : {
          enterprise_user: {
            id: person.id,
            enterprise_id: state.enterprise.id,
            enterprise_name: state.enterprise.name,
            is_admin: false,
            is_owner: false,
            teams: [person.teamId],
          },
        }),
  };
}

function usersInfo(args: Args, { state }: MethodContext): Answer {
  const id = requiredString(args, "user", "user_not_found");
  const person = state.people.find((p) => p.id === id);
  if (person === undefined) throw new SlackFailure("user_not_found");
  return { user: userObject(state, person) };
}

function needScope(state: State, needed: string): void {
  if (state.scopes.has(needed)) return;
  throw new SlackFailure("missing_scope", { needed, provided: [...state.scopes].join(",") });
}

function conversationsInfo(args: Args, { state }: MethodContext): Answer {
  const channel = state.channels.find((c) => c.id === requiredString(args, "channel", "channel_not_found"));
  if (channel === undefined) throw new SlackFailure("channel_not_found");
  const scope = { public: "channels:read", private: "groups:read", im: "im:read", mpim: "mpim:read" };
  needScope(state, scope[channel.kind]);
  if (channel.kind === "im") return { channel: { id: channel.id, is_im: true, user: channel.imUser } };
  if (channel.kind === "private" && !channel.botIsMember) throw new SlackFailure("channel_not_found");
  const others = new Set<string>();
  for (const id of channel.members) others.add(state.person(id).teamId);
  others.delete(state.team.id);
  return {
    channel: {
      id: channel.id,
      name: channel.name,
      is_channel: channel.kind === "public",
      is_group: channel.kind === "private",
      is_im: false,
      is_mpim: channel.kind === "mpim",
      is_private: channel.kind !== "public",
      is_archived: channel.archived,
      is_shared: channel.shared,
      is_ext_shared: channel.shared,
      is_org_shared: false,
      is_pending_ext_shared: false,
      is_member: channel.botIsMember,
      context_team_id: state.team.id,
      ...(channel.shared ? { conversation_host_id: state.team.id, connected_team_ids: [...others] } : {}),
      shared_team_ids: [state.team.id, ...(channel.shared ? others : [])],
    },
  };
}

function conversationsOpen(args: Args, { state }: MethodContext): Answer {
  const users = requiredString(args, "users", "user_not_found").split(",");
  const people = users.map((id) => state.people.find((p) => p.id === id));
  if (people.length !== 1 || people[0] === undefined) throw new SlackFailure("user_not_found");
  return { channel: { id: state.im(people[0]).id } };
}

function authTest(_args: Args, { state }: MethodContext): Answer {
  return {
    url: `https://${state.team.domain}.slack.com/`,
    team: state.team.name,
    user: state.bot.name,
    team_id: state.team.id,
    user_id: state.bot.userId,
    bot_id: state.bot.botId,
    ...(state.enterprise === null ? {} : { enterprise_id: state.enterprise.id }),
    is_enterprise_install: state.enterprise !== null,
  };
}

export const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["apps.connections.open", { token: "app", run: (_args, c) => ({ url: c.ticket() }) }],
  ["auth.test", { token: "any", run: authTest }],
  ["api.test", { token: "any", run: () => ({}) }],
  ["chat.postMessage", { token: "bot", scope: "chat:write", effect: true, run: postMessage }],
  ["chat.postEphemeral", { token: "bot", scope: "chat:write", effect: true, run: postEphemeral }],
  ["chat.update", { token: "bot", scope: "chat:write", effect: true, run: updateMessage }],
  ["chat.delete", { token: "bot", scope: "chat:write", effect: true, run: deleteMessage }],
  ["users.info", { token: "bot", scope: "users:read", run: usersInfo }],
  ["conversations.info", { token: "bot", run: conversationsInfo }],
  ["conversations.open", { token: "bot", scope: "im:write", run: conversationsOpen }],
  ["views.open", { token: "bot", effect: true, run: openView }],
  ["views.push", { token: "bot", effect: true, run: (args, c) => openView(args, c, true) }],
  ["views.update", { token: "bot", effect: true, run: updateView }],
  ["views.publish", { token: "bot", effect: true, run: publishView }],
  ["files.getUploadURLExternal", { token: "bot", scope: "files:write", run: getUploadUrl }],
  ["files.completeUploadExternal", { token: "bot", scope: "files:write", effect: true, run: completeUpload }],
]);
