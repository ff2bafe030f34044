import { constants } from "node:os";
import { bindRecord, type SpecBind } from "./bind.ts";
import { isPackaged, repoPath } from "./self.ts";
import { record, u32 } from "./tlv.ts";

/** Record types of a confine spec (sandbox/spec.h). */
const TYPE = {
  version: 1,
  argv: 2,
  env: 3,
  cwd: 4,
  seccomp: 5,
  execFd: 20,
  keepFd: 22,
  path: 23,
  net: 24,
  port: 25,
  scope: 26,
  pdeathsig: 27,
  roots: 14,
  egress: 15,
  node: 18,
} as const;
const RIGHT = { read: 1, write: 2, exec: 4, skipMissing: 128 } as const;
const TCP_BIND = 1;
const TCP_CONNECT = 2;
/** No abstract socket and no signal leads out of the role (Landlock ABI 6). */
const SCOPE = 1 | 2;
/** Of a run's own; here it stands for none. */
const EGRESS_TOKEN_BYTES = 16;

export type PathRight = { path: string; read?: boolean; write?: boolean; exec?: boolean };

export type Given = {
  /** The directory of imported root file systems. */
  readonly roots: string;
  /** The executable that may be a run's Node. */
  readonly node: string;
  /** The socket at which runs hand over their listeners. */
  readonly egress: string;
  readonly binds: readonly SpecBind[];
};

export type Confinement = {
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Descriptor of the program, in the confined process. */
  execFd: number;
  keepFds: readonly number[];
  /** BPF program as the sandbox's Makefile compiles it. */
  seccomp: Uint8Array;
  /** Landlock: what is not named can't be opened. A path that does not exist is passed over. */
  paths: readonly PathRight[];
  /** False: no TCP connection out either; a list: to these ports alone. Listening is refused in any case. */
  connect: boolean | readonly number[];
  /** For the runner: what its launcher gives to runs, and nothing else of the host whatever the runner says (sandbox/allowed.c). */
  given?: Given;
};

/** Encodes what `launcher confine` applies to a role before it execs it. */
export function encodeConfinement(o: Confinement): Buffer {
  const out = [record(TYPE.version, u32(1))];
  for (const element of o.argv) out.push(record(TYPE.argv, Buffer.from(element)));
  for (const [name, value] of Object.entries(o.env))
    out.push(record(TYPE.env, Buffer.from(`${name}=${value}`)));
  out.push(
    record(TYPE.cwd, Buffer.from("/")),
    record(TYPE.seccomp, o.seccomp),
    record(TYPE.execFd, u32(o.execFd)),
  );
  for (const fd of o.keepFds) out.push(record(TYPE.keepFd, u32(fd)));
  for (const { path, ...rights } of o.paths) {
    const bits =
      (rights.read ? RIGHT.read : 0) |
      (rights.write ? RIGHT.write : 0) |
      (rights.exec ? RIGHT.exec : 0) |
      RIGHT.skipMissing;
    out.push(record(TYPE.path, Buffer.from([bits]), Buffer.from(path)));
  }
  out.push(record(TYPE.net, Buffer.from([o.connect === true ? TCP_BIND : TCP_BIND | TCP_CONNECT])));
  if (typeof o.connect === "object") {
    for (const port of o.connect)
      out.push(record(TYPE.port, Buffer.from([TCP_CONNECT, 0, port & 255, port >> 8])));
  }
  out.push(record(TYPE.scope, Buffer.from([SCOPE])));
  if (o.given !== undefined) {
    const { roots, node, egress, binds } = o.given;
    out.push(record(TYPE.roots, Buffer.from(roots)), record(TYPE.node, Buffer.from(node)));
    out.push(record(TYPE.egress, Buffer.alloc(EGRESS_TOKEN_BYTES), Buffer.from(egress)));
    for (const bind of binds) out.push(bindRecord(bind));
  }
  out.push(record(TYPE.pdeathsig, u32(constants.signals.SIGKILL)));
  return Buffer.concat(out);
}

/** What every role must be able to open: the program itself and the C library. */
export function programPaths(): PathRight[] {
  const system: PathRight[] = [
    ...[
      "/usr/lib",
      "/usr/lib64",
      "/lib",
      "/lib64",
      "/etc/ld.so.cache",
      "/etc/ssl/openssl.cnf",
      "/etc/localtime",
      "/usr/share/zoneinfo",
    ].map((path) => ({ path, read: true, exec: true })),
    { path: "/proc", read: true },
    { path: "/sys/fs/cgroup", read: true },
    { path: "/dev/null", read: true, write: true },
    { path: "/dev/urandom", read: true },
    { path: process.execPath, read: true, exec: true },
  ];
  return isPackaged ? system : [...system, { path: repoPath(""), read: true, exec: true }];
}
