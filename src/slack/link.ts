import { LogLevel, SocketModeClient, type SocketModeOptions } from "@slack/socket-mode";
import { type Endpoint, isSocketUrl } from "./endpoint.ts";
import { type Failure, failureOf } from "./failure.ts";
import { type Envelope, readFrame } from "./frame.ts";
import { quietLogger } from "./quiet-logger.ts";
import type { AlarmKind } from "./types.ts";

/** Milliseconds, all of them. */
export type LinkLimits = {
  openMs: number;
  helloMs: number;
  closeMs: number;
  pongMs: number;
  watchMs: number;
};

export const LINK_LIMITS: LinkLimits = {
  openMs: 10_000,
  helloMs: 10_000,
  closeMs: 1000,
  pongMs: 5000,
  watchMs: 250,
};

/** For a site's proxy and CA: an undici dispatcher (of the library's major version) and the fetch that uses it. */
export type Transport = Pick<SocketModeOptions, "dispatcher"> & { fetch?: typeof fetch };

export type LinkOptions = {
  appToken: string;
  endpoint: Endpoint;
  transport: Transport;
  limits: LinkLimits;
  onEnvelope: (link: Link, envelope: Envelope) => void;
  onAlarm: (kind: AlarmKind, detail: string) => void;
};

export type LinkEnd = { reason: string; connections: number | null };

/** Slack drops, or closes the connection on, a frame of this size or more [slax issue 609, slack-go]. In bytes. */
const MAX_ACK = 20_480;
const OPEN = 1;

/**
 * The library parses frames in an async listener whose rejection nobody handles: `null`, or an event without `event`,
 * ends the process. Its one message handler is protected and bound in the constructor, so overriding it replaces the
 * parser and keeps the transport (apps.connections.open, upgrade, pings).
 */
class Client extends SocketModeClient {
  onFrame: ((data: unknown, isBinary: boolean) => void) | undefined;

  protected override onWebSocketMessage(data: string | ArrayBuffer, isBinary: boolean): Promise<void> {
    this.onFrame?.(data, isBinary);
    return Promise.resolve();
  }
}

