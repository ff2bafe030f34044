import { createServer, type Server, type Socket } from "node:net";
import { harden } from "../host/harden.ts";
import { socketFd } from "../host/socket-fd.ts";

const TOKEN_BYTES = 16;
const WAIT_MS = 5000;
const MAX_WAITING = 128;

/**
 * Takes the listeners of runs that begin (sandbox/egress.c), over the socket that only our own account may connect to.
 * `take`: the token in hex, listeners for CONNECT and SOCKS5, and a connection that ends with the run.
 */
export function takeListeners(
  fd: number,
  take: (token: string, fds: readonly [number, number], line: Socket) => void,
): Server {
  const waiting = new Set<Socket>();
  const look = (socket: Socket) => {
    const at = socketFd(socket);
    const got = at === undefined || at < 0 ? null : receive(at);
    if (got === null) return;
    waiting.delete(socket);
    const [connect, socks] = got.fds;
    if (got.bytes.length === TOKEN_BYTES && got.fds.length === 2)
      take(got.bytes.toString("hex"), [connect!, socks!], socket);
    else {
      for (const one of got.fds) harden().closeFd(one);
      socket.destroy();
    }
  };
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("close", () => waiting.delete(socket));
    if (waiting.size >= MAX_WAITING) {
      socket.destroy();
      return;
    }
    waiting.add(socket);
    setTimeout(() => {
      if (waiting.has(socket)) socket.destroy();
    }, WAIT_MS).unref();
    // Of the first one we may be told before its message is there; the second comes after it, and rings for it.
    for (const one of [...waiting]) look(one);
  });
  return server.listen({ fd });
}

function receive(fd: number): { bytes: Buffer; fds: number[] } | null {
  try {
    return harden().recvFds(fd, 64);
  } catch {
    return { bytes: Buffer.alloc(0), fds: [] };
  }
}
