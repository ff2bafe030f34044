import type { OciEngine } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import { LAUNCH_BYTES } from "../core/launch-size.ts";
import { Secret } from "../core/secret.ts";
import { bindRecord, type SpecBind } from "../host/bind.ts";
import { pieces, record, u32 } from "../host/tlv.ts";

/** Record types of the launcher's spec (sandbox/spec.h). */
const TYPE = {
  version: 1,
  argv: 2,
  env: 3,
  cwd: 4,
  seccomp: 5,
  limit: 6,
  hostname: 7,
  ids: 8,
  file: 10,
  cgroup: 12,
  root: 14,
  node: 18,
  engine: 16,
  egress: 15,
  learn: 17,
} as const;

const TREE = { op: 1, secrets: 2, etc: 3, bundle: 4 } as const;

/** sandbox/engine.h */
const ENGINE_ID: Readonly<Record<OciEngine, number>> = { crun: 1, runc: 2, gvisor: 3 };

const LIMIT = {
  wallMs: 1,
  graceMs: 2,
  memoryBytes: 3,
  pids: 4,
  cpuMilli: 5,
  cpuSeconds: 6,
  openFiles: 7,
  fileBytes: 8,
  tmpBytes: 9,
  tmpInodes: 10,
} as const;

/** What the launcher refuses beyond; checked here too, so that the refusal says which bound it was. */
export const SPEC_BOUNDS = {
  fileBytes: 64 * 1024 * 1024,
  otherBytes: LAUNCH_BYTES.other,
  nameBytes: 1024 * 1024,
  files: 4096,
  binds: 32,
  argv: 256,
  env: 256,
} as const;

export interface SpecFile {
  readonly tree: keyof typeof TREE;
  /** Relative; parents are made by the launcher. */
  readonly path: string;
  readonly mode: number;
  readonly bytes: Uint8Array | Secret;
}

/** Everything one run is given. Times in ms, sizes in bytes, cpu in cores. */
export interface LaunchSpec {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | Secret>>;
  readonly cwd: string;
  readonly hostname: string;
  readonly seccomp: Uint8Array;
  readonly files: readonly SpecFile[];
  readonly binds?: readonly SpecBind[];
  readonly limits: {
    readonly wallMs: number;
    readonly graceMs: number;
    readonly memoryBytes: number;
    readonly pids: number;
    readonly cpu: number;
    readonly tmpBytes: number;
  };
  /** Host path of an imported root file system; absent: the host's /usr. */
  readonly root?: string;
  /** Host path of the executable that becomes /run/runtime/node; absent: none. */
  readonly node?: string;
  /** Where its listeners are handed over, and the 16 bytes by which it is known there; absent: no network. */
  readonly egress?: { readonly socket: string; readonly token: Uint8Array } | undefined;
  /** True: the run fails to launch where memory or pids can't be limited by a cgroup. */
  readonly cgroupRequired: boolean;
  /** Absent: the launcher itself. */
  readonly engine?: OciEngine;
  /** A launcher in mode `learn` tells the calls that `seccomp` allows; 64 bytes, a bit for each call whose arguments matter. */
  readonly learn?: Uint8Array;
}

/**
 * Encodes a spec as the launcher reads it, in memory of its own, which the caller wipes: of a secret's bytes it is the one copy.
 * Throws `launch_failed` when it passes one of the launcher's bounds.
 */
