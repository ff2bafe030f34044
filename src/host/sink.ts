import { harden } from "./harden.ts";

/** What waits for a reader that is slow; beyond it lines are dropped and counted. */
const MAX_QUEUED = 1024 * 1024;
const RETRY_MS = 200;

export type SinkStatus = {
  /** Lines that nobody got: the reader was gone, or stood still for longer than the queue holds. */
  dropped: number;
  /** Errno of the last failed write, or "stalled"; null once a write went through again. */
  problem: string | null;
};

/**
 * Lines to standard output or error. A sink is never a gate (AUDIT.md): whatever becomes of the reader, writing neither waits
 * nor throws. Takes the place of a stream for pino.
 */
export class Sink {
  readonly #fd: number;
  #queue: Buffer[] = [];
  #queued = 0;
  #timer: NodeJS.Timeout | undefined;
  #dropped = 0;
  #problem: string | null = null;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get status(): SinkStatus {
    return { dropped: this.#dropped, problem: this.#problem };
  }

  /** One whole line with its end. */
  write(line: string): boolean {
    const bytes = Buffer.from(line);
    if (this.#queued + bytes.length > MAX_QUEUED) {
      this.#dropped++;
      this.#problem = "stalled";
      return true;
    }
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    if (this.#timer === undefined) this.#flush();
    return true;
  }

  #flush(): void {
    this.#timer = undefined;
    for (let first = this.#queue[0]; first !== undefined; first = this.#queue[0]) {
      let written: number;
      try {
        written = harden().writeNow(this.#fd, first);
      } catch (error) {
        this.#drop((error as NodeJS.ErrnoException).code ?? "EIO");
        return;
      }
      this.#queued -= written;
      if (written < first.length) {
        this.#queue[0] = first.subarray(written);
        this.#timer = setTimeout(() => this.#flush(), RETRY_MS).unref();
        return;
      }
      this.#queue.shift();
    }
    this.#problem = null;
  }

  #drop(problem: string): void {
    this.#dropped += this.#queue.length;
    this.#queue = [];
    this.#queued = 0;
    this.#problem = problem;
  }
}
