import { SallyportError } from "../core/errors.ts";

/** Frames between runner and launcher: u32 LE total length, u8 kind, u64 LE run handle, payload (sandbox/proto.h). */
const HEADER = 13;
const MAX = 4096;

export interface Hello {
  readonly kind: "hello";
  readonly cgroup: "none" | "v1" | "v2";
}
export interface Started {
  readonly kind: "started";
  readonly handle: number;
  /** What bounds this run. */
  readonly cgroup: "none" | "v1" | "v2";
  readonly noProc: boolean;
  readonly noLandlock: boolean;
}
export interface Failed {
  readonly kind: "failed";
  readonly handle: number;
  readonly errno: number;
  readonly step: string;
}
export interface Exited {
  readonly kind: "exited";
  readonly handle: number;
  readonly code: number;
  readonly signal: number;
  readonly timedOut: boolean;
  readonly outOfMemory: boolean;
  /** Ended for having more processes than its limit, which a watcher saw where no cgroup refuses them. */
  readonly tooManyProcesses: boolean;
  readonly denied: number;
  readonly wallUs: number;
  readonly userUs: number;
  readonly systemUs: number;
  readonly maxRssBytes: number;
  readonly memoryPeakBytes: number;
  readonly pidsHits: number;
  /** Processes and threads at once, at most; seen every 250 ms where no cgroup counts. */
  readonly pidsPeak: number;
}
export interface Denied {
  readonly kind: "denied";
  readonly handle: number;
  readonly nr: number;
  readonly arch: number;
  /** As the caller gave them; what points somewhere means nothing to us. */
  readonly args: readonly bigint[];
  /** The process as the run itself numbers and names it (the name is the process's own choice), where the host tells. */
  readonly process: { readonly pid: number; readonly name: string } | null;
}
/** A call that the ceiling allowed, of a run whose calls are learned. */
export interface LearnedCall {
  readonly kind: "learned";
  readonly handle: number;
  readonly nr: number;
  readonly args: readonly bigint[];
}
export type LauncherFrame =
  | Hello
  | Started
  | Failed
  | Exited
  | Denied
  | LearnedCall
  | { readonly kind: "pong" };

/** MASK of a RUN frame: which descriptors follow the spec, in this order. */
export const FD_MASK = { stdin: 1, stdout: 2, stderr: 4, control: 8 } as const;

export function runFrame(handle: number, mask: number): Buffer {
  return frame(1, handle, Buffer.from([mask]));
}

export function killFrame(handle: number, signal: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(signal);
  return frame(2, handle, payload);
}

function frame(kind: number, handle: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(HEADER + payload.length, 0);
  header.writeUInt8(kind, 4);
  header.writeBigUInt64LE(BigInt(handle), 5);
  return Buffer.concat([header, payload]);
}

/** Reassembles the launcher's frames. Throws `internal` on what is none: the connection is then of no use. */
export class LauncherReader {
  #held: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): LauncherFrame[] {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const frames: LauncherFrame[] = [];
    while (this.#held.length >= 4) {
      const length = this.#held.readUInt32LE(0);
      if (length < HEADER || length > MAX) throw broken(`a frame of ${length} bytes`);
      if (this.#held.length < length) break;
      frames.push(parse(this.#held.subarray(0, length)));
      this.#held = this.#held.subarray(length);
    }
    return frames;
  }
}

const CGROUP = ["none", "v1", "v2"] as const;

function parse(bytes: Buffer): LauncherFrame {
  const kind = bytes.readUInt8(4);
  const handle = Number(bytes.readBigUInt64LE(5));
  const body = bytes.subarray(HEADER);
  const u32 = (i: number): number => body.readUInt32LE(4 * i);
  const need = (size: number): void => {
    if (body.length < size) throw broken(`a frame of kind ${kind} with ${body.length} bytes`);
  };
  switch (kind) {
    case 128:
      need(8);
      if (u32(0) !== 1) throw broken(`version ${u32(0)}; launcher and runner are not of one build`);
      return { kind: "hello", cgroup: CGROUP[u32(1)] ?? "none" };
    case 129:
      need(12);
      return {
        kind: "started",
        handle,
        cgroup: CGROUP[u32(1)] ?? "none",
        noProc: (u32(2) & 1) !== 0,
        noLandlock: (u32(2) & 2) !== 0,
      };
    case 130:
      need(4);
      return {
        kind: "failed",
        handle,
        errno: u32(0),
        step: body
          .subarray(4, 84)
          .toString("latin1")
          .replace(/[^ -~]/g, "?"),
      };
    case 131: {
      need(72);
      const u64 = (i: number): number => Number(body.readBigUInt64LE(16 + 8 * i));
      return {
        kind: "exited",
        handle,
        code: u32(0),
        signal: u32(1),
        timedOut: (u32(2) & 1) !== 0,
        outOfMemory: (u32(2) & 4) !== 0,
        tooManyProcesses: (u32(2) & 8) !== 0,
        denied: u32(3),
        wallUs: u64(0),
        userUs: u64(1),
        systemUs: u64(2),
        maxRssBytes: u64(3),
        memoryPeakBytes: u64(4),
        pidsHits: u64(5),
        pidsPeak: u64(6),
      };
    }
    case 132:
      need(84);
      return {
        kind: "denied",
        handle,
        nr: u32(0),
        arch: u32(1),
        args: argsIn(body),
        process: u32(16) === 0 ? null : { pid: u32(16), name: processName(body.subarray(68, 84)) },
      };
    case 134:
      need(64);
      return { kind: "learned", handle, nr: u32(0), args: argsIn(body) };
    case 133:
      return { kind: "pong" };
    default:
      throw broken(`a frame of unknown kind ${kind}`);
  }
}

const argsIn = (body: Buffer): bigint[] =>
  Array.from({ length: 6 }, (_, i) => body.readBigUInt64LE(16 + 8 * i));

/** Any bytes but NUL, chosen by the process; what is not printable ASCII shows as "?". */
function processName(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes
    .subarray(0, end === -1 ? bytes.length : end)
    .toString("latin1")
    .replace(/[^ -~]/g, "?");
}

function broken(what: string): SallyportError {
  return new SallyportError("internal", `The launcher sent ${what}.`);
}
