import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { SallyportError } from "../core/errors.ts";
import type {
  Block,
  Call,
  Channel,
  ChannelKind,
  ChannelRef,
  Message,
  MessageVia,
  Metadata,
  NewChannel,
  NewPerson,
  Person,
  PersonRef,
  UploadedFile,
  View,
  WorkspaceOptions,
} from "./types.ts";

export const DEFAULT_SCOPES = [
  "commands",
  "chat:write",
  "app_mentions:read",
  "users:read",
  "files:write",
  "channels:read",
  "groups:read",
];

export const FOREIGN_TEAM = "T0OTHER001";

export interface Draft {
  channel: string;
  user: string;
  botId?: string | null;
  text: string;
  blocks?: Block[];
  mrkdwn?: boolean;
  linkNames?: boolean;
  threadTs?: string | null;
  metadata?: Metadata | null;
  ephemeralFor?: string | null;
  files?: UploadedFile[];
  via: MessageVia;
}

export type MessageChange = "posted" | "updated" | "deleted";

/** People, channels, messages, files, views and the log of calls; everything that happens goes through here. */
export class State {
  readonly team: { id: string; name: string; domain: string };
  readonly enterprise: { id: string; name: string } | null;
  readonly events: ReadonlySet<string>;
  readonly scopes: ReadonlySet<string>;
  readonly shouldEscape: boolean;
  readonly appId = "A0FAKEAPP1";
  readonly bot = { userId: "U0BOT00001", botId: "B0BOT00001", name: "sallyport" };
  readonly appToken = `xapp-1-A0FAKEAPP1-${Date.now()}-${randomBytes(32).toString("hex")}`;
  readonly botToken = `xoxb-1234567890-9876543210-${randomBytes(12).toString("hex")}`;
  readonly verificationToken = randomBytes(12).toString("hex");
  readonly people: Person[] = [];
  readonly channels: Channel[] = [];
  readonly messages: Message[] = [];
  readonly files: UploadedFile[] = [];
  readonly calls: Call[] = [];
  readonly views = new Map<string, View>();
  /** user id -> view ids, the top one last. */
  readonly modals = new Map<string, string[]>();
  readonly homes = new Map<string, string>();
  readonly now: () => number;
  readonly #listeners = new Set<(message: Message, change: MessageChange) => void>();
  readonly #watchers = new Set<() => void>();
  #lastTs = 0;
  #sequence = 0;

  constructor(options: WorkspaceOptions) {
    this.team = {
      id: options.team?.id ?? "T0ACME0001",
      name: options.team?.name ?? "Acme",
      domain: options.team?.domain ?? "acme",
    };
    this.enterprise = options.enterprise ?? null;
    this.events = new Set(options.events ?? ["app_mention", "app_home_opened", "message.im"]);
    this.scopes = new Set(options.scopes ?? DEFAULT_SCOPES);
    this.shouldEscape = options.shouldEscape ?? true;
    this.now = options.now ?? Date.now;
    this.addPerson({ name: this.bot.name, id: this.bot.userId, kind: "bot" });
  }

  next(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  /** Slack's message time stamp: seconds.microseconds, unique and growing. */
  ts(): string {
    this.#lastTs = Math.max(this.#lastTs + 1, Math.floor(this.now()) * 1000);
    return `${Math.floor(this.#lastTs / 1e6)}.${String(this.#lastTs % 1e6).padStart(6, "0")}`;
  }

  /** Ten characters in Slack's form, speaking of the name: U0ALICE001. */
  #id(prefix: string, name: string, taken: (id: string) => boolean): string {
    const stem = `${prefix}0${name.toUpperCase().replace(/[^A-Z0-9]/g, "")}`.slice(0, 8);
    for (let n = 1; ; n++) {
      const id = stem + String(n).padStart(10 - stem.length, "0");
      if (!taken(id)) return id;
    }
  }

  addPerson(p: NewPerson): Person {
    const kind = p.kind ?? "member";
    const taken = (id: string) => this.people.some((other) => other.id === id);
    const id = p.id ?? this.#id(this.enterprise === null ? "U" : "W", p.name, taken);
    if (taken(id)) throw new SallyportError("conflict", `There is a person ${id} already.`);
    const bot = kind === "bot" || kind === "workflow_bot";
    const away = kind === "foreign" || kind === "stranger";
    const person: Person = {
      id,
      name: p.name,
      realName: p.name.charAt(0).toUpperCase() + p.name.slice(1),
      teamId: p.team ?? (away ? FOREIGN_TEAM : this.team.id),
      deleted: kind === "deleted",
      bot,
      workflowBot: kind === "workflow_bot",
      restricted: kind === "guest" || kind === "single_channel_guest",
      ultraRestricted: kind === "single_channel_guest",
      stranger: kind === "stranger",
      botId: id === this.bot.userId ? this.bot.botId : bot ? `B${id.slice(1)}` : null,
    };
    this.people.push(person);
    this.changed();
    return person;
  }

  addChannel(c: NewChannel): Channel {
    return this.#channel(c.name, c.kind ?? "public", null, c);
  }

