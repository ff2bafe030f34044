import { chmodSync, renameSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { SallyportError } from "../core/errors.ts";
import { harden } from "./harden.ts";
import { socketFd } from "./socket-fd.ts";

/**
 * The descriptor of a Unix socket that listens at `path`, for our own account alone, and on which nobody accepts yet. One that
 * was there is replaced. Throws `start_failed`.
 */
export async function listenUnix(path: string): Promise<number> {
  // No longer than the name itself: the kernel takes paths of at most 107 bytes.
  const made = join(dirname(path), ".new");
  const server = createServer();
  try {
    rmSync(made, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(made, resolve);
    });
    chmodSync(made, 0o600);
    const fd = copyOf(socketFd(server)!);
    // Under its name only now: closing Node's server, which would accept, removes the name that it knows.
    renameSync(made, path);
    return fd;
  } catch (cause) {
    throw new SallyportError("start_failed", `The socket ${path} can't be made.`, { cause });
  } finally {
    server.close();
  }
}

/** Another descriptor of the same open file, which the caller closes. */
export function copyOf(fd: number): number {
  const h = harden();
  const [one, other] = h.socketpair();
  try {
    h.sendFds(one, Buffer.from("."), [fd]);
    return h.recvFds(other, 1)!.fds[0]!;
  } finally {
    h.closeFd(one);
    h.closeFd(other);
  }
}
