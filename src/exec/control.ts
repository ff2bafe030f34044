/** One line of the control channel (fd 3) as the Op meant it, or why it is none. */
export type ControlMessage =
  | { readonly kind: "progress"; readonly text: string; readonly percent: number | null }
  | { readonly kind: "refused"; readonly why: string };

const LINE_BYTES = 4096;
const TEXT_CHARS = 500;

/**
 * Reads JSON lines from an Op: `{"progress": "text", "percent": 40}`. What is longer than 4 KiB or is no such line is
 * refused and skipped; never more than one line is held.
 */
export class ControlReader {
  readonly #clean: (text: string) => string;
  #held: Buffer = Buffer.alloc(0);
  #skipping = false;

  /** `clean`: takes secrets out of a text, whole as the Op wrote it. */
  constructor(clean: (text: string) => string) {
    this.#clean = clean;
  }

  push(chunk: Buffer): ControlMessage[] {
    const messages: ControlMessage[] = [];
    let at = 0;
    while (at < chunk.length) {
      const newline = chunk.indexOf(10, at);
      const end = newline < 0 ? chunk.length : newline;
      const piece = chunk.subarray(at, end);
      if (!this.#skipping && this.#held.length + piece.length > LINE_BYTES) {
        this.#skipping = true;
        messages.push({ kind: "refused", why: `a line longer than ${LINE_BYTES} bytes` });
      }
      if (this.#skipping) this.#held = Buffer.alloc(0);
      else this.#held = Buffer.concat([this.#held, piece]);
      at = end + 1;
      if (newline < 0) break;
      if (!this.#skipping) {
        const message = parseLine(this.#held, this.#clean);
        if (message !== null) messages.push(message);
      }
      this.#held = Buffer.alloc(0);
      this.#skipping = false;
    }
    return messages;
  }
}

function parseLine(bytes: Buffer, clean: (text: string) => string): ControlMessage | null {
  const line = bytes.toString("utf8").trim();
  if (line === "") return null;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { kind: "refused", why: "a line that is not JSON" };
  }
  if (value === null || typeof value !== "object" || Array.isArray(value))
    return { kind: "refused", why: "a line that is not an object" };
  for (const later of ["ask", "file"])
    if (Object.hasOwn(value, later))
      return { kind: "refused", why: `"${later}", which is not supported yet` };
  const { progress, percent, ...rest } = value as Record<string, unknown>;
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined)
    return { kind: "refused", why: `an unknown key ${JSON.stringify(clean(unknown).slice(0, 40))}` };
  if (typeof progress !== "string") return { kind: "refused", why: '"progress" must be a string' };
  if (percent !== undefined && (typeof percent !== "number" || percent < 0 || percent > 100))
    return { kind: "refused", why: '"percent" must be a number from 0 to 100' };
  return {
    kind: "progress",
    text: [...clean(progress)].slice(0, TEXT_CHARS / 2).join(""),
    // Digits enough for a person, and none to hide a number in.
    percent: percent === undefined ? null : Math.round(percent * 10) / 10,
  };
}

/** Lets at most one value through in each interval, and the last one always: for progress that comes in floods. */
export class Throttle<T> {
  readonly #intervalMs: number;
  readonly #emit: (value: T) => void;
  #timer: NodeJS.Timeout | undefined;
  #waiting: { value: T } | undefined;

  constructor(intervalMs: number, emit: (value: T) => void) {
    this.#intervalMs = intervalMs;
    this.#emit = emit;
  }

  push(value: T): void {
    if (this.#timer !== undefined) {
      this.#waiting = { value };
      return;
    }
    this.#emit(value);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      const next = this.#waiting;
      this.#waiting = undefined;
      if (next !== undefined) this.push(next.value);
    }, this.#intervalMs);
  }

  /** Emits what waits and stops. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#waiting !== undefined) this.#emit(this.#waiting.value);
    this.#waiting = undefined;
  }
}
