import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import type { HostBait } from "./table.ts";

/** Something real of the host for each attempt to reach for. */
export async function layBait(t: { teardown(call: () => unknown): void }): Promise<HostBait> {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-bait-"));
  chmodSync(folder, 0o755);
  const port = createServer((s) => s.end("you got out\n"));
  const abstract = createServer();
  const socket = createServer();
  t.teardown(() => {
    for (const server of [port, abstract, socket]) server.close();
    rmSync(folder, { recursive: true });
  });
  const name = `sallyport-bait-${process.pid}`;
  const path = join(folder, "socket");
  const listening = (server: Server, where: string | { port: number; host: string }) =>
    new Promise<void>((resolve) => server.listen(where, resolve));
  await listening(port, { port: 0, host: "127.0.0.1" });
  await listening(abstract, `\0${name}`);
  await listening(socket, path);
  chmodSync(path, 0o777);
  const file = join(folder, "file");
  writeFileSync(file, "bait", { mode: 0o644 });
  const { port: number } = port.address() as { port: number };
  return { port: number, abstract: name, socket: path, file, pid: process.pid, hostname: hostname() };
}
