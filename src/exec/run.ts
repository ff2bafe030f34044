import { readSync } from "node:fs";
import { Socket } from "node:net";
import { harden } from "../host/harden.ts";
import { type ControlMessage, ControlReader, Throttle } from "./control.ts";
import { describeCall } from "./denied-call.ts";
import type { Denied, Exited, Failed, LearnedCall, Started } from "./frames.ts";
import { GRACE_MS } from "./grant.ts";
import { type Printed, PrintedSecrets } from "./printed.ts";
import { createRedactor, redactText, type SecretForms } from "./redact.ts";
import { canceledEarly, exitedResult, failedResult, type LimitedBy, type RunResult } from "./result.ts";
import { OutputBudget, type OutputSink, OutputStream } from "./stream.ts";

/** What a run tells while it lives. onStarted comes before all others; nothing comes after the run is finished. */
export interface RunHandlers {
  onStarted(frame: Started): void;
  onOutput(stream: "stdout" | "stderr", bytes: Buffer): void;
  /** Null when more output can be taken now; else resolves when it can. */
  ready(): Promise<void> | null;
  onProgress(text: string, percent: number | null): void;
  /**
   * A refused system call, by name and, where that says something, its argument's ("socket(AF_PACKET)"). The launcher limits
   * how often (32 a second, 256 a run, and the first of each call).
   */
  onDenied(call: string, process: Denied["process"]): void;
  /** The first time that a secret was taken out on its way. */
  onSecret?(printed: Printed): void;
  /** Only of a run whose calls are learned: each call once, for some once for each different arguments. */
  onLearned?(call: LearnedCall): void;
}

export interface LiveRunOptions {
  readonly fds: { readonly stdout: number; readonly stderr: number; readonly control: number };
  readonly program: string;
  readonly wallMs: number;
  readonly graceMs: number;
  readonly outputBytes: number;
  readonly secrets: SecretForms | null;
  readonly handlers: RunHandlers;
  readonly kill: (signal: number) => void;
}

const TERM = 15;
const KILL = 9;
/** The launcher keeps the time limit; if it says nothing this long after it, the run is killed from here. */
const BACKSTOP_MS = 2000;
const CONTROL_BYTES = 1024 * 1024;
const PROGRESS_MS = 250;
const DENIED_NAMES = 60;

/** One run from the request to the launcher until its result. Owns the descriptors that it was given. */
export class LiveRun {
  readonly finished: Promise<RunResult>;
  readonly #options: LiveRunOptions;
  readonly #budget: OutputBudget;
  readonly #denied = new Map<string, number>();
  readonly #deniedEarly: [string, Denied["process"]][] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #progress: Throttle<{ text: string; percent: number | null }>;
  readonly #printed: PrintedSecrets;
  #streams: OutputStream[] = [];
  #control: ControlChannel | undefined;
  #canceled = false;
  #limitedBy: LimitedBy = "best-effort";
  #resolve: (result: RunResult) => void = () => {};

