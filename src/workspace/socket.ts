import type { IncomingMessage } from "node:http";
import { performance } from "node:perf_hooks";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Outbound } from "./delivery.ts";
import type { FaultPlan } from "./faults.ts";
import { Tickets } from "./once.ts";
import type { State } from "./state.ts";
import type { ConnectionInfo } from "./types.ts";

const MAX_CONNECTIONS = 10;
/** Slack takes client frames below 20,480 bytes, header included; a client's header has 8 bytes here. */
export const MAX_ACK_FRAME = 20_480;
const CLIENT_HEADER = 8;
const PING_MS = 10_000;
const HOST = "applink-7fc4fdbb64-4x5xq";

interface Connection {
  readonly id: number;
  readonly socket: Duplex;
  readonly ws: WebSocket;
  readonly openedAt: number;
  draining: boolean;
  /** Its acks are no longer looked at. */
  deaf: boolean;
  /** Neither pongs nor anything else is answered. */
  muted: boolean;
  gone: boolean;
  readonly unacked: Set<Outbound>;
}

export interface HubOptions {
  state: State;
  faults: FaultPlan;
  bigAck: "close" | "drop";
  keepTcpOpen: boolean;
  /** An ack for an envelope that this connection, or another one, was given. */
  onAck: (envelopeId: string, payload: unknown, connection: number, bytes: number) => void;
  /** Envelopes whose connection ended before their ack. */
  onOrphans: (orphans: Outbound[]) => void;
  /** A connection can take envelopes. */
  onReady: () => void;
}

/** The server's side of Socket Mode: upgrade, hello, envelopes out, acks in, disconnects. */
export class Hub {
  readonly #o: HubOptions;
  readonly #tickets = new Tickets();
  readonly #server: WebSocketServer;
  readonly #open = new Map<number, Connection>();
  readonly #stalled = new Set<Duplex>();
  readonly #pings: NodeJS.Timeout;
  #last = 0;
  #turn = 0;

