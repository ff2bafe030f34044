import { Socket } from "node:net";
import { parseArgs } from "node:util";
import { SallyportError } from "../core/errors.ts";
import { confineRole, keeperSocket } from "../host/role.ts";
import { VERSION } from "../host/self.ts";
import { type Endpoint, parseEndpoint } from "../slack/endpoint.ts";
import { type Port, SESSION_LIMITS, Session, type SessionLimits } from "../slack/session.ts";
import type { Connection } from "../wire/connection.ts";
import type { Message } from "../wire/messages.ts";
import { connectToKeeper } from "./to-keeper.ts";

const SLACK_API = "https://slack.com/api/";

/** The gateway role: Slack on one side, the keeper on the other, no decision in between. Ends with the keeper's connection. */
export async function main(argv: string[]): Promise<number> {
  const { endpoint, peer, limits } = options(argv);
  const landlock = confineRole();
  const stream = keeperStream(peer);
  return new Promise((resolve) => {
    const gateway = new Gateway(endpoint, limits, stream, resolve);
    gateway.start(landlock);
  });
}

function options(argv: string[]): { endpoint: Endpoint; peer: string | undefined; limits: SessionLimits } {
  const { values } = parse(argv);
  const rate = Number(values["post-rate"] ?? SESSION_LIMITS.outbox.postsPerSecond);
  if (!(rate > 0 && rate <= 1000))
    throw new SallyportError("usage", "--post-rate is a number of posts a second, above 0.");
  const outbox = {
    ...SESSION_LIMITS.outbox,
    postsPerSecond: rate,
    postBurst: Math.max(SESSION_LIMITS.outbox.postBurst, rate),
    updatesPerSecond: (rate * 50) / 60,
    updateBurst: Math.max(SESSION_LIMITS.outbox.updateBurst, rate),
  };
  return {
    endpoint: parseEndpoint(values["slack-api-url"] ?? SLACK_API),
    peer: values.peer,
    limits: { ...SESSION_LIMITS, outbox },
  };
}

function parse(argv: string[]) {
  try {
    return parseArgs({
      args: argv,
      options: {
        "slack-api-url": { type: "string" },
        peer: { type: "string" },
        "post-rate": { type: "string" },
      },
    });
  } catch (cause) {
    throw new SallyportError("usage", cause instanceof Error ? cause.message : "", { cause });
  }
}

function keeperStream(peer: string | undefined): Socket {
  if (peer !== undefined) return new Socket().connect(peer);
  const socket = keeperSocket();
  if (socket === null)
    throw new SallyportError("usage", "The gateway needs its keeper: --peer SOCKET, or SALLYPORT_PEER_FD.");
  return socket;
}

class Gateway {
  readonly #endpoint: Endpoint;
  readonly #limits: SessionLimits;
  readonly #keeper: Connection;
  #session: Session | null = null;

  constructor(endpoint: Endpoint, limits: SessionLimits, stream: Socket, done: (status: number) => void) {
    this.#endpoint = endpoint;
    this.#limits = limits;
    this.#keeper = connectToKeeper({
      stream,
      self: "gateway",
      onMessage: (message, parts) => this.#receive(message, parts),
      onEnd: (status) => {
        this.#session?.stop();
        done(status);
      },
    });
  }

  start(landlock: string): void {
    this.#keeper.send({ type: "role.hello", version: VERSION.slice(0, 40), pid: process.pid, landlock });
  }

  #receive(message: Message, parts: Buffer[]): void {
    switch (message.type) {
      case "gateway.connect":
        this.#connect(parts);
        return;
      case "gateway.disconnect":
        this.#disconnect();
        return;
      case "slack.receipt":
        this.#session?.receipt(message);
        return;
      case "slack.respond":
        this.#session?.respond(message.request, message.document, parts);
        return;
      case "slack.view":
        this.#session?.view(message.request, message.view);
        return;
      case "slack.post":
        if (this.#session === null)
          this.#port.posted({ ...unsent, nonce: message.nonce, channel: message.channel });
        this.#session?.post(message, parts);
        return;
      case "slack.update":
        if (this.#session === null)
          this.#port.posted({ ...unsent, nonce: message.nonce, channel: message.channel });
        this.#session?.update(message, parts);
        return;
      default:
        // The wire's table lets nothing else through.
        return;
    }
  }

  #connect(parts: Buffer[]): void {
    this.#session?.stop();
    const [appToken, botToken] = parts.map((part) => part.toString("utf8").trim());
    for (const part of parts) part.fill(0);
    this.#session = new Session({
      appToken: appToken ?? "",
      botToken: botToken ?? "",
      endpoint: this.#endpoint,
      transport: {},
      limits: this.#limits,
      port: this.#port,
    });
    this.#session.start();
  }

  #disconnect(): void {
    this.#session?.stop();
    this.#session = null;
    const nobody = { team: null, enterprise: null, botUser: null, teamName: null, org: false };
    this.#port.state({ connections: 0, ...nobody, error: null });
  }

  readonly #port: Port = {
    state: (state) => this.#keeper.send({ type: "slack.state", ...state }),
    alarm: (kind, detail) => this.#keeper.send({ type: "slack.alarm", kind, detail }),
    request: (request) => this.#keeper.send(request),
    acked: (id, accepted) => this.#keeper.send({ type: "slack.acked", id, accepted }),
    posted: (posted) => this.#keeper.send({ type: "slack.posted", ...posted }),
  };
}

const unsent = { ok: false, ts: null, error: "not_connected" } as const;