export function encodeSpec(spec: LaunchSpec): Buffer {
  const env = Object.entries(spec.env);
  bound("arguments", spec.argv.length, SPEC_BOUNDS.argv);
  bound("environment variables", env.length, SPEC_BOUNDS.env);
  bound("files", spec.files.length, SPEC_BOUNDS.files);
  bound("resources of the host", spec.binds?.length ?? 0, SPEC_BOUNDS.binds);
  const out: Uint8Array[] = [record(TYPE.version, u32(1))];
  for (const element of spec.argv) out.push(record(TYPE.argv, text(element, "argument")));
  for (const [name, value] of env) {
    const begin = text(`${name}=`, "environment");
    if (typeof value === "string") out.push(record(TYPE.env, begin, text(value, "environment")));
    else value.use((bytes) => out.push(...pieces(TYPE.env, begin, bytes)));
  }
  out.push(record(TYPE.cwd, text(spec.cwd, "cwd")), record(TYPE.hostname, text(spec.hostname, "hostname")));
  out.push(record(TYPE.ids, u32(1000, 1000)));
  const { wallMs, graceMs, memoryBytes, pids, cpu, tmpBytes } = spec.limits;
  const limits: [number, number][] = [
    [LIMIT.wallMs, wallMs],
    [LIMIT.graceMs, graceMs],
    [LIMIT.memoryBytes, memoryBytes],
    [LIMIT.pids, pids],
    [LIMIT.cpuMilli, Math.max(1, Math.round(cpu * 1000))],
    [LIMIT.tmpBytes, tmpBytes],
  ];
  for (const [id, value] of limits) out.push(record(TYPE.limit, limit(id, value)));
  out.push(record(TYPE.cgroup, u32(spec.cgroupRequired ? 1 : 0)));
  if (spec.root !== undefined) out.push(record(TYPE.root, text(spec.root, "root")));
  if (spec.node !== undefined) out.push(record(TYPE.node, text(spec.node, "executable's path")));
  if (spec.engine !== undefined) out.push(record(TYPE.engine, u32(ENGINE_ID[spec.engine])));
  if (spec.egress !== undefined)
    out.push(record(TYPE.egress, spec.egress.token, text(spec.egress.socket, "egress socket")));
  if (spec.learn !== undefined) out.push(record(TYPE.learn, spec.learn));
  for (const bind of spec.binds ?? []) out.push(bindRecord(bind));
  const other = out.reduce((sum, part) => sum + part.length, 0);
  out.push(record(TYPE.seccomp, spec.seccomp));
  let names = 0;
  let content = 0;
  for (const file of spec.files) {
    const header = fileHeader(file);
    names += 8 + header.length;
    lent(file.bytes, (bytes) => {
      content += bytes.length;
      out.push(...pieces(TYPE.file, header, bytes));
    });
  }
  bound("bytes of file content", content, SPEC_BOUNDS.fileBytes);
  bound("bytes of file names", names, SPEC_BOUNDS.nameBytes);
  bound("bytes of arguments and environment", other, SPEC_BOUNDS.otherBytes);
  const whole = Buffer.allocUnsafeSlow(out.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of out) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function lent(bytes: Uint8Array | Secret, take: (bytes: Uint8Array) => void): void {
  if (bytes instanceof Secret) bytes.use(take);
  else take(bytes);
}

function limit(id: number, value: number): Buffer {
  const out = Buffer.alloc(16);
  out.writeUInt32LE(id, 0);
  out.writeBigUInt64LE(BigInt(Math.ceil(value)), 8);
  return out;
}

/** u8 tree, u8 kind (1 = regular file), u16 mode, u16 path length, u16 zero, path. */
function fileHeader(file: SpecFile): Buffer {
  const path = text(file.path, "file name");
  const header = Buffer.alloc(8);
  header.writeUInt8(TREE[file.tree], 0);
  header.writeUInt8(1, 1);
  header.writeUInt16LE(file.mode & 0o777, 2);
  header.writeUInt16LE(path.length, 4);
  return Buffer.concat([header, path]);
}

function text(value: string, what: string): Buffer {
  if (value.includes("\0"))
    throw new SallyportError("launch_failed", `The ${what} holds a NUL byte, which no program can be given.`);
  return Buffer.from(value, "utf8");
}

function bound(what: string, count: number, max: number): void {
  if (count > max)
    throw new SallyportError("launch_failed", `The run needs ${count} ${what}; at most ${max} fit a launch.`);
}
