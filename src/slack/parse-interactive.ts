import { z } from "zod";
import type { Envelope } from "./frame.ts";
import { identityOf, isOurs, slackId } from "./identity.ts";
import { channelKind, MAX_TEXT, triggerOf } from "./parse-slash.ts";
import { foreign, malformed, refused, shown } from "./refuse.ts";
import type { Home, Identity, Parsed, ReplyPath } from "./types.ts";

const timestamp = z.string().max(40);
const actionId = z.string().min(1).max(255);
const actionValue = z.string().max(2000);
const responseUrl = z.string().max(500).nullish();

/** The one who acted: `user.team_id`, not the outer `team`, which stays ours for people of other workspaces. */
const Base = z.object({
  type: z.string().max(100),
  user: z.object({ id: slackId, team_id: slackId.nullish() }),
  team: z.object({ id: slackId }).nullish(),
  enterprise: z.object({ id: slackId }).nullish(),
  trigger_id: z.string().max(150).nullish(),
});

const BlockActions = z.object({
  container: z.object({ type: z.string().max(40), thread_ts: timestamp.nullish() }),
  channel: z.object({ id: slackId, name: z.string().max(200).catch("") }).nullish(),
  message: z.object({ thread_ts: timestamp.nullish() }).nullish(),
  response_url: responseUrl,
  actions: z
    .array(
      z.object({
        type: z.string().max(60),
        action_id: actionId,
        value: actionValue.nullish(),
        selected_option: z.object({ value: actionValue }).nullish(),
      }),
    )
    .min(1)
    .max(1),
});

const Field = z.object({
  value: z.string().max(MAX_TEXT).nullish(),
  selected_option: z.object({ value: actionValue }).nullish(),
  selected_options: z
    .array(z.object({ value: actionValue }))
    .max(100)
    .nullish(),
});

const ViewSubmission = z.object({
  view: z.object({
    callback_id: actionId,
    private_metadata: z.string().max(2000).catch(""),
    external_id: z.string().max(255).catch(""),
    state: z.object({ values: z.record(z.string().max(255), z.record(z.string().max(255), Field)) }),
  }),
});

export function parseInteractive(envelope: Envelope, home: Home): Parsed {
  const base = Base.safeParse(envelope.payload);
  if (!base.success) return malformed("interactive", base.error);
  const { type, user, team, enterprise, trigger_id } = base.data;
  const known = HANDLERS.get(type);
  if (known === undefined) {
    return refused("unknown_interaction", "unknown_envelope", `Interaction ${shown(type)} by ${user.id}.`);
  }
  if (user.team_id == null) return malformed("interactive", { issues: [{ path: ["user", "team_id"] }] });
  const whose = isOurs(home, [user.team_id, team?.id], [enterprise?.id]);
  const who: Who = {
    home,
    identity: whose ? identityOf(home, user.team_id, user.id) : null,
    id: user.id,
    trigger: triggerOf(trigger_id),
    team: [user.team_id, team?.id].find((id) => id != null && id !== home.team) ?? user.team_id,
  };
  return known(envelope, who);
}

type Who = {
  home: Home;
  identity: Identity | null;
  id: string;
  trigger: string | null;
  team: string | null | undefined;
};

const HANDLERS = new Map<string, (envelope: Envelope, who: Who) => Parsed>([
  ["block_actions", blockActions],
  ["view_submission", viewSubmission],
  ["view_closed", (_envelope, who) => refused("view_closed", null, `Modal closed by ${who.id}.`)],
]);

function blockActions(envelope: Envelope, who: Who): Parsed {
  const parsed = BlockActions.safeParse(envelope.payload);
  if (!parsed.success) return malformed("block_actions", parsed.error);
  const p = parsed.data;
  const reply: ReplyPath = { responseUrl: p.response_url ?? null, ackPayload: { kind: "none" } };
  if (who.identity === null) return foreign(who.id, who.team, "Click", reply);
  const action = p.actions[0]!;
  return {
    request: {
      dedupe: `envelope:${envelope.id}`,
      trigger: who.trigger,
      surface: p.container.type === "view" ? "modal" : "button",
      identity: who.identity,
      channel:
        p.channel == null ? null : { id: p.channel.id, kind: channelKind(p.channel.id, p.channel.name) },
      thread: p.container.thread_ts ?? p.message?.thread_ts ?? null,
      text: "",
      // The renderer numbers buttons of one id, which Slack does not allow twice in a block.
      action: {
        id: action.action_id.replace(/#\d+$/, ""),
        value: action.value ?? action.selected_option?.value ?? "",
      },
      retry: envelope.retry,
    },
    refusal: null,
    reply,
  };
}

function viewSubmission(envelope: Envelope, who: Who): Parsed {
  const parsed = ViewSubmission.safeParse(envelope.payload);
  if (!parsed.success) return malformed("view_submission", parsed.error);
  const { view } = parsed.data;
  const blocks = Object.keys(view.state.values);
  const reply: ReplyPath = {
    responseUrl: null,
    ackPayload:
      envelope.acceptsPayload && blocks[0] !== undefined
        ? { kind: "errors", block: blocks[0] }
        : { kind: "none" },
  };
  if (who.identity === null) return foreign(who.id, who.team, "Modal", reply);
  const values: Record<string, string | string[] | null> = Object.create(null);
  for (const [block, fields] of Object.entries(view.state.values)) {
    for (const [action, field] of Object.entries(fields)) {
      const key = Object.keys(fields).length === 1 ? block : `${block}.${action}`;
      values[key] =
        field.value ?? field.selected_option?.value ?? field.selected_options?.map((o) => o.value) ?? null;
    }
  }
  const text = JSON.stringify(values);
  if (text.length > MAX_TEXT) {
    const say = "Not accepted: the form's values are too long together.";
    return refused("too_long", null, `Form of ${text.length} characters by ${who.id}.`, say, reply);
  }
  return {
    request: {
      dedupe: `envelope:${envelope.id}`,
      trigger: who.trigger,
      surface: "modal",
      identity: who.identity,
      channel: null,
      thread: null,
      text,
      action: { id: view.callback_id, value: view.private_metadata },
      retry: envelope.retry,
    },
    refusal: null,
    reply,
    openedFor: view.external_id,
  };
}