  constructor(options: LiveRunOptions) {
    this.#options = options;
    this.#budget = new OutputBudget(options.outputBytes);
    this.finished = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#printed = new PrintedSecrets((printed) => options.handlers.onSecret?.(printed));
    this.#progress = new Throttle(PROGRESS_MS, ({ text, percent }) =>
      options.handlers.onProgress(text, percent),
    );
  }

  cancel(now: boolean): void {
    this.#canceled = true;
    this.#options.kill(now ? KILL : TERM);
    if (!now) this.#timers.push(setTimeout(() => this.#options.kill(KILL), GRACE_MS));
  }

  receive(frame: Started | Failed | Exited | Denied | LearnedCall): void {
    if (frame.kind === "started") this.#start(frame);
    else if (frame.kind === "denied") this.#deny(frame);
    else if (frame.kind === "learned") this.#options.handlers.onLearned?.(frame);
    else if (frame.kind === "failed") this.#fail(frame);
    else void this.#end(frame);
  }

  #start(frame: Started): void {
    const { fds, handlers, secrets, wallMs, graceMs } = this.#options;
    if (frame.cgroup !== "none") this.#limitedBy = `cgroup ${frame.cgroup}`;
    handlers.onStarted(frame);
    for (const [call, process] of this.#deniedEarly) handlers.onDenied(call, this.#named(process));
    const sink = (stream: "stdout" | "stderr"): OutputSink => ({
      write: (bytes) => handlers.onOutput(stream, bytes),
      ready: () => handlers.ready(),
    });
    this.#streams = (["stdout", "stderr"] as const).map(
      (name) =>
        new OutputStream(
          fds[name],
          createRedactor(secrets, this.#printed.on(name)),
          this.#budget,
          sink(name),
        ),
    );
    this.#control = new ControlChannel(
      fds.control,
      (text) => redactText(secrets, text, this.#printed.on("progress")),
      (text, percent) => this.#progress.push({ text: text.slice(0, 500), percent }),
    );
    this.#timers.push(setTimeout(() => this.#options.kill(KILL), wallMs + graceMs + BACKSTOP_MS));
  }

  #deny(frame: Denied): void {
    const call = describeCall(frame);
    const name = this.#denied.has(call) || this.#denied.size < DENIED_NAMES ? call : "others";
    this.#denied.set(name, (this.#denied.get(name) ?? 0) + 1);
    // The launcher may tell of a refusal before it tells of the start.
    if (this.#control === undefined) this.#deniedEarly.push([call, frame.process]);
    else this.#options.handlers.onDenied(call, this.#named(frame.process));
  }

  /** Without the secret after which the Op called it. The kernel cuts such a name after 15 bytes. */
  #named(process: Denied["process"]): Denied["process"] {
    if (process === null) return null;
    const name = redactText(this.#options.secrets, process.name, this.#printed.on("process"));
    return { ...process, name };
  }

  #fail(frame: Failed): void {
    const said = frame.step === "engine" ? this.#lastWords() : "";
    for (const fd of Object.values(this.#options.fds)) harden().closeFd(fd);
    this.#stop();
    const result = failedResult(frame, this.#options.program, said);
    this.#options.secrets?.wipe();
    this.#resolve(this.#canceled ? canceledEarly() : result);
  }

  /** What an OCI runtime said before it gave up: its last line, cleaned. */
  #lastWords(): string {
    const said = readRest(this.#options.fds.stderr);
    const text = redactText(this.#options.secrets, said, this.#printed.on("detail"));
    const lines = text.replace(/[^ -~\n]/g, "?").split("\n");
    return (lines.findLast((line) => line.trim() !== "") ?? "").slice(0, 300);
  }

  async #end(frame: Exited): Promise<void> {
    this.#stop();
    // Now, not when its output has been read: a cancel in between comes too late.
    const canceled = this.#canceled;
    for (const stream of this.#streams) stream.expectEnd();
    await Promise.all(this.#streams.map((stream) => stream.ended));
    const note = (await this.#control?.end()) ?? null;
    this.#progress.end();
    this.#options.secrets?.wipe();
    const seen = [...this.#denied.values()].reduce((sum, n) => sum + n, 0);
    const denied = [...this.#denied].map(([call, count]) => ({ call, count }));
    if (frame.denied > seen) denied.push({ call: "not told apart", count: frame.denied - seen });
    const result = exitedResult(frame, canceled, {
      limitedBy: this.#limitedBy,
      outputBytes: this.#budget.total,
      truncated: this.#budget.truncated,
      denied,
      printed: this.#printed.totals(),
    });
    this.#resolve(note === null || result.detail !== null ? result : { ...result, detail: note });
  }

  /** The launcher has ended, and with it the run: nobody is left to be told to kill it, or to tell how it ended. */
  abandon(): void {
    this.#stop();
  }

  #stop(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

/** Our end of fd 3. What is no progress is answered with an error line, counted, and told at the end. */
class ControlChannel {
  readonly #socket: Socket;
  readonly #reader: ControlReader;
  readonly #onProgress: (text: string, percent: number | null) => void;
  readonly #closed: Promise<void>;
  #bytes = 0;
  #refused = 0;
  #why = "";
  #closedFor: string | null = null;

  constructor(
    fd: number,
    clean: (text: string) => string,
    onProgress: (text: string, percent: number | null) => void,
  ) {
    this.#reader = new ControlReader(clean);
    this.#onProgress = onProgress;
    this.#socket = new Socket({ fd, readable: true, writable: true });
    this.#socket.on("error", () => {});
    this.#socket.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#closed = new Promise((resolve) => {
      this.#socket.once("end", resolve);
      this.#socket.once("close", () => resolve());
    });
  }

  /** After the run's end: what it still wrote is read, then the channel is closed. A note when lines were refused. */
  async end(): Promise<string | null> {
    const timer = setTimeout(() => this.#socket.destroy(), 1000);
    await this.#closed;
    clearTimeout(timer);
    this.#socket.destroy();
    if (this.#closedFor !== null) return this.#closedFor;
    if (this.#refused === 0) return null;
    return `${this.#refused} of the Op's lines on fd 3 ignored; the first: ${this.#why}.`;
  }

  #take(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > CONTROL_BYTES) {
      this.#closedFor = `It wrote more than ${CONTROL_BYTES} bytes there, so the channel was closed.`;
      this.#socket.destroy();
      return;
    }
    for (const message of this.#reader.push(chunk)) this.#handle(message);
  }

  #handle(message: ControlMessage): void {
    if (message.kind === "progress") this.#onProgress(message.text, message.percent);
    else this.#refuse(message.why);
  }

  #refuse(why: string): void {
    if (this.#refused++ === 0) this.#why = why;
    // An Op that does not read its answers gets no more of them.
    if (this.#socket.writable && this.#socket.writableLength < 4096)
      this.#socket.write(`${JSON.stringify({ error: `ignored ${why}` })}\n`);
  }
}

const ENGINE_WORDS = 16 * 1024;

function readRest(fd: number): string {
  const bytes = Buffer.alloc(ENGINE_WORDS);
  let size = 0;
  try {
    for (;;) {
      const n = readSync(fd, bytes, size, bytes.length - size, null);
      if (n === 0) break;
      size += n;
    }
  } catch {
    // Nothing more is there now; who wrote it has ended.
  }
  return bytes.toString("utf8", 0, size);
}
