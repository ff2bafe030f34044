import { type ClickOptions, People } from "./actions.ts";
import type { MethodContext } from "./args.ts";
import { Courier } from "./delivery.ts";
import { type ApiFault, FaultPlan, type SocketFault } from "./faults.ts";
import { WebServer } from "./http.ts";
import { ResponseUrls, Triggers } from "./once.ts";
import { Hub } from "./socket.ts";
import { type MessageChange, State } from "./state.ts";
import type {
  Call,
  Channel,
  ChannelRef,
  ConnectionInfo,
  Delivery,
  Message,
  NewChannel,
  NewPerson,
  Person,
  PersonRef,
  UploadedFile,
  View,
  WorkspaceOptions,
} from "./types.ts";

export { acting, type Renderable, type RenderOptions, renderMessage, renderView } from "./render.ts";
export type * from "./types.ts";
export type { ApiFault, ClickOptions, MessageChange };

export interface DisconnectOptions {
  conn?: number;
  /** Whether a close follows; by default yes, except after "warning". */
  close?: boolean;
  /** Time between the frame and the close, in which acks still count. Default 250. */
  afterMs?: number;
}

/** Faults on demand. Each happens once unless `times` says otherwise; `conn` defaults to the oldest connection. */
export interface Faults {
  api(method: string, fault: ApiFault, times?: number): void;
  dropHello(times?: number): void;
  stallUpgrade(times?: number): void;
  refuseUpgrade(status?: number, times?: number): void;
  stallAfterUpgrade(times?: number): void;
  send(frame: string | Buffer, conn?: number): void;
  nullFrame(conn?: number): void;
  garbage(conn?: number): void;
  appRateLimited(conn?: number): void;
  oversizedFrame(bytes?: number, conn?: number): void;
  unknownType(conn?: number): void;
  invalidEnvelope(conn?: number): void;
  disconnect(reason: string, options?: DisconnectOptions): void;
  kill(conn?: number): void;
  mute(conn?: number): void;
  duplicateNext(times?: number): void;
  redeliver(envelopeId: string): void;
  refreshDuringNext(times?: number): void;
  loseAckNext(times?: number): void;
  clear(): void;
}

export interface Workspace {
  readonly port: number;
  readonly apiUrl: string;
  readonly appToken: string;
  readonly botToken: string;
  readonly team: { id: string; name: string; domain: string };
  readonly appId: string;
  readonly bot: { userId: string; botId: string; name: string };
  readonly people: Person[];
  readonly channels: Channel[];
  readonly files: UploadedFile[];
  readonly calls: Call[];
  readonly deliveries: readonly Delivery[];
  readonly connections: ConnectionInfo[];
  readonly faults: Faults;
  close(): Promise<void>;
  addPerson(person: NewPerson): Person;
  addChannel(channel: NewChannel): Channel;
  person(nameOrId: string): Person;
  channel(nameOrId: string): Channel;
  im(person: PersonRef): Channel;
  command(person: PersonRef, channel: ChannelRef, line: string): Delivery;
  click(person: PersonRef, message: Message, actionId: string, options?: ClickOptions): Delivery;
  clickView(person: PersonRef, actionId: string, options?: ClickOptions): Delivery;
  submitView(person: PersonRef, values?: Record<string, string | boolean | string[]>): Delivery;
  closeView(person: PersonRef): Delivery | null;
  openHome(person: PersonRef): Delivery | null;
  mention(person: PersonRef, channel: ChannelRef, text: string, options?: { threadTs?: string }): Delivery;
  message(
    person: PersonRef,
    channel: ChannelRef,
    text: string,
    options?: { threadTs?: string },
  ): { message: Message; delivery: Delivery | null };
  /** A person's or channel's name, for renderMessage's `names`. */
  nameOf(id: string): string | null;
  modal(person: PersonRef): View | null;
  home(person: PersonRef): View | null;
  messages(channel?: ChannelRef): Message[];
  visible(person: PersonRef, channel: ChannelRef): Message[];
  waitFor<T>(predicate: () => T | undefined | null | false, ms?: number): Promise<T>;
  onMessage(listener: (message: Message, change: MessageChange) => void): () => void;
}

/** Posts of the last second in each channel, for workspaces that enforce Slack's rate. */
function rateLimiter(perSecond: number | undefined): (channel: string) => boolean {
  const recent = new Map<string, number[]>();
  return (channel) => {
    if (perSecond === undefined) return false;
    const now = performance.now();
    const posts = (recent.get(channel) ?? []).filter((at) => now - at < 1000);
    const over = posts.length >= perSecond;
    recent.set(channel, over ? posts : [...posts, now]);
    return over;
  };
}

