import { type ChildProcess, spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Harden } from "../../../src/host/harden.ts";
import { BUILD, LAUNCHER, type RunSpec, runSpec } from "./spec.ts";

const loaded: { exports: unknown } = { exports: {} };
process.dlopen(loaded, join(BUILD, "harden.node"));
export const harden = loaded.exports as Harden;

export interface Frame {
  kind: number;
  handle: number;
  payload: Buffer;
}

export interface Ended {
  started?: { pid: number; cgroup: number; flags: number };
  failed?: { errno: number; step: string };
  exited?: {
    code: number;
    signal: number;
    flags: number;
    denied: number;
    wallUs: number;
    maxRss: number;
    memoryPeak: number;
    pidsHits: number;
  };
  denied: { nr: number; arch: number; pid: number; count: number; args: bigint[] }[];
  stdout: string;
  stderr: string;
}

export const KIND = {
  run: 1,
  kill: 2,
  ping: 3,
  hello: 128,
  started: 129,
  failed: 130,
  exited: 131,
  denied: 132,
  pong: 133,
};

export function frame(kind: number, handle: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32LE(13 + payload.length, 0);
  head[4] = kind;
  head.writeBigUInt64LE(BigInt(handle), 5);
  return Buffer.concat([head, payload]);
}

/** A launcher in mode `serve` (or `learn`) and our end of its socket. */
export class Launcher {
  readonly child: ChildProcess;
  readonly fd: number;
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  #buffer = Buffer.alloc(0);
  #waiters: (() => void)[] = [];
  #next = 1;
  closed = false;
  /** Microseconds from sending the last RUN to its EXITED or FAILED, as this process saw it. */
  lastUs = 0;
  #sentAt = 0n;

  /** `before`: a command that runs the rest of its arguments, in front of all. */
  constructor(
    options: {
      user?: number;
      launcher?: string;
      before?: string[];
      mode?: "serve" | "learn";
      env?: NodeJS.ProcessEnv;
      stderr?: number;
    } = {},
  ) {
    const [ours, theirs] = harden.socketpair();
    const launcher = options.launcher ?? LAUNCHER;
    const user = String(options.user);
    const drop =
      options.user === undefined ? [] : ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"];
    const mode = options.mode ?? "serve";
    const [file = launcher, ...args] = [...(options.before ?? []), ...drop, launcher, mode, "4"];
    this.child = spawn(file, args, {
      stdio: ["ignore", "ignore", options.stderr ?? "inherit", "ignore", theirs],
      ...(options.env ? { env: options.env } : {}),
    });
    harden.closeFd(theirs);
    this.fd = ours;
    this.socket = new Socket({ fd: ours, readable: true, writable: true });
    this.socket.on("data", (data) => this.#take(Buffer.from(data)));
    this.socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
    this.socket.on("error", () => {});
  }

  #take(data: Buffer): void {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    while (this.#buffer.length >= 4 && this.#buffer.length >= this.#buffer.readUInt32LE(0)) {
      const total = this.#buffer.readUInt32LE(0);
      const one = this.#buffer.subarray(0, total);
      if (one[4] === KIND.exited || one[4] === KIND.failed)
        this.lastUs = Number(process.hrtime.bigint() - this.#sentAt) / 1000;
      this.frames.push({ kind: one[4]!, handle: Number(one.readBigUInt64LE(5)), payload: one.subarray(13) });
      this.#buffer = this.#buffer.subarray(total);
    }
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  /** The first frame that matches, now or later; undefined when the launcher ended without it. */
  async wait(match: (f: Frame) => boolean): Promise<Frame | undefined> {
    for (;;) {
      const found = this.frames.find(match);
      if (found || this.closed) return found;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  kill(handle: number, signal: number): void {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(signal);
    harden.sendFds(this.fd, frame(KIND.kill, handle, payload), []);
  }

  /** Starts a run; `bytes` replaces the encoded spec. */
  start(
    spec: RunSpec | Buffer,
    options: { fd3?: number; stdin?: number } = {},
  ): { handle: number; ended: Promise<Ended> } {
    const handle = this.#next++;
    const memfd = harden.memfd("spec", Buffer.isBuffer(spec) ? spec : runSpec(spec), false);
    const [outRead, outWrite] = harden.pipe();
    const [errRead, errWrite] = harden.pipe();
    const fds = [memfd];
    let mask = 2 | 4;
    if (options.stdin !== undefined) {
      mask |= 1;
      fds.push(options.stdin);
    }
    fds.push(outWrite, errWrite);
    if (options.fd3 !== undefined) {
      mask |= 8;
      fds.push(options.fd3);
    }
    this.#sentAt = process.hrtime.bigint();
    harden.sendFds(this.fd, frame(KIND.run, handle, Buffer.from([mask])), fds);
    for (const fd of [memfd, outWrite, errWrite]) harden.closeFd(fd);
    return { handle, ended: this.#collect(handle, outRead, errRead) };
  }

  run(spec: RunSpec | Buffer): Promise<Ended> {
    return this.start(spec).ended;
  }

  async #collect(handle: number, out: number, err: number): Promise<Ended> {
    const [stdout, stderr] = await Promise.all([readAll(out), readAll(err)]);
    await this.wait((f) => f.handle === handle && (f.kind === KIND.failed || f.kind === KIND.exited));
    const result: Ended = { denied: [], stdout, stderr };
    for (const { kind, payload: p } of this.frames.filter((f) => f.handle === handle)) {
      if (kind === KIND.started)
        result.started = { pid: p.readUInt32LE(0), cgroup: p.readUInt32LE(4), flags: p.readUInt32LE(8) };
      if (kind === KIND.failed) result.failed = { errno: p.readUInt32LE(0), step: p.toString("latin1", 4) };
      if (kind === KIND.exited)
        result.exited = {
          code: p.readUInt32LE(0),
          signal: p.readUInt32LE(4),
          flags: p.readUInt32LE(8),
          denied: p.readUInt32LE(12),
          wallUs: Number(p.readBigUInt64LE(16)),
          maxRss: Number(p.readBigUInt64LE(40)),
          memoryPeak: Number(p.readBigUInt64LE(48)),
          pidsHits: Number(p.readBigUInt64LE(56)),
        };
      if (kind === KIND.denied) {
        const args = Array.from({ length: 6 }, (_, i) => p.readBigUInt64LE(16 + 8 * i));
        result.denied.push({
          nr: p.readUInt32LE(0),
          arch: p.readUInt32LE(4),
          pid: p.readUInt32LE(8),
          count: p.readUInt32LE(12),
          args,
        });
      }
    }
    return result;
  }

  /** Ends the launcher by closing its socket. */
  async end(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) resolve();
      else this.child.once("exit", () => resolve());
    });
    this.socket.destroy();
    await gone;
  }
}

async function readAll(fd: number): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of createReadStream("", { fd })) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}
