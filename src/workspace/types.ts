/** What a test or the demo sees of the simulated workspace. Times named `at` are performance.now() milliseconds. */

export type Block = { type: string } & Record<string, unknown>;

export type PersonKind =
  | "member"
  | "guest"
  | "single_channel_guest"
  | "bot"
  | "workflow_bot"
  | "foreign"
  | "stranger"
  | "deleted";

/** Fields may be changed at any time: the next users.info answers with them. */
export interface Person {
  readonly id: string;
  name: string;
  realName: string;
  teamId: string;
  deleted: boolean;
  bot: boolean;
  workflowBot: boolean;
  restricted: boolean;
  ultraRestricted: boolean;
  stranger: boolean;
  readonly botId: string | null;
}

export type ChannelKind = "public" | "private" | "im" | "mpim";

export interface Channel {
  readonly id: string;
  name: string;
  readonly kind: ChannelKind;
  readonly members: Set<string>;
  botIsMember: boolean;
  shared: boolean;
  archived: boolean;
  /** The other end of a direct message with the bot. */
  readonly imUser: string | null;
}

export interface UploadedFile {
  readonly id: string;
  name: string;
  title: string;
  readonly announcedLength: number;
  /** null until the bytes were posted to the upload URL. */
  bytes: Buffer | null;
  /** Channel and message that show it; null until files.completeUploadExternal. */
  channel: string | null;
  ts: string | null;
}

export interface Metadata {
  event_type: string;
  event_payload: Record<string, unknown>;
}

export type MessageVia =
  | "chat.postMessage"
  | "chat.postEphemeral"
  | "ack"
  | "response_url"
  | "files.completeUploadExternal"
  | "person"
  | "slack";

export interface Message {
  readonly ts: string;
  readonly channel: string;
  readonly user: string;
  readonly botId: string | null;
  text: string;
  blocks: Block[];
  /** false: `text` is shown literally. */
  mrkdwn: boolean;
  /** true: bare @channel and #name act too (link_names or parse=full). */
  linkNames: boolean;
  readonly threadTs: string | null;
  readonly parentUserId: string | null;
  metadata: Metadata | null;
  readonly ephemeralFor: string | null;
  readonly files: UploadedFile[];
  /** Earlier versions, oldest first. */
  readonly edits: { at: number; text: string; blocks: Block[] }[];
  deleted: boolean;
  readonly via: MessageVia;
  readonly postedAt: number;
}

export interface Call {
  readonly method: string;
  readonly at: number;
  ms: number;
  args: Record<string, unknown>;
  /** Whose credential came with the call. */
  token: "bot" | "app" | "none" | "other";
  /** 0: the connection was reset or held, no answer was sent. */
  status: number;
  ok: boolean;
  error: string | null;
  /** metadata.event_payload, by which a repeated post is recognised. */
  nonce: unknown;
  /** Whether the call changed the workspace, also where its answer was lost. */
  effect: boolean;
}

export interface View {
  readonly id: string;
  readonly type: "modal" | "home";
  readonly user: string;
  readonly rootId: string;
  readonly previousId: string | null;
  /** As Slack shows it in payloads: blocks, title, callback_id, private_metadata, hash, state ... */
  body: Record<string, unknown> & { blocks: Block[] };
  hash: string;
  /** What a view_submission was answered with: block_id -> message. */
  errors: Record<string, string>;
}

export type Ack =
  | { status: "acked"; payload: Record<string, unknown>; ms: number; connection: number; bytes: number }
  | { status: "timeout" }
  | { status: "dispatch_failed" };

export type EnvelopeType = "slash_commands" | "interactive" | "events_api";

export interface Delivery {
  readonly envelopeId: string;
  readonly type: EnvelopeType;
  readonly envelope: Record<string, unknown>;
  readonly triggerId: string | null;
  readonly responseUrl: string | null;
  readonly attempts: { connection: number; at: number; retry: number }[];
  /** Resolves in any case. */
  readonly ack: Promise<Ack>;
  /** Acks received, those of duplicate deliveries too. */
  acks: number;
  readonly responses: Message[];
  response(ms?: number): Promise<Message>;
}

export interface ConnectionInfo {
  readonly id: number;
  readonly openedAt: number;
  /** A disconnect frame was sent: no new envelope goes here. */
  readonly draining: boolean;
  readonly unacked: number;
}

export interface WorkspaceOptions {
  port?: number;
  team?: { id?: string; name?: string; domain?: string };
  enterprise?: { id: string; name: string } | null;
  events?: string[];
  scopes?: string[];
  /** The manifest's should_escape of the slash command; default true. */
  shouldEscape?: boolean;
  ackTimeoutMs?: number;
  retryDelaysMs?: number[];
  bigAck?: "close" | "drop";
  keepTcpOpen?: boolean;
  postsPerSecond?: number;
  now?: () => number;
}

export type PersonRef = Person | string;
export type ChannelRef = Channel | string;

export interface NewPerson {
  name: string;
  id?: string;
  kind?: PersonKind;
  team?: string;
}

export interface NewChannel {
  name: string;
  id?: string;
  kind?: ChannelKind;
  members?: PersonRef[];
  shared?: boolean;
  archived?: boolean;
  botIsMember?: boolean;
}
