import { join } from "node:path";
import { asset } from "../host/asset.ts";
import type { SpecBind } from "../host/bind.ts";
import { encodeConfinement, type Given, type PathRight, programPaths } from "../host/confine.ts";
import type { Dirs } from "../host/dirs.ts";
import { FACT_PATHS } from "../host/facts.ts";
import type { HostResource } from "../host/resources.ts";
import { selfExec } from "../host/self.ts";
import { type ListedVaults, portsOf } from "../host/vault-shape.ts";
import { EGRESS_SOCKET } from "../keeper/egress.ts";

/** What each role is started with and what it may reach: DESIGN's table (section 2) as data. */
export type RoleName = "keeper" | "gateway" | "runner" | "notary" | "egress" | "courier";

/** What the person who started `serve` decided. */
export type RoleSite = {
  dirs: Dirs;
  slackApiUrl: string;
  gatewayArgs: readonly string[];
  /** `limits` of sallyport.yaml. */
  limits: string;
  /** Directory of imported root file systems. */
  runtimes: string;
  /** Blocks of addresses that are not public and that Ops may be let through to. */
  private: readonly string[];
  /** What starts an Op that names no engine. */
  engine: string;
  /** What of the host Ops may be given. */
  resources: readonly HostResource[];
  /** Where secrets may be fetched from; none: there is no courier. */
  vaults: ListedVaults;
};

export type RoleConfinement = {
  /** After `role NAME`. */
  args: readonly string[];
  /** Name of the asset with the role's system calls. */
  seccomp: string;
  /** Beside the program itself and the C library. */
  paths: readonly PathRight[];
  /** TCP out of the host; a list: to these ports alone. */
  connect: boolean | readonly number[];
  /** What of the host an Op may be given. */
  given?: Given;
  /** Whether the launcher stays, to run Ops for it. */
  launcher: "confine" | "runner";
};

const rw = (path: string): PathRight => ({ path, read: true, write: true });
const ro = (path: string): PathRight => ({ path, read: true });

/** What resolving names and verifying certificates reads. */
const DNS_PORT = 53;
const NETWORK_PATHS = [ro("/etc"), ro("/usr/share/ca-certificates"), ro("/run/systemd/resolve")];

const TABLE: Readonly<Record<RoleName, (site: RoleSite) => Omit<RoleConfinement, "seccomp">>> = {
  // By name and mode alone: a keeper that was taken over can't have the runner mount a path of its choosing.
  keeper: ({ dirs: { state, run, log }, resources, vaults }) => ({
    args: [
      "--state-dir",
      state,
      "--run-dir",
      run,
      "--log-dir",
      log,
      "--resources",
      JSON.stringify(Object.fromEntries(resources.map(({ name, mode }) => [name, mode]))),
      "--vaults",
      JSON.stringify(
        Object.fromEntries(Object.entries(vaults).map(([name, { address }]) => [name, address])),
      ),
    ],
    paths: [rw(state), rw(run), rw(log)],
    connect: false,
    launcher: "confine",
  }),
  gateway: ({ slackApiUrl, gatewayArgs }) => ({
    args: ["--slack-api-url", slackApiUrl, ...gatewayArgs],
    paths: NETWORK_PATHS,
    connect: true,
    launcher: "confine",
  }),
  egress: (site) => ({
    args: ["--private", site.private.join(",")],
    paths: NETWORK_PATHS,
    connect: true,
    launcher: "confine",
  }),
  // Where the vaults are, it is told here and not by the keeper: one that was taken over can't send it elsewhere.
  courier: ({ vaults }) => ({
    args: ["--vaults", JSON.stringify(vaults)],
    paths: [...NETWORK_PATHS, ...Object.values(vaults).flatMap(({ ca }) => (ca === null ? [] : [ro(ca)]))],
    connect: [...new Set([...portsOf(vaults), DNS_PORT])],
    launcher: "confine",
  }),
  runner: ({ dirs, limits, runtimes, engine, resources }) => ({
    args: [
      ...["--limits", limits, "--runtimes", runtimes, "--engine", engine],
      ...["--resources", JSON.stringify(resources)],
    ],
    paths: FACT_PATHS.map(ro),
    connect: false,
    launcher: "runner",
    given: {
      roots: runtimes,
      node: process.execPath,
      egress: join(dirs.run, EGRESS_SOCKET),
      binds: resources.map(bindOf),
    },
  }),
  notary: ({ dirs }) => ({
    args: ["--dir", join(dirs.state, "notary")],
    paths: [rw(join(dirs.state, "notary"))],
    connect: false,
    launcher: "confine",
  }),
};

/** Which inode, and whether a directory or a file, is looked at when a run is given it. */
function bindOf({ name, path, mode }: HostResource): SpecBind {
  const kind = mode === "socket" ? "socket" : "directory";
  return { name, path, kind, writable: mode === "rw", dev: 0n, ino: 0n };
}

export const ROLE_NAMES = Object.keys(TABLE) as RoleName[];

export function roleConfinement(role: RoleName, site: RoleSite): RoleConfinement {
  return { ...TABLE[role](site), seccomp: `seccomp/role-${role}.bpf` };
}

/** Descriptor numbers in a role's process. */
export const ROLE_FD = { spec: 3, exe: 4, first: 5 } as const;

/**
 * The launcher's spec for a role. `given`: variables that name the descriptors it inherits, numbered from ROLE_FD.first in this
 * order. `self`: what the executable is called with before `role`.
 */
export function encodeRole(
  role: RoleName,
  confinement: RoleConfinement,
  given: readonly string[],
  self: readonly string[] = [...selfExec().args, "role", role],
): Buffer {
  const env: Record<string, string> = {
    LANG: "C.UTF-8",
    PATH: "/usr/bin:/bin",
    TZ: process.env.TZ ?? "UTC",
  };
  for (const [i, name] of given.entries()) env[name] = String(ROLE_FD.first + i);
  return encodeConfinement({
    argv: ["sallyport", ...self, ...confinement.args],
    env,
    execFd: ROLE_FD.exe,
    keepFds: given.map((_, i) => ROLE_FD.first + i),
    seccomp: asset(confinement.seccomp),
    paths: [...programPaths(), ...confinement.paths],
    connect: confinement.connect,
    ...(confinement.given === undefined ? {} : { given: confinement.given }),
  });
}
