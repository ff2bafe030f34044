import { createServer, type Server, type Socket } from "node:net";
import { harden } from "../host/harden.ts";
import type { Door } from "./door.ts";
import { Reports, type Summary } from "./reports.ts";
import { type Rules, serveTunnel } from "./tunnel.ts";

export const MAX_CONNECTIONS = 64;

/** What one run may reach, its two listeners once it has handed them over, and its connections. */
export class RunNetwork {
  readonly #rules: Rules;
  readonly #reports: Reports;
  readonly #servers: Server[] = [];
  readonly #clients = new Set<Socket>();
  readonly #tunnels = new Set<Promise<void>>();
  #line: Socket | undefined;
  #over = false;

  constructor(rules: Rules, tell: (summary: Summary) => void) {
    this.#rules = rules;
    this.#reports = new Reports(tell);
  }

  /** Takes over the listeners: CONNECT, SOCKS5. `line` ends with the run. */
  open(fds: readonly [number, number], line: Socket): void {
    if (this.#over || this.#line !== undefined) {
      for (const fd of fds) harden().closeFd(fd);
      line.destroy();
      return;
    }
    this.#line = line;
    line.once("close", () => void this.close());
    line.resume();
    this.#listen("connect", fds[0]);
    this.#listen("socks", fds[1]);
  }

  /** Ends every connection; resolves when each was reported. */
  async close(): Promise<void> {
    this.#over = true;
    this.#line?.destroy();
    for (const server of this.#servers) server.close();
    for (const client of this.#clients) client.destroy();
    await Promise.all(this.#tunnels);
    this.#reports.flush();
  }

  #listen(kind: Door["kind"], fd: number): void {
    const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) =>
      this.#take(kind, client),
    );
    server.on("error", () => server.close());
    server.listen({ fd });
    this.#servers.push(server);
  }

  #take(kind: Door["kind"], client: Socket): void {
    if (this.#over || this.#clients.size >= MAX_CONNECTIONS) {
      client.on("error", () => undefined);
      client.resetAndDestroy();
      this.#reports.add({ ...NOTHING, reason: `more than ${MAX_CONNECTIONS} connections at once` });
      return;
    }
    this.#clients.add(client);
    client.once("close", () => this.#clients.delete(client));
    const tunnel = serveTunnel(client, kind, this.#rules, (report) => this.#reports.add(report));
    this.#tunnels.add(tunnel);
    void tunnel.finally(() => this.#tunnels.delete(tunnel));
  }
}

const NOTHING = {
  outcome: "refused",
  target: "",
  address: null,
  bytesOut: 0,
  bytesIn: 0,
  ms: 0,
} as const;