  constructor(options: HubOptions) {
    this.#o = options;
    this.#server = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: options.bigAck === "close" ? MAX_ACK_FRAME - CLIENT_HEADER - 1 : 1024 * 1024,
    });
    this.#pings = setInterval(() => {
      for (const c of this.#open.values()) if (!c.muted && !c.gone) c.ws.ping("Ping from applink");
    }, PING_MS);
    this.#pings.unref();
  }

  ticket(): string {
    return this.#tickets.issue();
  }

  list(): ConnectionInfo[] {
    return [...this.#open.values()]
      .filter((c) => !c.gone)
      .map((c) => ({ id: c.id, openedAt: c.openedAt, draining: c.draining, unacked: c.unacked.size }));
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { faults } = this.#o;
    socket.on("error", () => socket.destroy());
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    if (url.pathname !== "/link/" || !this.#tickets.take(url.searchParams.get("ticket") ?? "")) {
      socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    } else if (faults.take("refuseUpgrade")) {
      socket.end(`HTTP/1.1 ${faults.refuseStatus} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    } else if (faults.take("stallUpgrade")) {
      this.#stalled.add(socket);
      socket.once("close", () => this.#stalled.delete(socket));
    } else {
      this.#server.handleUpgrade(request, socket, head, (ws) => this.#accept(ws, socket));
    }
  }

  #accept(ws: WebSocket, socket: Duplex): void {
    this.#last += 1;
    const muted = this.#o.faults.take("stallAfterUpgrade");
    const connection: Connection = {
      id: this.#last,
      socket,
      ws,
      openedAt: performance.now(),
      draining: muted,
      deaf: false,
      muted,
      gone: false,
      unacked: new Set(),
    };
    this.#open.set(connection.id, connection);
    if (this.#o.keepTcpOpen) this.#holdTcp(connection);
    ws.on("error", () => {}); // a frame that breaks the protocol or the size ends in "close" all the same
    ws.on("close", () => this.#gone(connection));
    ws.on("ping", (data) => {
      if (!connection.muted) ws.pong(data);
    });
    ws.on("message", (data, isBinary) => this.#received(connection, data as Buffer, isBinary));
    if (muted) return;
    if (this.list().length > MAX_CONNECTIONS) {
      this.#json(connection, {
        ...this.#about("disconnect"),
        reason: "too_many_websockets",
        num_connections: MAX_CONNECTIONS,
      });
      connection.draining = true;
      ws.close(1000);
      return;
    }
    if (this.#o.faults.take("dropHello")) {
      connection.draining = true;
    } else {
      const live = this.list().length;
      this.#json(connection, {
        type: "hello",
        num_connections: live,
        debug_info: { host: HOST, build_number: 10, approximate_connection_time: 18_060 },
        connection_info: { app_id: this.#o.state.appId },
      });
    }
    this.#o.state.changed();
    if (!connection.draining) this.#o.onReady();
  }

  /** Slack leaves the TCP connection open after the closing handshake; ws would end it there. */
  #holdTcp(connection: Connection): void {
    const { socket } = connection;
    const end = socket.end.bind(socket);
    socket.end = () => {
      this.#gone(connection);
      return socket.readableEnded || socket.destroyed ? end() : socket;
    };
    socket.once("end", () => end());
  }

  #about(type: string): Record<string, unknown> {
    return { type, debug_info: { host: HOST }, connection_info: { app_id: this.#o.state.appId } };
  }

  #json(connection: Connection, frame: unknown): void {
    connection.ws.send(JSON.stringify(frame));
  }

  #received(connection: Connection, data: Buffer, isBinary: boolean): void {
    if (connection.deaf || connection.muted || isBinary) return;
    if (data.length + CLIENT_HEADER >= MAX_ACK_FRAME) return;
    let frame: unknown;
    try {
      frame = JSON.parse(data.toString("utf8"));
    } catch {
      return;
    }
    if (typeof frame !== "object" || frame === null) return;
    const { envelope_id: id, payload } = frame as Record<string, unknown>;
    if (typeof id !== "string") return;
    for (const c of this.#open.values()) {
      for (const out of c.unacked) if (out.envelopeId === id) c.unacked.delete(out);
    }
    this.#o.onAck(id, payload, connection.id, data.length);
  }

  #gone(connection: Connection): void {
    if (connection.gone) return;
    connection.gone = true;
    this.#open.delete(connection.id);
    const orphans = [...connection.unacked];
    connection.unacked.clear();
    this.#o.state.changed();
    this.#o.onOrphans(orphans);
  }

  #usable(): Connection[] {
    return [...this.#open.values()].filter((c) => !c.draining && !c.gone && c.ws.readyState === c.ws.OPEN);
  }

  /** Sends to one connection, in turn; `avoid` is taken only where there is no other. Gives its id, or null. */
  send(out: Outbound, avoid?: number): number | null {
    const usable = this.#usable();
    const others = usable.filter((c) => c.id !== avoid);
    const choice = others.length > 0 ? others : usable;
    this.#turn += 1;
    const connection = choice[this.#turn % Math.max(choice.length, 1)];
    if (connection === undefined) return null;
    connection.unacked.add(out);
    connection.ws.send(out.frame());
    if (this.#o.faults.take("refreshDuring")) {
      connection.deaf = true;
      this.disconnect("refresh_requested", connection.id, true, 50);
    }
    return connection.id;
  }

  #pick(id: number | undefined): Connection | undefined {
    return id === undefined ? [...this.#open.values()].find((c) => !c.gone) : this.#open.get(id);
  }

  raw(data: string | Buffer, id: number | undefined): void {
    this.#pick(id)?.ws.send(data);
  }

  disconnect(reason: string, id: number | undefined, close: boolean, afterMs: number): void {
    const connection = this.#pick(id);
    if (connection === undefined) return;
    this.#json(connection, { type: "disconnect", reason, debug_info: { host: HOST } });
    if (!close) return;
    connection.draining = true;
    setTimeout(() => {
      if (!connection.gone) connection.ws.close(1000);
    }, afterMs).unref();
  }

  kill(id: number | undefined): void {
    const connection = this.#pick(id);
    if (connection === undefined) return;
    const { socket } = connection;
    if ("resetAndDestroy" in socket && typeof socket.resetAndDestroy === "function") socket.resetAndDestroy();
    else socket.destroy();
    this.#gone(connection);
  }

  mute(id: number | undefined): void {
    const connection = this.#pick(id);
    if (connection !== undefined) connection.muted = true;
  }

  close(): void {
    clearInterval(this.#pings);
    for (const socket of this.#stalled) socket.destroy();
    for (const ws of this.#server.clients) ws.terminate();
    this.#server.close();
  }
}
