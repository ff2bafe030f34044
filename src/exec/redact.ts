import { Automaton } from "./automaton.ts";
import { patternsOf } from "./patterns.ts";

/** Takes secrets out of a stream. What may be the beginning of one is held back until it is decided. */
export interface Redactor {
  push(chunk: Buffer): Buffer;
  /** The rest, at the end of the stream. */
  end(): Buffer;
}

/** White space between two characters of an encoded secret that is looked through; more than that separates. */
const LOOSE_GAP = 64;

/** The forms of a run's values, ready to be looked for; made once, used by every stream of the run. */
export interface SecretForms {
  readonly names: readonly string[];
  readonly exact: Automaton;
  readonly loose: Automaton;
  readonly longestLoose: number;
}

/** Copies what it needs of the values: the caller may wipe them afterwards. Null when there is nothing to look for. */
export function compileSecrets(secrets: readonly { name: string; value: Uint8Array }[]): SecretForms | null {
  const patterns = secrets.flatMap(({ name, value }) => patternsOf(name, value));
  if (patterns.length === 0) return null;
  const names = secrets.map((s) => s.name);
  const of = (loose: boolean) =>
    patterns.filter((p) => p.loose === loose).map((p) => ({ bytes: p.bytes, name: names.indexOf(p.name) }));
  const longestLoose = Math.max(1, ...patterns.map((p) => (p.loose ? p.bytes.length : 0)));
  return { names, exact: new Automaton(of(false)), loose: new Automaton(of(true)), longestLoose };
}

/**
 * A redactor for one stream. Each value, in the forms of `patternsOf`, becomes `[secret NAME]`, across chunk borders
 * too; overlapping finds become one. Without values the bytes pass as they are.
 */
export function createRedactor(forms: SecretForms | null): Redactor {
  if (forms === null) return { push: (chunk) => chunk, end: () => Buffer.alloc(0) };
  return new SecretRedactor(forms);
}

/** Redacts a text that is whole by itself. */
export function redactText(forms: SecretForms | null, text: string): string {
  if (forms === null) return text;
  const redactor = createRedactor(forms);
  return Buffer.concat([redactor.push(Buffer.from(text)), redactor.end()]).toString("utf8");
}

type Find = { from: number; to: number; name: number };

class SecretRedactor implements Redactor {
  readonly #names: readonly string[];
  readonly #exact: Automaton;
  readonly #loose: Automaton;
  /** Positions below are absolute in the stream; `#base` is that of the first byte held. */
  #base = 0;
  #held: Buffer = Buffer.alloc(0);
  #exactState = 0;
  #looseState = 0;
  /** Where the last characters that count for the loose automaton stood: a ring as long as its longest pattern. */
  readonly #ring: Float64Array;
  #ringAt = 0;
  #gap = 0;
  #finds: Find[] = [];

  constructor(forms: SecretForms) {
    this.#names = forms.names;
    this.#exact = forms.exact;
    this.#loose = forms.loose;
    this.#ring = new Float64Array(1 + forms.longestLoose);
  }

  push(chunk: Buffer): Buffer {
    const start = this.#base + this.#held.length;
    this.#held = this.#held.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#held, chunk]);
    for (let i = 0; i < chunk.length; i++) this.#look(chunk[i]!, start + i);
    const end = start + chunk.length;
    const exactFrom = end - this.#exact.depth(this.#exactState);
    const looseDepth = this.#loose.depth(this.#looseState);
    const looseFrom = looseDepth === 0 ? end : this.#position(looseDepth);
    return this.#release(Math.min(exactFrom, looseFrom));
  }

  end(): Buffer {
    return this.#release(this.#base + this.#held.length);
  }

  #look(byte: number, at: number): void {
    this.#exactState = this.#exact.step(this.#exactState, byte);
    const length = this.#exact.matchLength(this.#exactState);
    if (length > 0) this.#found(at + 1 - length, at + 1, this.#exact.matchName(this.#exactState));
    if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0x3a) {
      if (this.#looseState !== 0 && ++this.#gap > LOOSE_GAP) this.#looseState = 0;
      return;
    }
    this.#gap = 0;
    this.#looseState = this.#loose.step(this.#looseState, byte);
    this.#ring[this.#ringAt] = at;
    this.#ringAt = (this.#ringAt + 1) % this.#ring.length;
    const looseLength = this.#loose.matchLength(this.#looseState);
    if (looseLength > 0)
      this.#found(this.#position(looseLength), at + 1, this.#loose.matchName(this.#looseState));
  }

  /** Where the character stood that is the nth before now among those that the loose automaton saw. */
  #position(nth: number): number {
    const size = this.#ring.length;
    return this.#ring[(this.#ringAt - nth + size) % size]!;
  }

  #found(from: number, to: number, name: number): void {
    let find = { from, to, name };
    for (
      let last = this.#finds.at(-1);
      last !== undefined && last.to > find.from;
      last = this.#finds.at(-1)
    ) {
      find = {
        from: Math.min(last.from, find.from),
        to: Math.max(last.to, find.to),
        name: last.to - last.from >= find.to - find.from ? last.name : find.name,
      };
      this.#finds.pop();
    }
    this.#finds.push(find);
  }

  /** Gives out what stands before `until`, with the finds there replaced; a find that reaches past it waits whole. */
  #release(until: number): Buffer {
    const out: Buffer[] = [];
    let at = this.#base;
    let stop = until;
    while (this.#finds.length > 0) {
      const find = this.#finds[0]!;
      if (find.from >= stop) break;
      if (find.to > stop) {
        stop = find.from;
        break;
      }
      this.#finds.shift();
      out.push(this.#held.subarray(at - this.#base, find.from - this.#base));
      out.push(Buffer.from(`[secret ${this.#names[find.name]}]`));
      at = find.to;
    }
    if (stop > at) out.push(this.#held.subarray(at - this.#base, stop - this.#base));
    const released = Math.max(at, stop);
    const result = Buffer.concat(out);
    this.#held = Buffer.from(this.#held.subarray(released - this.#base));
    this.#base = released;
    return result;
  }
}
