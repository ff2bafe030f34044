import { Socket } from "node:net";
import { SallyportError } from "../core/errors.ts";
import { harden } from "../host/harden.ts";
import { FD_MASK, type Hello, killFrame, type LauncherFrame, LauncherReader, runFrame } from "./frames.ts";
import type { Grant } from "./grant.ts";
import { compileSecrets, type SecretForms } from "./redact.ts";
import { launchFailed, type RunResult } from "./result.ts";
import { LiveRun, type RunHandlers } from "./run.ts";
import { encodeSpec } from "./spec.ts";

/** A run that was asked for. `finished` never rejects. */
export interface Run {
  readonly finished: Promise<RunResult>;
  /** Where it waits for something first: resolves, never rejects, once it was handed to the launcher or given up. */
  readonly begun?: Promise<void>;
  /** TERM, and KILL 500 ms later; `now`: KILL at once. */
  cancel(now: boolean): void;
}

/** Client of the persistent launcher (sandbox/) over its stream socket. */
export interface Launcher {
  /** What the host gives, as the launcher found it. Rejects with `sandbox_unavailable` when it ends before it says so. */
  readonly hello: Promise<Hello>;
  /** Resolves when the launcher has ended; every run is dead then, and none of them finishes. */
  readonly ended: Promise<string>;
  run(grant: Grant, handlers: RunHandlers): Run;
  close(): void;
}

/** Takes over the descriptor. */
export function openLauncher(fd: number): Launcher {
  return new LauncherClient(fd);
}

/** What redaction looks for; it copies what it needs of the values. */
function formsOf({ secrets }: Grant): SecretForms | null {
  const lent: { name: string; value: Uint8Array }[] = [];
  for (const { name, value } of secrets) value.use((bytes) => lent.push({ name, value: bytes }));
  return compileSecrets(lent);
}

class LauncherClient implements Launcher {
  readonly hello: Promise<Hello>;
  readonly ended: Promise<string>;
  readonly #fd: number;
  readonly #socket: Socket;
  readonly #reader = new LauncherReader();
  readonly #runs = new Map<number, LiveRun>();
  #next = 1;
  #open = true;
  #sayHello: (hello: Hello) => void = () => {};
  #sayEnded: (why: string) => void = () => {};

  constructor(fd: number) {
    this.#fd = fd;
    const hello = Promise.withResolvers<Hello>();
    this.hello = hello.promise;
    this.hello.catch(() => {});
    this.#sayHello = hello.resolve;
    const ended = Promise.withResolvers<string>();
    this.ended = ended.promise;
    this.#sayEnded = (why) => {
      ended.resolve(why);
      hello.reject(new SallyportError("sandbox_unavailable", `The launcher ended: ${why}.`));
    };
    this.#socket = new Socket({ fd, readable: true, writable: true });
    this.#socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    this.#socket.on("error", () => {});
    this.#socket.once("close", () => this.#end("its connection closed"));
  }

  run(grant: Grant, handlers: RunHandlers): Run {
    const handle = this.#next++;
    try {
      const run = this.#start(handle, grant, handlers);
      this.#runs.set(handle, run);
      void run.finished.then(() => this.#runs.delete(handle));
      return { finished: run.finished, cancel: (now) => run.cancel(now) };
    } catch (error) {
      const why =
        error instanceof SallyportError ? error.detail : `The launcher could not be asked: ${error}`;
      return { finished: Promise.resolve(launchFailed(why)), cancel: () => {} };
    }
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Descriptors that the launcher gets are closed here; those that stay belong to the run. */
  #start(handle: number, grant: Grant, handlers: RunHandlers): LiveRun {
    if (!this.#open) throw new SallyportError("launch_failed", "The launcher has ended.");
    // First: values that can't be kept out of output start nothing.
    const secrets = formsOf(grant);
    const h = harden();
    const given: number[] = [];
    const kept: number[] = [];
    try {
      const spec = encodeSpec(grant.spec);
      try {
        given.push(h.memfd("run", spec));
      } finally {
        h.wipe(spec);
      }
      for (let i = 0; i < 2; i++) {
        const [read, write] = h.pipe();
        kept.push(read);
        given.push(write);
      }
      const [ours, theirs] = h.socketpair();
      kept.push(ours);
      given.push(theirs);
      h.sendFds(this.#fd, runFrame(handle, FD_MASK.stdout | FD_MASK.stderr | FD_MASK.control), given);
      const [stdout, stderr, control] = kept.splice(0) as [number, number, number];
      return new LiveRun({
        fds: { stdout, stderr, control },
        program: grant.spec.argv[0] ?? "",
        wallMs: grant.spec.limits.wallMs,
        graceMs: grant.spec.limits.graceMs,
        outputBytes: grant.outputBytes,
        secrets,
        handlers,
        kill: (signal) => this.#kill(handle, signal),
      });
    } catch (error) {
      secrets?.wipe();
      throw error;
    } finally {
      for (const fd of [...given, ...kept]) h.closeFd(fd);
    }
  }

  #kill(handle: number, signal: number): void {
    if (!this.#open || !this.#runs.has(handle)) return;
    try {
      harden().sendFds(this.#fd, killFrame(handle, signal), []);
    } catch {
      // A launcher that takes no order within a second is broken: its end is the end of every run.
      this.#end("it did not take an order");
    }
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#handle(frame);
    } catch (error) {
      this.#end(error instanceof Error ? error.message : String(error));
    }
  }

  #handle(frame: LauncherFrame): void {
    if (frame.kind === "hello") this.#sayHello(frame);
    else if (frame.kind !== "pong") this.#runs.get(frame.handle)?.receive(frame);
  }

  #end(why: string): void {
    if (!this.#open) return;
    this.#open = false;
    for (const run of this.#runs.values()) run.abandon();
    this.#socket.destroy();
    this.#sayEnded(why);
  }
}
