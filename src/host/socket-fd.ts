import type { Server, Socket } from "node:net";

/**
 * The descriptor beneath a socket or a listening server; undefined once it is closed. It stays theirs. Node has no public name
 * for it; the handle has carried `fd` since 0.x.
 */
export function socketFd(socket: Socket | Server): number | undefined {
  return (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
}
