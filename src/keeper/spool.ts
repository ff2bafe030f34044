import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
} from "node:fs";
import { z } from "zod";

/**
 * What happens while sealed can't go into the encrypted log, so it waits in a small plain file: time, host uid and code,
 * never a name. It joins the log at unlock. Past the bound only a count would grow, so the oldest records win.
 */
const MAX_BYTES = 256 * 1024;
const Line = z.strictObject({
  time: z.int().min(0),
  uid: z.int().min(0),
  code: z.enum(["unlock_failed", "slow_down", "denied", "wire_violation"]),
});
export type SpoolRecord = z.infer<typeof Line>;

export class Spool {
  readonly #file: string;
  #lost = 0;
  /** Size of the file after the last whole line that this process wrote. */
  #whole = 0;

  constructor(file: string) {
    this.#file = file;
  }

  /** Records that are nowhere but in this count. */
  get lost(): number {
    return this.#lost;
  }

  /** Durable on return. Returns false, and counts, when the file or the disk is full: it never throws. */
  add(record: SpoolRecord): boolean {
    try {
      if (existsSync(this.#file) && statSync(this.#file).size > MAX_BYTES)
        throw new Error("the spool is full");
      const fd = openSync(this.#file, "a", 0o600);
      try {
        // A line that a full disk cut off must not swallow this one.
        const size = fstatSync(fd).size;
        appendFileSync(fd, `${size > this.#whole ? "\n" : ""}${JSON.stringify(record)}\n`);
        fsyncSync(fd);
        this.#whole = fstatSync(fd).size;
      } finally {
        closeSync(fd);
      }
      return true;
    } catch {
      this.#lost++;
      return false;
    }
  }

  /** Every well-formed record, oldest first; a torn line (a crash in the middle of a write) is passed over. */
  read(): SpoolRecord[] {
    return [...recordsOf(this.#taken), ...recordsOf(this.#file)];
  }

  /** Sets what is there aside, so that what comes while it is dealt with is not lost with it. [] when there is nothing. */
  take(): SpoolRecord[] {
    for (;;) {
      if (!existsSync(this.#taken)) {
        if (!existsSync(this.#file)) return [];
        renameSync(this.#file, this.#taken);
        this.#whole = 0;
      }
      const records = recordsOf(this.#taken);
      if (records.length > 0) return records;
      // A full disk leaves an empty or torn file; it must not stand before those that come after it.
      this.taken();
    }
  }

  /** What was taken is elsewhere now. */
  taken(): void {
    if (existsSync(this.#taken)) unlinkSync(this.#taken);
  }

  /** Records that were lost until now, and are told elsewhere. */
  forgive(lost: number): void {
    this.#lost -= lost;
  }

  get #taken(): string {
    return `${this.#file}.taken`;
  }
}

function recordsOf(file: string): SpoolRecord[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file)
    .subarray(0, 2 * MAX_BYTES)
    .toString("utf8")
    .split("\n");
  return lines
    .map((line) => Line.safeParse(parseJson(line)))
    .flatMap((parsed) => (parsed.success ? [parsed.data] : []));
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
