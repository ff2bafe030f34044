import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { SallyportError } from "../core/errors.ts";

export type Dirs = { state: string; run: string; log: string };

/** Of sun_path (unix(7)), the final NUL left off. */
const SOCKET_PATH_BYTES = 107;
/** Of those in the run directory. */
export const LONGEST_SOCKET = "egress.sock";
const NAMES = ["state", "run", "log"] as const;
const ROOT_DIRS: Dirs = { state: "/var/lib/sallyport", run: "/run/sallyport", log: "/var/log/sallyport" };

/** Where things are: flags win over the environment, and both over the defaults of this account (FHS for root, XDG for others). */
export function resolveDirs(
  flags: Partial<Record<(typeof NAMES)[number], string>>,
  env: NodeJS.ProcessEnv = process.env,
): Dirs {
  const dirs = Object.fromEntries(
    NAMES.map((name) => {
      const given = flags[name] ?? env[`SALLYPORT_${name.toUpperCase()}_DIR`];
      if (given === undefined) return [name, defaultDir(name, env)];
      if (given === "" || given.includes("\0"))
        throw new SallyportError("usage", `The ${name} directory's name is empty.`);
      return [name, isAbsolute(given) ? given : resolve(given)];
    }),
  ) as Dirs;
  checkSocketPath(join(dirs.run, LONGEST_SOCKET));
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

function defaultDir(name: (typeof NAMES)[number], env: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return ROOT_DIRS[name];
  const { XDG_RUNTIME_DIR: runtime } = env;
  if (name === "run" && isPlace(runtime)) return join(runtime, "sallyport");
  const state = join(stateHome(env), "sallyport");
  return name === "state" ? state : join(state, name);
}

/** Only asked where a directory was not given: an account of a container often has no entry in passwd, and no HOME. */
function stateHome(env: NodeJS.ProcessEnv): string {
  if (isPlace(env.XDG_STATE_HOME)) return env.XDG_STATE_HOME;
  let home: string | undefined;
  let cause: unknown;
  try {
    home = env.HOME ?? homedir();
  } catch (error) {
    cause = error;
  }
  if (isPlace(home)) return join(home, ".local", "state");
  throw new SallyportError(
    "usage",
    "This account has no home directory. Name directories with --state-dir, --run-dir and --log-dir, or in SALLYPORT_STATE_DIR, SALLYPORT_RUN_DIR and SALLYPORT_LOG_DIR.",
    { cause },
  );
}

/** The XDG Base Directory Specification has relative ones ignored. */
const isPlace = (path: string | undefined): path is string => path !== undefined && isAbsolute(path);
