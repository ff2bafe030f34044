import { type ChildProcess, execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { repoPath } from "../../src/host/self.ts";
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
  const shared = `/dev/shm/sallyport-bait-${process.pid}`;
  writeFileSync(shared, "bait", { mode: 0o644 });
  const probe = (attempt: string) => execFileSync(repoPath("build/probe"), [attempt], { encoding: "utf8" });
  const made = probe(`ipc-make:${process.pid}`);
  if (!made.endsWith("\tOK\n")) throw new Error(`no System V or POSIX objects on this host: ${made}`);
  t.teardown(() => {
    rmSync(shared);
    probe(`ipc-remove:${process.pid}`);
  });
  return {
    port: number,
    abstract: name,
    socket: path,
    file,
    shared,
    key: process.pid,
    pid: process.pid,
    hostname: hostname(),
  };
}

/** What attempts could have changed of the host: files, a device, its name, and a process of the account that runs them. */
export function lookAt(bait: HostBait, launcher: ChildProcess) {
  const owned = (path: string) => {
    const { mode, uid, gid, size } = statSync(path);
    return { mode, uid, gid, size };
  };
  const stat = readFileSync(`/proc/${launcher.pid}/stat`, "latin1");
  const [priority, nice] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(15, 17);
  return {
    bait: readFileSync(bait.file, "utf8"),
    null: owned("/dev/null"),
    program: owned("/usr/bin/env"),
    corePattern: readFileSync("/proc/sys/kernel/core_pattern", "utf8"),
    mounts: readFileSync("/proc/self/mountinfo", "utf8").split("\n").length,
    hostname: hostname(),
    launcher: { priority, nice },
  };
}
