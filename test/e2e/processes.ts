import { readdirSync, readFileSync } from "node:fs";

type Process = { pid: number; parent: number; args: string[] };

function all(): Process[] {
  const found: Process[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      const args = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      found.push({ pid: Number(name), parent, args });
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

/** The process that runs a role below this `serve`, by its argv; undefined while there is none. */
export function rolePid(
  serve: number,
  role: "keeper" | "gateway" | "runner" | "notary" | "egress" | "courier",
): number | undefined {
  const processes = all();
  const below = new Set([serve]);
  for (let size = 0; size !== below.size; ) {
    size = below.size;
    for (const p of processes) if (below.has(p.parent)) below.add(p.pid);
  }
  return processes.find((p) => {
    const at = p.args.indexOf("role");
    return below.has(p.pid) && p.pid !== serve && at >= 0 && p.args[at + 1] === role;
  })?.pid;
}

/** Sends a signal to a role, and waits for it to be there first. Returns its process id. */
export async function signalRole(
  serve: number | undefined,
  role: Parameters<typeof rolePid>[1],
  signal: NodeJS.Signals,
): Promise<number> {
  for (let tries = 0; tries < 400; tries++) {
    const pid = serve === undefined ? undefined : rolePid(serve, role);
    // 0 and below would mean this test's own processes.
    if (pid !== undefined && pid > 1) {
      process.kill(pid, signal);
      return pid;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`no ${role} below process ${serve}`);
}