/** One Socket Mode connection, used once. */
export class Link {
  readonly #options: LinkOptions;
  readonly #client: Client;
  readonly #unacked = new Set<string>();
  #state: "new" | "opening" | "open" | "closing" | "ended" = "new";
  #draining = false;
  #resolveDrain!: (end: LinkEnd) => void;
  #resolveEnd!: () => void;
  /** Resolves when the link should be replaced: Slack asks for it, or the connection is lost. */
  readonly toReplace: Promise<LinkEnd>;
  /** Resolves when the connection is gone. */
  readonly ended: Promise<void>;
  #watch: NodeJS.Timeout | undefined;
  #hello: ((connections: number) => void) | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.toReplace = new Promise((resolve) => {
      this.#resolveDrain = resolve;
    });
    this.ended = new Promise((resolve) => {
      this.#resolveEnd = resolve;
    });
    const { appToken, endpoint, transport, limits } = options;
    this.#client = new Client({
      appToken,
      autoReconnectEnabled: false,
      clientPingTimeout: limits.pongMs,
      logger: quietLogger,
      logLevel: LogLevel.ERROR,
      ...(transport.dispatcher === undefined ? {} : { dispatcher: transport.dispatcher }),
      clientOptions: {
        slackApiUrl: endpoint.apiUrl,
        retryConfig: { retries: 0 },
        rejectRateLimitedCalls: true,
        timeout: limits.openMs,
        allowAbsoluteUrls: false,
        ...(transport.fetch === undefined ? {} : { fetch: transport.fetch }),
      },
    });
    this.#client.onFrame = (data, isBinary) => this.#receive(data, isBinary);
    this.#client.on("disconnected", () => this.#end("closed"));
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get isEnded(): boolean {
    return this.#state === "ended";
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  get unacked(): number {
    return this.#unacked.size;
  }

  /** Resolves at Slack's hello with the number of connections that it counts. Rejects with a LinkFailure. */
  async open(): Promise<{ connections: number }> {
    this.#state = "opening";
    const { limits, endpoint } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const hello = new Promise<number>((resolve, reject) => {
      this.#hello = resolve;
      // Listeners may throw here: the library emits both events inside start(), which then rejects and dials nothing.
      this.#client.on("authenticated", (response: { url?: unknown }) => {
        if (typeof response.url !== "string" || !isSocketUrl(response.url, endpoint)) {
          throw new LinkFailure({
            kind: "unsent",
            text: "apps.connections.open: an address that is not Slack's",
          });
        }
      });
      this.#client.on("connecting", () => {
        if (this.#state !== "opening") throw new LinkFailure({ kind: "unsent", text: "closed" });
        timer = setTimeout(() => {
          reject(
            new LinkFailure({
              kind: "unsent",
              text: `no hello from Slack within ${limits.helloMs / 1000} s`,
            }),
          );
        }, limits.helloMs);
      });
      this.#client.start().then(
        () => {},
        (error) => reject(asLinkFailure(error)),
      );
    });
    try {
      const connections = await hello;
      if (this.#state !== "opening") throw new LinkFailure({ kind: "unsent", text: "closed while opening" });
      this.#state = "open";
      this.#watch = setInterval(() => this.#check(), limits.watchMs).unref();
      return { connections };
    } catch (error) {
      this.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Acks an envelope of this link; false when the connection is gone (Slack then delivers it again elsewhere). */
  ack(envelopeId: string, payload?: object): boolean {
    this.#unacked.delete(envelopeId);
    const socket = this.#client.websocket;
    if (socket?.readyState !== OPEN) return false;
    const bare = `{"envelope_id":${JSON.stringify(envelopeId)}}`;
    let frame = bare;
    if (payload !== undefined) {
      frame = JSON.stringify({ envelope_id: envelopeId, payload });
      if (Buffer.byteLength(frame) >= MAX_ACK) frame = bare;
    }
    let sent = true;
    socket.send(frame, (error) => {
      sent = error === undefined;
    });
    return sent;
  }

  /** Closes; a peer that does not finish the close handshake is cut off after `closeMs`. */
  close(): void {
    if (this.#state === "closing" || this.#state === "ended") return;
    this.#state = "closing";
    clearInterval(this.#watch);
    this.#resolveDrain({ reason: "closed", connections: null });
    const socket = this.#client.websocket as { closeHandshakeTimeout?: NodeJS.Timeout } | undefined;
    void this.#client.disconnect();
    // The library loses its handle on this timer when an error follows; it would keep the process alive for 30 s.
    socket?.closeHandshakeTimeout?.unref();
    // The library waits 30 s for the peer's close frame; its second disconnect() destroys the socket.
    const force = () => {
      if (this.#state === "ended") return;
      this.#client.websocket?.disconnect();
      this.#end("closed");
    };
    setTimeout(force, this.#options.limits.closeMs);
  }

  /** The library notices a dead peer, but says so only after its close handshake timed out. */
  #check(): void {
    if (this.#client.websocket?.readyState !== OPEN) this.close();
  }

  #end(reason: string): void {
    if (this.#state === "ended" || this.#state === "new") return;
    this.#state = "ended";
    clearInterval(this.#watch);
    this.#resolveDrain({ reason, connections: null });
    this.#resolveEnd();
  }

  #receive(data: unknown, isBinary: boolean): void {
    try {
      this.#handle(isBinary ? null : data);
    } catch {
      this.#options.onAlarm("malformed_frame", "A frame could not be handled.");
    }
  }

  #handle(data: unknown): void {
    const frame = readFrame(data);
    switch (frame.kind) {
      case "hello":
        // The library's start() waits for this event.
        this.#client.emit("connected");
        this.#hello?.(frame.connections);
        return;
      case "disconnect":
        this.#draining = true;
        this.#resolveDrain({ reason: frame.reason, connections: frame.connections });
        return;
      case "malformed":
        this.#options.onAlarm("malformed_frame", `Frame from Slack: ${frame.why}.`);
        return;
      case "oversized":
        this.#options.onAlarm("oversized_frame", `Frame from Slack of ${frame.size} characters.`);
        return;
      case "envelope":
        this.#unacked.add(frame.envelope.id);
        this.#options.onEnvelope(this, frame.envelope);
    }
  }
}

export class LinkFailure extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.text);
    this.failure = failure;
  }
}

function asLinkFailure(error: unknown): LinkFailure {
  if (error instanceof LinkFailure) return error;
  // start() rejects with nothing when the connection closes before hello.
  if (error === undefined)
    return new LinkFailure({ kind: "unsent", text: "the connection closed before Slack's hello" });
  return new LinkFailure(failureOf("apps.connections.open", error));
}
