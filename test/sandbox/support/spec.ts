import { execFileSync } from "node:child_process";
import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "../../..");
export const BUILD = join(ROOT, "build");
export const LAUNCHER = join(BUILD, "launcher");

export const LIMIT = {
  wallMs: 1,
  graceMs: 2,
  memory: 3,
  pids: 4,
  cpuMilli: 5,
  cpuSeconds: 6,
  nofile: 7,
  fsize: 8,
  tmpBytes: 9,
  tmpInodes: 10,
} as const;

export interface FileEntry {
  tree: "op" | "secrets" | "etc";
  path: string;
  content?: string | Buffer;
  kind?: "file" | "directory" | "symlink";
  mode?: number;
}

export interface BindEntry {
  name: string;
  path: string;
  kind?: number;
  writable?: boolean;
  /** By default what is at the path. */
  dev?: bigint;
  ino?: bigint;
}

export interface RunSpec {
  argv: string[];
  env?: string[];
  cwd?: string;
  seccomp?: string | Buffer;
  limits?: Partial<Record<keyof typeof LIMIT, number>>;
  hostname?: string;
  ids?: [number, number];
  files?: FileEntry[];
  binds?: BindEntry[];
  loopback?: boolean;
  egress?: { token: Buffer; socket: string };
  cgroupRequired?: boolean;
}

const u32 = (...values: number[]): Buffer => {
  const out = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => {
    out.writeUInt32LE(value, 4 * i);
  });
  return out;
};

