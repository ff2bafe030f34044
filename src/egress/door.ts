import type { Socket } from "node:net";
import { readConnect, readGreeting, readSocks, SOCKS, type Wish } from "./requests.ts";
import { settle } from "./settle.ts";

/** An Op's request by one of the two protocols, and the way to answer it. */
export type Door = {
  readonly kind: "connect" | "socks";
  readonly wish: Wish;
  accept(): void;
  /** Not allowed, or not to be had; answers and gives back how the connection ended. */
  refuse(reason: string): { outcome: "refused"; reason: string };
  fail(reason: string): { outcome: "failed"; reason: string };
};

/** No alarm by itself: programs open connections that they then don't need. */
export const ENDED = {
  outcome: "failed",
  reason: "the connection ended before it had said what it wanted",
} as const;
const refusedAs = (reason: string) => ({ outcome: "refused", reason }) as const;

export type Unopened = { outcome: "refused" | "failed"; reason: string };

export async function openDoor(client: Socket, kind: Door["kind"], ms: number): Promise<Door | Unopened> {
  return kind === "connect" ? openConnect(client, ms) : openSocks(client, ms);
}

async function openConnect(client: Socket, ms: number): Promise<Door | Unopened> {
  const { verdict } = await settle(client, { judge: readConnect, ms });
  if (verdict.state === "ended") return ENDED;
  if (verdict.state === "refused") {
    answer(
      client,
      verdict.reason.startsWith("only CONNECT") ? "405 Method Not Allowed" : "400 Bad Request",
      verdict.reason,
    );
    return refusedAs(verdict.reason);
  }
  return {
    kind: "connect",
    wish: verdict,
    accept: () => client.write("HTTP/1.1 200 Connection established\r\n\r\n"),
    refuse: (reason) => {
      answer(client, "403 Forbidden", reason);
      return { outcome: "refused", reason };
    },
    fail: (reason) => {
      answer(client, "502 Bad Gateway", reason);
      return { outcome: "failed", reason };
    },
  };
}

function answer(client: Socket, status: string, reason: string): void {
  const text = `sallyport: ${reason}.\n`;
  const allow = status.startsWith("405") ? "Allow: CONNECT\r\n" : "";
  client.end(
    `HTTP/1.1 ${status}\r\n${allow}Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
  );
}

async function openSocks(client: Socket, ms: number): Promise<Door | Unopened> {
  const greeting = await settle(client, { judge: readGreeting, ms });
  if (greeting.verdict.state === "ended") return ENDED;
  if (greeting.verdict.state === "refused") {
    if (greeting.held[0] === 5) client.end(Buffer.from([5, 255]));
    return refusedAs(greeting.verdict.reason);
  }
  client.write(Buffer.from([5, 0]));
  const held = greeting.held.subarray(greeting.verdict.size);
  const { verdict } = await settle(client, { judge: readSocks, held, ms });
  if (verdict.state === "ended") return ENDED;
  if (verdict.state === "refused") {
    client.end(reply("code" in verdict ? verdict.code : SOCKS.failed));
    return refusedAs(verdict.reason);
  }
  return {
    kind: "socks",
    wish: verdict,
    accept: () => client.write(reply(SOCKS.ok)),
    refuse: (reason) => {
      client.end(reply(SOCKS.notAllowed));
      return { outcome: "refused", reason };
    },
    fail: (reason) => {
      client.end(reply(SOCKS.unreachable));
      return { outcome: "failed", reason };
    },
  };
}

/** The bound address that the reply carries is nobody's business inside. */
function reply(code: number): Buffer {
  return Buffer.from([5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
}
