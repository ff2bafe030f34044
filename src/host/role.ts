import type { Socket } from "node:net";
import { SallyportError } from "../core/errors.ts";
import { asset } from "./asset.ts";
import { harden } from "./harden.ts";
import { ownSignalsOnly } from "./own-signals.ts";
import { openSocket } from "./socket.ts";

/** The keeper's exit status after a lock: it tells the supervisor to start all roles anew, sealed. */
export const LOCKED_EXIT = 75;

/** Reads `--name value` for exactly the names given; a role is started by sallyport or its unit, never typed by a person. */
export function roleOptions<const N extends readonly string[]>(
  argv: readonly string[],
  names: N,
): Record<N[number], string> {
  const found: Record<string, string> = {};
  for (let i = 0; i < argv.length; i += 2) {
    const name = argv[i]?.startsWith("--") === true ? argv[i]!.slice(2) : "";
    const value = argv[i + 1];
    if (!names.includes(name) || value === undefined)
      throw new SallyportError("usage", `Unknown option ${argv[i]}.`);
    found[name] = value;
  }
  for (const name of names)
    if (found[name] === undefined) throw new SallyportError("usage", `A role needs --${name}.`);
  return found as Record<N[number], string>;
}

/**
 * The last step of a role's confinement, before it reads an untrusted byte: not dumpable, no core, and filters on all its
 * threads that take exec away, and signals to others. (The launcher's filter had to leave exec in: it execs the role itself.)
 * Returns what the launcher says of Landlock: `abi=N`, `refused=ERRNO`, or `absent` where no launcher started us.
 */
export function confineRole(): string {
  const h = harden();
  h.setDumpable(false);
  h.disableCoreDumps();
  h.seccompTsync(ownSignalsOnly(process.pid));
  h.seccompTsync(asset("seccomp/role-noexec.bpf"));
  const landlock = process.env.SALLYPORT_LANDLOCK ?? "absent";
  delete process.env.SALLYPORT_LANDLOCK;
  return landlock.slice(0, 48);
}

/** A descriptor that the parent named in the environment; the variable is removed. Null where it is not there. */
export function inheritedFd(name: string): number | null {
  const text = process.env[name];
  delete process.env[name];
  if (text === undefined) return null;
  if (!/^[0-9]{1,6}$/.test(text)) throw new SallyportError("internal", `${name} is no descriptor number.`);
  return Number(text);
}

/** The connection that the parent made, as a stream. */
export function inheritedSocket(name: string): Socket | null {
  const fd = inheritedFd(name);
  return fd === null ? null : openSocket(fd);
}

/**
 * The role's connection to the keeper, whose end is the role's own. What a service manager sends to all processes at once must
 * not take a role away while the keeper still records how the runs ended.
 */
export function keeperSocket(): Socket | null {
  const socket = inheritedSocket("SALLYPORT_PEER_FD");
  if (socket !== null) process.on("SIGTERM", () => undefined);
  return socket;
}
