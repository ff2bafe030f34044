/** Shapes that the rooms around share with this one; the wire's messages have the same fields. */
export type AlarmKind =
  | "too_many_connections"
  | "malformed_frame"
  | "oversized_frame"
  | "foreign_identity"
  | "bot_identity"
  | "unknown_envelope"
  | "rate_limited"
  | "auth_failed";

export type Surface = "slash" | "button" | "modal" | "mention" | "home";
export type ChannelKind = "public" | "private" | "im" | "mpim" | "unknown";
export type Standing = "member" | "guest" | "bot" | "foreign" | "deleted" | "unknown";

export type Identity = { enterprise: string | null; team: string; user: string };

/**
 * What auth.test says of the installation; identities are compared with it. `org`: it is installed for the whole Enterprise
 * organisation `enterprise`, and `team` may then be the organisation's id.
 */
export type Home = {
  team: string;
  org: boolean;
  teamName: string | null;
  enterprise: string | null;
  botUser: string;
};

/** What a person did, as far as the envelope tells. */
export type Request = {
  dedupe: string;
  /** Slack's trigger_id: one for each thing done, whatever envelope brings it. Events have none. */
  trigger: string | null;
  surface: Surface;
  identity: Identity;
  channel: { id: string; kind: ChannelKind } | null;
  thread: string | null;
  text: string;
  action: { id: string; value: string } | null;
  retry: number;
};

/** How the person can be answered. */
export type ReplyPath = {
  responseUrl: string | null;
  /** "ephemeral": the ack may carry a private text. "errors": a modal takes an error under the block of that id. */
  ackPayload: { kind: "none" } | { kind: "ephemeral" } | { kind: "errors"; block: string };
};

export type Refusal = {
  /** Short name of the rule, for tests and logs. */
  name: string;
  alarm: AlarmKind | null;
  detail: string;
  /** What the person is told; null: nothing (there is no person, or it was not meant for us). */
  say: string | null;
};

export type Parsed =
  | {
      request: Request;
      refusal: null;
      reply: ReplyPath;
      /** Id of the request for which the form was opened that this one submits. */
      openedFor?: string;
    }
  | { request: null; refusal: Refusal; reply: ReplyPath };

export type SlackState = {
  connections: number;
  team: string | null;
  enterprise: string | null;
  botUser: string | null;
  teamName: string | null;
  /** Whether people of all workspaces of the organisation are served, not those of `team` alone. */
  org: boolean;
  error: string | null;
};

export type Posted = {
  nonce: string;
  ok: boolean;
  channel: string | null;
  ts: string | null;
  error: string | null;
};

/** Rendered message: goes into chat.postMessage, chat.update, response_url and acks alike. */
export type Rendered = { text: string; blocks: object[] };
