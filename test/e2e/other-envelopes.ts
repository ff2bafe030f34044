import type { Workspace } from "../../src/workspace/index.ts";

/** What it is, its type and its payload: every kind of envelope that is no command, each asking for a run. */
export function otherEnvelopes(workspace: Workspace, who: string): [string, string, object][] {
  const channel = workspace.channel("ops").id;
  const person = workspace.person(who);
  const base = {
    user: { id: person.id, username: who, team_id: person.teamId },
    team: { id: workspace.team.id },
    enterprise: null,
    is_enterprise_install: false,
    api_app_id: workspace.appId,
    token: "x",
    trigger_id: "1.2.3",
  };
  const view = {
    id: "V1",
    type: "modal",
    callback_id: "run",
    private_metadata: "demo/hello --name Max",
    state: { values: { op: { op: { type: "plain_text_input", value: "demo/hello" } } } },
    blocks: [],
  };
  const event = (e: object) => ({
    type: "event_callback",
    team_id: workspace.team.id,
    event_id: `Ev${Math.random().toString(36).slice(2).toUpperCase()}`,
    event: { user: person.id, channel: channel, ts: "1.2", ...e },
  });
  const text = `<@${workspace.bot.userId}> run demo/hello --name Max`;
  return [
    ["view_submission", "interactive", { ...base, type: "view_submission", view }],
    [
      "block_actions of a view",
      "interactive",
      {
        ...base,
        type: "block_actions",
        trigger_id: "1.2.4",
        container: { type: "view", view_id: "V1" },
        view,
        actions: [{ type: "button", action_id: "modal-run", value: "demo/hello" }],
      },
    ],
    ["view_closed", "interactive", { ...base, type: "view_closed", view }],
    ["shortcut", "interactive", { ...base, type: "shortcut", callback_id: "run" }],
    [
      "message_action",
      "interactive",
      { ...base, type: "message_action", callback_id: "run", message: { text } },
    ],
    [
      "block_suggestion",
      "interactive",
      { ...base, type: "block_suggestion", action_id: "run", value: "demo/hello" },
    ],
    ["message in a channel", "events_api", event({ type: "message", text, channel_type: "channel" })],
    ["message in a direct message", "events_api", event({ type: "message", text, channel_type: "im" })],
    [
      "message_changed",
      "events_api",
      event({ type: "message", subtype: "message_changed", message: { text, user: person.id } }),
    ],
    [
      "edited mention",
      "events_api",
      event({ type: "app_mention", text, edited: { user: person.id, ts: "1.3" } }),
    ],
    ["mention with a subtype", "events_api", event({ type: "app_mention", text, subtype: "file_share" })],
    ["mention inside a sentence", "events_api", event({ type: "app_mention", text: `thanks ${text}` })],
    [
      "reaction_added",
      "events_api",
      event({ type: "reaction_added", reaction: "white_check_mark", item: { ts: "1.1" } }),
    ],
    ["workflow step", "events_api", event({ type: "function_executed", function: { callback_id: "run" } })],
    [
      "another command",
      "slash_commands",
      {
        team_id: workspace.team.id,
        user_id: person.id,
        channel_id: channel,
        channel_name: "ops",
        command: "/run",
        text: "demo/hello",
        is_enterprise_install: "false",
      },
    ],
    ["a type that is not known", "workflows", { ...base, type: "run" }],
  ];
}