/** One record of a spec (sandbox/proto.h). */
export function record(type: number, body: Buffer | string): Buffer {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(8);
  head.writeUInt16LE(type, 0);
  head.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

export const VERSION = record(1, u32(1));
export const bpf = (name: string): Buffer => readFileSync(join(BUILD, `seccomp/${name}.bpf`));

function fileRecord(entry: FileEntry): Buffer {
  const head = Buffer.alloc(8);
  head[0] = { op: 1, secrets: 2, etc: 3 }[entry.tree];
  head[1] = { file: 1, directory: 2, symlink: 3 }[entry.kind ?? "file"];
  head.writeUInt16LE(entry.mode ?? 0o555, 2);
  head.writeUInt16LE(Buffer.byteLength(entry.path), 4);
  return record(10, Buffer.concat([head, Buffer.from(entry.path), Buffer.from(entry.content ?? "")]));
}

export const BIND = { directory: 1, file: 2, socket: 3 } as const;
export function bindRecord(entry: BindEntry): Buffer {
  const at = entry.ino === undefined ? lstatSync(entry.path, { bigint: true }) : { dev: 0n, ino: 0n };
  const head = Buffer.alloc(24);
  head[0] = entry.kind ?? BIND.directory;
  head[1] = entry.writable ? 1 : 0;
  head.writeUInt16LE(Buffer.byteLength(entry.name), 2);
  head.writeBigUInt64LE(entry.dev ?? at.dev, 8);
  head.writeBigUInt64LE(entry.ino ?? at.ino, 16);
  return record(13, Buffer.concat([head, Buffer.from(entry.name), Buffer.from(entry.path)]));
}

export const PATH = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

const ETC: FileEntry[] = [
  { tree: "etc", path: "passwd", content: "op:x:1000:1000::/tmp:/bin/sh\n" },
  { tree: "etc", path: "group", content: "op:x:1000:\n" },
  { tree: "etc", path: "hosts", content: "127.0.0.1 localhost\n" },
  { tree: "etc", path: "nsswitch.conf", content: "passwd: files\ngroup: files\nhosts: files\n" },
];

export function runSpec(spec: RunSpec): Buffer {
  const parts = [VERSION];
  for (const arg of spec.argv) parts.push(record(2, arg));
  for (const entry of spec.env ?? [PATH, "HOME=/tmp", "LANG=C.UTF-8"]) parts.push(record(3, entry));
  if (spec.cwd !== undefined) parts.push(record(4, spec.cwd));
  const filter = spec.seccomp ?? "default";
  parts.push(record(5, typeof filter === "string" ? bpf(filter) : filter));
  for (const [name, value] of Object.entries(spec.limits ?? {})) {
    const body = Buffer.alloc(16);
    body.writeUInt32LE(LIMIT[name as keyof typeof LIMIT], 0);
    body.writeBigUInt64LE(BigInt(value), 8);
    parts.push(record(6, body));
  }
  if (spec.hostname !== undefined) parts.push(record(7, spec.hostname));
  if (spec.ids) parts.push(record(8, u32(...spec.ids)));
  for (const entry of [...ETC, ...(spec.files ?? [])]) parts.push(fileRecord(entry));
  for (const entry of spec.binds ?? []) parts.push(bindRecord(entry));
  if (spec.loopback) parts.push(record(11, u32(1)));
  if (spec.egress)
    parts.push(record(15, Buffer.concat([spec.egress.token, Buffer.from(spec.egress.socket)])));
  if (spec.cgroupRequired) parts.push(record(12, u32(1)));
  return Buffer.concat(parts);
}

/** A run of a shell script at /op/main.sh. */
export function script(text: string, extra: Partial<RunSpec> = {}): RunSpec {
  const files: FileEntry[] = [
    { tree: "op", path: "main.sh", content: `#!/bin/sh\n${text}\n` },
    ...(extra.files ?? []),
  ];
  return { argv: ["./main.sh"], ...extra, files };
}

export interface ConfineSpec {
  argv: string[];
  execPath?: string;
  execFd?: number;
  env?: string[];
  cwd?: string;
  seccomp?: string | Buffer;
  keep?: number[];
  paths?: { rights: number; path: string }[];
  net?: number;
  ports?: { rights: number; port: number }[];
  scope?: number;
  pdeathsig?: number;
  rlimits?: { resource: number; value: number }[];
}

export function confineSpec(spec: ConfineSpec): Buffer {
  const parts = [VERSION];
  for (const arg of spec.argv) parts.push(record(2, arg));
  for (const entry of spec.env ?? [PATH]) parts.push(record(3, entry));
  if (spec.cwd !== undefined) parts.push(record(4, spec.cwd));
  if (spec.seccomp !== undefined)
    parts.push(record(5, typeof spec.seccomp === "string" ? bpf(spec.seccomp) : spec.seccomp));
  if (spec.execFd !== undefined) parts.push(record(20, u32(spec.execFd)));
  if (spec.execPath !== undefined) parts.push(record(21, spec.execPath));
  for (const fd of spec.keep ?? []) parts.push(record(22, u32(fd)));
  for (const { rights, path } of spec.paths ?? [])
    parts.push(record(23, Buffer.concat([Buffer.from([rights]), Buffer.from(path)])));
  if (spec.net) parts.push(record(24, Buffer.from([spec.net])));
  for (const { rights, port } of spec.ports ?? [])
    parts.push(record(25, Buffer.from([rights, 0, port & 255, port >> 8])));
  if (spec.scope) parts.push(record(26, Buffer.from([spec.scope])));
  if (spec.pdeathsig) parts.push(record(27, u32(spec.pdeathsig)));
  for (const { resource, value } of spec.rlimits ?? []) {
    const body = Buffer.alloc(16);
    body.writeUInt32LE(resource, 0);
    body.writeBigUInt64LE(BigInt(value), 8);
    parts.push(record(28, body));
  }
  return Buffer.concat(parts);
}

/** A BPF program that allows everything but these rules, of an OCI profile's `syscalls`. */
export function compileFilter(rules: object[]): Buffer {
  return execFileSync(join(BUILD, "seccomp-compile"), {
    input: JSON.stringify({ defaultAction: "SCMP_ACT_ALLOW", syscalls: rules }),
  });
}