function makeFaults(plan: FaultPlan, hub: Hub, courier: Courier, state: State): Faults {
  const envelope = (type: string, payload: unknown) =>
    JSON.stringify({ envelope_id: crypto.randomUUID(), payload, type, accepts_response_payload: false });
  const simple =
    (fault: SocketFault) =>
    (times = 1) =>
      plan.plan(fault, times);
  return {
    api: (method, fault, times = 1) => plan.planApi(method, fault, times),
    dropHello: simple("dropHello"),
    stallUpgrade: simple("stallUpgrade"),
    refuseUpgrade: (status = 503, times = 1) => {
      plan.refuseStatus = status;
      plan.plan("refuseUpgrade", times);
    },
    stallAfterUpgrade: simple("stallAfterUpgrade"),
    send: (frame, conn) => hub.raw(frame, conn),
    nullFrame: (conn) => hub.raw("null", conn),
    garbage: (conn) => hub.raw('{"type":"events_api","payl', conn),
    appRateLimited: (conn) =>
      hub.raw(
        envelope("events_api", {
          token: state.verificationToken,
          type: "app_rate_limited",
          team_id: state.team.id,
          minute_rate_limited: Math.floor(state.now() / 1000),
          api_app_id: state.appId,
        }),
        conn,
      ),
    oversizedFrame: (bytes = 1024 * 1024, conn) =>
      hub.raw(envelope("slash_commands", { command: "/ops", text: "x".repeat(bytes) }), conn),
    unknownType: (conn) => hub.raw(envelope("from_the_future", { a: 1 }), conn),
    invalidEnvelope: (conn) =>
      hub.raw(JSON.stringify({ envelope_id: 7, type: "slash_commands", payload: ["no"] }), conn),
    disconnect: (reason, o = {}) =>
      hub.disconnect(reason, o.conn, o.close ?? reason !== "warning", o.afterMs ?? 250),
    kill: (conn) => hub.kill(conn),
    mute: (conn) => hub.mute(conn),
    duplicateNext: simple("duplicate"),
    redeliver: (id) => courier.redeliver(id),
    refreshDuringNext: simple("refreshDuring"),
    loseAckNext: simple("loseAck"),
    clear: () => plan.clear(),
  };
}

/**
 * A workspace on 127.0.0.1 that answers as Slack does: Web API, response_url, uploads, Socket Mode. Its people act
 * through the returned object. Nothing of it is reachable from other hosts.
 */
export async function startWorkspace(options: WorkspaceOptions = {}): Promise<Workspace> {
  const state = new State(options);
  const plan = new FaultPlan();
  const courier = new Courier({
    state,
    faults: plan,
    ackTimeoutMs: options.ackTimeoutMs ?? 3000,
    retryDelaysMs: options.retryDelaysMs ?? [0, 1000, 5000],
  });
  const hub = new Hub({
    state,
    faults: plan,
    bigAck: options.bigAck ?? "close",
    keepTcpOpen: options.keepTcpOpen ?? true,
    onAck: (id, payload, connection, bytes) => courier.acked(id, payload, connection, bytes),
    onOrphans: (orphans) => courier.orphaned(orphans),
    onReady: () => courier.ready(),
  });
  courier.attach(hub);
  let port = 0;
  const origin = () => `http://127.0.0.1:${port}`;
  const triggers = new Triggers(state);
  const responseUrls = new ResponseUrls(state);
  const context: MethodContext = {
    state,
    triggers,
    responseUrls,
    origin,
    ticket: () => `ws://127.0.0.1:${port}/link/?ticket=${hub.ticket()}&app_id=${state.appId.toLowerCase()}`,
    overRate: rateLimiter(options.postsPerSecond),
  };
  const web = new WebServer(context, plan);
  web.server.on("upgrade", (request, socket, head) => hub.upgrade(request, socket, head));
  port = await web.listen(options.port ?? 0);
  const people = new People(state, courier, triggers, responseUrls, origin);
  return {
    port,
    apiUrl: `${origin()}/api/`,
    appToken: state.appToken,
    botToken: state.botToken,
    team: state.team,
    appId: state.appId,
    bot: state.bot,
    people: state.people,
    channels: state.channels,
    files: state.files,
    calls: state.calls,
    deliveries: courier.deliveries,
    get connections() {
      return hub.list();
    },
    faults: makeFaults(plan, hub, courier, state),
    close: async () => {
      courier.close();
      hub.close();
      await web.close();
    },
    addPerson: (person) => state.addPerson(person),
    addChannel: (channel) => state.addChannel(channel),
    person: (ref) => state.person(ref),
    channel: (ref) => state.channel(ref),
    im: (person) => state.im(person),
    command: (person, channel, line) => people.command(person, channel, line),
    click: (person, message, actionId, o) => people.click(person, message, actionId, o),
    clickView: (person, actionId, o) => people.clickView(person, actionId, o),
    submitView: (person, values) => people.submitView(person, values),
    closeView: (person) => people.closeView(person),
    openHome: (person) => people.openHome(person),
    mention: (person, channel, text, o) => people.mention(person, channel, text, o),
    message: (person, channel, text, o) => people.message(person, channel, text, o),
    nameOf: (id) =>
      (state.people.find((p) => p.id === id) ?? state.channels.find((c) => c.id === id))?.name ?? null,
    modal: (person) => people.modal(person),
    home: (person) => people.home(person),
    messages: (channel) => {
      const only = channel === undefined ? undefined : state.channel(channel).id;
      return state.messages.filter((m) => only === undefined || m.channel === only);
    },
    visible: (person, channel) => state.visible(person, channel),
    waitFor: (predicate, ms) => state.waitFor(predicate, ms),
    onMessage: (listener) => state.onMessage(listener),
  };
}