  #channel(name: string, kind: ChannelKind, imUser: string | null, c: Omit<NewChannel, "name">): Channel {
    const prefix = kind === "im" ? "D" : kind === "mpim" ? "G" : "C";
    const taken = (id: string) => this.channels.some((other) => other.id === id);
    const id = c.id ?? this.#id(prefix, name, taken);
    if (taken(id)) throw new SallyportError("conflict", `There is a channel ${id} already.`);
    const members = (c.members ?? []).map((m) => this.person(m).id);
    const channel: Channel = {
      id,
      name,
      kind,
      members: new Set(members),
      botIsMember: c.botIsMember ?? true,
      shared: c.shared ?? false,
      archived: c.archived ?? false,
      imUser: imUser ?? (kind === "im" ? (members[0] ?? null) : null),
    };
    this.channels.push(channel);
    this.changed();
    return channel;
  }

  findPerson(ref: PersonRef): Person | undefined {
    if (typeof ref !== "string") return ref;
    return this.people.find((p) => p.id === ref) ?? this.people.find((p) => p.name === ref);
  }

  person(ref: PersonRef): Person {
    const person = this.findPerson(ref);
    if (person === undefined) throw new SallyportError("not_found", `No person ${String(ref)} here.`);
    return person;
  }

  findChannel(ref: ChannelRef): Channel | undefined {
    if (typeof ref !== "string") return ref;
    const bare = ref.startsWith("#") ? ref.slice(1) : ref;
    return this.channels.find((c) => c.id === ref) ?? this.channels.find((c) => c.name === bare);
  }

  channel(ref: ChannelRef): Channel {
    const channel = this.findChannel(ref);
    if (channel === undefined) throw new SallyportError("not_found", `No channel ${String(ref)} here.`);
    return channel;
  }

  im(ref: PersonRef): Channel {
    const person = this.person(ref);
    const existing = this.channels.find((c) => c.kind === "im" && c.imUser === person.id);
    return existing ?? this.#channel(person.name, "im", person.id, { members: [person] });
  }

  findMessage(channel: string, ts: string): Message | undefined {
    return this.messages.find((m) => m.channel === channel && m.ts === ts);
  }

  post(draft: Draft): Message {
    const threadTs = draft.threadTs ?? null;
    const parent = threadTs === null ? undefined : this.findMessage(draft.channel, threadTs);
    const message: Message = {
      ts: this.ts(),
      channel: draft.channel,
      user: draft.user,
      botId: draft.botId ?? null,
      text: draft.text,
      blocks: withBlockIds(draft.blocks ?? [], this),
      mrkdwn: draft.mrkdwn ?? true,
      linkNames: draft.linkNames ?? false,
      threadTs,
      parentUserId: parent?.user ?? null,
      metadata: draft.metadata ?? null,
      ephemeralFor: draft.ephemeralFor ?? null,
      files: draft.files ?? [],
      edits: [],
      deleted: false,
      via: draft.via,
      postedAt: performance.now(),
    };
    this.messages.push(message);
    this.#announce(message, "posted");
    return message;
  }

  update(message: Message, next: { text?: string; blocks?: Block[]; metadata?: Metadata | null }): void {
    message.edits.push({ at: performance.now(), text: message.text, blocks: message.blocks });
    if (next.text !== undefined) message.text = next.text;
    if (next.blocks !== undefined) message.blocks = withBlockIds(next.blocks, this);
    if (next.metadata !== undefined) message.metadata = next.metadata;
    this.#announce(message, "updated");
  }

  remove(message: Message): void {
    message.deleted = true;
    this.#announce(message, "deleted");
  }

  visible(personRef: PersonRef, channelRef: ChannelRef): Message[] {
    const person = this.person(personRef);
    const channel = this.channel(channelRef);
    if (!this.canSee(person, channel)) return [];
    return this.messages.filter(
      (m) =>
        m.channel === channel.id && !m.deleted && (m.ephemeralFor === null || m.ephemeralFor === person.id),
    );
  }

  canSee(person: Person, channel: Channel): boolean {
    if (channel.members.has(person.id)) return true;
    const outsider = person.teamId !== this.team.id || person.restricted || person.deleted;
    return channel.kind === "public" && !outsider;
  }

  onMessage(listener: (message: Message, change: MessageChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #announce(message: Message, change: MessageChange): void {
    for (const listener of this.#listeners) listener(message, change);
    this.changed();
  }

  changed(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }

  /** Evaluates at every change, and every 20 ms for what lies outside of the workspace. */
  async waitFor<T>(predicate: () => T | undefined | null | false, ms = 5000): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = () => {
        clearTimeout(deadline);
        clearInterval(poll);
        this.#watchers.delete(look);
      };
      const look = () => {
        try {
          const value = predicate();
          if (value === undefined || value === null || value === false) return;
          done();
          resolve(value);
        } catch (error) {
          done();
          reject(error);
        }
      };
      const deadline = setTimeout(() => {
        done();
        reject(new SallyportError("timeout", `What was waited for did not happen within ${ms} ms.`));
      }, ms);
      const poll = setInterval(look, 20);
      this.#watchers.add(look);
      look();
    });
  }
}

function withBlockIds(blocks: Block[], state: State): Block[] {
  return blocks.map((block) =>
    typeof block.block_id === "string" ? block : { ...block, block_id: `b${state.next()}` },
  );
}
