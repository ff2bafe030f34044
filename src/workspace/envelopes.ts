import { randomUUID } from "node:crypto";
import type { State } from "./state.ts";
import type { Block, Channel, Message, Person } from "./types.ts";

type Obj = Record<string, unknown>;

/** Who did it, in interactive payloads. */
export function userRef(person: Person): Obj {
  return { id: person.id, username: person.name, name: person.name, team_id: person.teamId };
}

/** Where the app is installed. With an org install `team` is null; the type is a boolean here, a string in commands. */
export function interactive(state: State): Obj {
  return {
    team: state.enterprise === null ? { id: state.team.id, domain: state.team.domain } : null,
    enterprise: state.enterprise,
    is_enterprise_install: state.enterprise !== null,
  };
}

export function messageObject(state: State, message: Message): Obj {
  return {
    user: message.user,
    type: "message",
    ts: message.ts,
    ...(message.botId === null ? {} : { bot_id: message.botId, app_id: state.appId }),
    text: message.text,
    team: state.team.id,
    ...(message.threadTs === null
      ? {}
      : { thread_ts: message.threadTs, parent_user_id: message.parentUserId }),
    ...(message.edits.length === 0
      ? {}
      : { edited: { user: message.botId ?? message.user, ts: message.ts } }),
    ...(message.metadata === null ? {} : { metadata: message.metadata }),
    blocks: structuredClone(message.blocks),
  };
}

export function richText(state: State, text: string): Block[] {
  const elements = [
    { type: "user", user_id: state.bot.userId },
    { type: "text", text: ` ${text}` },
  ];
  return [{ type: "rich_text", block_id: "Sesm", elements: [{ type: "rich_text_section", elements }] }];
}

/** What message and app_mention events share. A foreign author shows in team, user_team and source_team alone. */
export function eventPayload(state: State, person: Person, channel: Channel, message: Message): Obj {
  const foreign = person.teamId !== state.team.id;
  return {
    user: person.id,
    ts: message.ts,
    ...(person.bot ? {} : { client_msg_id: randomUUID() }),
    team: person.teamId,
    channel: channel.id,
    event_ts: message.ts,
    ...(message.threadTs === null
      ? {}
      : {
          thread_ts: message.threadTs,
          ...(message.parentUserId === null ? {} : { parent_user_id: message.parentUserId }),
        }),
    ...(foreign
      ? {
          user_team: person.teamId,
          source_team: person.teamId,
          user_profile: {
            name: person.name,
            real_name: person.realName,
            display_name: person.name,
            team: person.teamId,
            is_restricted: person.restricted,
            is_ultra_restricted: person.ultraRestricted,
          },
        }
      : {}),
    ...(person.botId === null
      ? {}
      : {
          bot_id: person.botId,
          app_id: `A${person.botId.slice(1)}`,
          bot_profile: {
            id: person.botId,
            deleted: person.deleted,
            name: person.name,
            team_id: person.teamId,
          },
        }),
  };
}
