import { SallyportError } from "../core/errors.ts";
import { secretFault } from "../core/secret-value.ts";
import { Arena } from "./arena.ts";
import { Matcher, type Needle } from "./matcher.ts";
import { patternsOf } from "./patterns.ts";
import { Squeezed, Text } from "./squeeze.ts";

/** Takes secrets out of a stream. What may be the beginning of one is held back until it is decided. */
export interface Redactor {
  /** What it returns may share memory with `chunk`. */
  push(chunk: Buffer): Buffer;
  /** The rest, at the end of the stream; what it held is overwritten. */
  end(): Buffer;
}

/** Told of secrets that were taken out, each time some were. */
export type Seen = (name: string, count: number) => void;

/** The forms of a run's values, ready to be looked for; made once, used by every stream of the run. */
export interface SecretForms {
  readonly names: readonly string[];
  readonly exact: Matcher;
  readonly loose: Matcher;
  /** When no stream is left to be redacted. */
  wipe(): void;
}

/** So many characters of a form that may be wrapped are not held when white space comes after them. */
const LEAD = 3;
/** Where a text ends, at its own end or because it was cut, so much of a secret's beginning is taken out as well. */
const CUT_FROM = 8;
/** Of all forms of a run's secrets together. */
const FORMS_BYTES = 16 * 1024 * 1024;
const FORMS = 60_000;

/**
 * Copies what it needs of the values: the caller may wipe them afterwards. Null when there is nothing to look for. Throws
 * `launch_failed` when a value can't be kept out of output (`secretFault`), or when there are too many forms to look for.
 */
export function compileSecrets(secrets: readonly { name: string; value: Uint8Array }[]): SecretForms | null {
  if (secrets.length === 0) return null;
  const arena = new Arena();
  try {
    return formsOf(secrets, arena);
  } catch (error) {
    arena.wipe();
    throw error;
  }
}

function formsOf(secrets: readonly { name: string; value: Uint8Array }[], arena: Arena): SecretForms {
  const needles: { exact: Needle[]; loose: Needle[] } = { exact: [], loose: [] };
  let size = 0;
  for (const [index, { name, value }] of secrets.entries()) {
    const fault = secretFault(value);
    if (fault !== null)
      throw new SallyportError("launch_failed", `The secret ${name} can't be used. ${fault}`);
    for (const { bytes, loose } of patternsOf(name, value, arena)) {
      needles[loose ? "loose" : "exact"].push({ bytes, name: index });
      size += bytes.length;
      if (size > FORMS_BYTES || needles.exact.length + needles.loose.length > FORMS)
        throw new SallyportError(
          "launch_failed",
          "The Op's secrets hold more lines and fields than can be kept out of its output. Give it fewer or smaller ones.",
        );
    }
  }
  return {
    names: secrets.map(({ name }) => name),
    exact: new Matcher(needles.exact),
    loose: new Matcher(needles.loose),
    wipe: () => arena.wipe(),
  };
}

/**
 * A redactor for one stream. Each value, in the forms of `patternsOf`, becomes `[secret NAME]`, across chunk borders
 * too; overlapping finds become one. Without values the bytes pass as they are.
 */
export function createRedactor(forms: SecretForms | null, seen?: Seen): Redactor {
  if (forms === null) return { push: (chunk) => chunk, end: () => Buffer.alloc(0) };
  return new SecretRedactor(forms, seen);
}

/** Redacts a text that is whole by itself, or was cut at its end. */
export function redactText(forms: SecretForms | null, text: string, seen?: Seen): string {
  if (forms === null) return text;
  const redactor = createRedactor(forms, seen);
  return Buffer.concat([redactor.push(Buffer.from(text)), redactor.end()]).toString("utf8");
}

type Find = { from: number; to: number; name: number };

class SecretRedactor implements Redactor {
  readonly #forms: SecretForms;
  readonly #seen: Seen | undefined;
  /** What is held, then the chunk. Positions below are in it. */
  #text = new Text(0);
  #squeezed = new Squeezed(this.#text);
  #held = 0;
  /** What stands before was given out, or replaced; it is held for what may begin in it. */
  #given = 0;
  /** Where the last secret that was replaced ended. */
  #covered = 0;

  constructor(forms: SecretForms, seen: Seen | undefined) {
    this.#forms = forms;
    this.#seen = seen;
  }

  push(chunk: Buffer): Buffer {
    const length = this.#held + chunk.length;
    this.#makeRoom(length);
    this.#text.bytes.set(chunk, this.#held);
    const finds = this.#find(length);
    const exact = this.#forms.exact.beginning(this.#text.bytes, 0, length)?.at ?? length;
    const loose = this.#looseBeginning(length);
    const until = loose.isShort ? exact : Math.min(exact, loose.at);
    return this.#release(finds, { until, keep: Math.min(exact, loose.at), length, chunk });
  }

