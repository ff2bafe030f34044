import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { SallyportError } from "../core/errors.ts";

export type Dirs = { state: string; run: string; log: string };

/** Of sun_path (unix(7)), the final NUL left off. */
const SOCKET_PATH_BYTES = 107;
const NAMES = ["state", "run", "log"] as const;

/** Where things are: flags win over the environment, and both over the defaults of this account (FHS for root, XDG for others). */
export function resolveDirs(
  flags: Partial<Record<(typeof NAMES)[number], string>>,
  env: NodeJS.ProcessEnv = process.env,
): Dirs {
  const dirs = defaults(env);
  for (const name of NAMES) {
    const given = flags[name] ?? env[`SALLYPORT_${name.toUpperCase()}_DIR`];
    if (given === undefined) continue;
    if (given === "" || given.includes("\0"))
      throw new SallyportError("usage", `The ${name} directory's name is empty.`);
    dirs[name] = isAbsolute(given) ? given : resolve(given);
  }
  checkSocketPath(join(dirs.run, "admin.sock"));
  return dirs;
}

function checkSocketPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length <= SOCKET_PATH_BYTES) return;
  throw new SallyportError(
    "usage",
    `The run directory's name is too long: ${path} has ${length} bytes, a Unix socket's path at most ${SOCKET_PATH_BYTES}. Name a shorter one with --run-dir or SALLYPORT_RUN_DIR.`,
  );
}

function defaults(env: NodeJS.ProcessEnv): Dirs {
  if (process.getuid?.() === 0)
    return { state: "/var/lib/sallyport", run: "/run/sallyport", log: "/var/log/sallyport" };
  const state = join(env.XDG_STATE_HOME ?? join(homedir(), ".local", "state"), "sallyport");
  const runtime = env.XDG_RUNTIME_DIR;
  return {
    state,
    run: runtime === undefined ? join(state, "run") : join(runtime, "sallyport"),
    log: join(state, "log"),
  };
}
