import {
  appendFileSync,
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
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

  /** Every well-formed record; a torn last line (a crash in the middle of a write) is passed over. */
  read(): SpoolRecord[] {
    if (!existsSync(this.#file)) return [];
    const records: SpoolRecord[] = [];
    for (const line of readFileSync(this.#file)
      .subarray(0, 2 * MAX_BYTES)
      .toString("utf8")
      .split("\n")) {
      const parsed = Line.safeParse(parseJson(line));
      if (parsed.success) records.push(parsed.data);
    }
    return records;
  }

  clear(): void {
    if (existsSync(this.#file)) unlinkSync(this.#file);
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