  end(): Buffer {
    const length = this.#held;
    const finds = this.#find(length);
    const { exact, loose } = this.#forms;
    const cut = exact.beginning(this.#text.bytes, 0, length);
    if (cut !== null && length - cut.at >= CUT_FROM) finds.push({ from: cut.at, to: length, name: cut.name });
    const { text, size } = this.#squeezed;
    const wrapped = loose.beginning(text.bytes, 0, size);
    if (wrapped !== null && size - wrapped.at >= CUT_FROM)
      finds.push({
        from: this.#squeezed.origin(wrapped.at),
        to: this.#squeezed.origin(size - 1) + 1,
        name: wrapped.name,
      });
    const rest = this.#release(finds, { until: length, keep: length, length, chunk: null });
    this.#wipe();
    return rest;
  }

  #wipe(): void {
    this.#text.bytes.fill(0);
    this.#squeezed.text.bytes.fill(0);
  }

  #makeRoom(length: number): void {
    if (length <= this.#text.room) return;
    const text = new Text(Math.max(length, 2 * this.#text.room));
    text.bytes.set(this.#text.bytes.subarray(0, this.#held));
    this.#wipe();
    this.#text = text;
    this.#squeezed = new Squeezed(text);
  }

  #find(length: number): Find[] {
    const finds: Find[] = [];
    const { bytes, words } = this.#text;
    this.#forms.exact.scan(bytes, words, length, (from, to, name) => finds.push({ from, to, name }));
    const squeezed = this.#squeezed;
    squeezed.fill(length);
    this.#forms.loose.scan(squeezed.text.bytes, squeezed.text.words, squeezed.size, (first, after, name) => {
      const from = squeezed.origin(first);
      const to = squeezed.origin(after - 1) + 1;
      if (!squeezed.parted(from, to)) finds.push({ from, to, name });
    });
    return finds;
  }

  /**
   * Where a form begins that may be wrapped, and whether it is only a few characters with white space after them: those are let
   * go, else the end of every other line would wait for the next, and if it was one, the rest of the form is taken out.
   */
  #looseBeginning(length: number): { at: number; isShort: boolean } {
    const squeezed = this.#squeezed;
    const { bytes } = squeezed.text;
    for (let from = 0; ; ) {
      const open = this.#forms.loose.beginning(bytes, from, squeezed.size);
      if (open === null) return { at: length, isShort: false };
      const at = squeezed.origin(open.at);
      const isShort = squeezed.size - open.at <= LEAD && squeezed.origin(squeezed.size - 1) + 1 < length;
      if (!squeezed.parted(at, length)) return { at, isShort };
      from = open.at + 1;
    }
  }

  /**
   * Gives out what stands before `until`, with the finds there replaced, and holds the text from `keep` on. A find that reaches
   * past `until` is replaced now, and the rest of it left out later together with what overlaps it. `chunk`: what the text from
   * `#held` on was copied from.
   */
  #release(finds: Find[], o: { until: number; keep: number; length: number; chunk: Buffer | null }): Buffer {
    const { until, length, chunk } = o;
    if (finds.length === 0 && this.#held === 0 && chunk !== null) {
      this.#given = until;
      this.#hold(o.keep, length);
      return chunk.subarray(0, until);
    }
    const out: Buffer[] = [];
    const counts = new Map<number, number>();
    let at = this.#given;
    for (const find of merged(finds)) {
      if (find.to <= at) continue;
      if (find.from >= until) break;
      if (find.from >= this.#covered) {
        if (find.from > at) out.push(this.#text.bytes.subarray(at, find.from));
        out.push(Buffer.from(this.#label(find.name)));
        counts.set(find.name, (counts.get(find.name) ?? 0) + 1);
      }
      at = this.#covered = find.to;
    }
    if (until > at) out.push(this.#text.bytes.subarray(at, until));
    // A copy: the text is written over by the next chunk.
    const result = Buffer.concat(out);
    this.#given = Math.max(at, until);
    this.#hold(o.keep, length);
    for (const [name, count] of counts) this.#seen?.(this.#forms.names[name]!, count);
    return result;
  }

  #hold(from: number, length: number): void {
    this.#text.bytes.copyWithin(0, from, length);
    this.#held = length - from;
    this.#given = Math.max(0, this.#given - from);
    this.#covered = Math.max(0, this.#covered - from);
  }

  #label(name: number): string {
    return `[secret ${this.#forms.names[name]}]`;
  }
}

/** In their order, those that overlap as one, by the name of the longest. */
function merged(finds: Find[]): Find[] {
  const all: Find[] = [];
  finds.sort((a, b) => a.from - b.from || b.to - a.to);
  let longest = 0;
  for (const find of finds) {
    const last = all.at(-1);
    const size = find.to - find.from;
    if (last === undefined || find.from >= last.to) {
      all.push({ ...find });
      longest = size;
      continue;
    }
    if (size > longest) {
      last.name = find.name;
      longest = size;
    }
    last.to = Math.max(last.to, find.to);
  }
  return all;
}
