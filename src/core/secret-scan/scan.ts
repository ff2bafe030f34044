import type { ScanRule } from "./rule.ts";
import { SHAPES } from "./shapes.ts";
import { TOKENS } from "./tokens.ts";

export const RULES: readonly ScanRule[] = [...TOKENS, ...SHAPES];

/** Where something looks like a credential; never what it is. Lines count from 1. */
export interface Finding {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly what: string;
}

const MAX_FINDINGS = 100;

/** A rule looks at so much at once: some tens of milliseconds of work, whatever the text is. */
const STEP = 256 * 1024;
/** More than a match and what `keep` looks at behind it. */
const OVERLAP = 8 * 1024;

/**
 * What in these files looks like a credential, at most 100 findings, one a line and rule. `pause` is awaited again and again, so
 * that whoever else is served waits for one step at most.
 */
export async function scanFiles(
  files: readonly { readonly path: string; readonly bytes: Uint8Array }[],
  pause: () => Promise<void>,
): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const { path, bytes } of files) {
    const text = textOf(bytes);
    for (const rule of RULES) {
      const lines = new Set<number>();
      const counter = new LineCounter(text);
      for (let from = 0; from < text.length; from += STEP) {
        for (const at of positions(text, from, rule)) lines.add(counter.line(at));
        if (text.length > STEP) await pause();
      }
      for (const line of lines) found.push({ path, line, rule: rule.id, what: rule.what });
      if (found.length >= MAX_FINDINGS) return found.slice(0, MAX_FINDINGS);
    }
    await pause();
  }
  return found;
}

/** Where matches begin within one step. */
function positions(text: string, from: number, { find, keep }: ScanRule): number[] {
  // With the character before, which tells whether a word begins here.
  const before = from === 0 ? 0 : 1;
  const window = text.slice(from - before, from + STEP + OVERLAP);
  const found: number[] = [];
  find.lastIndex = before;
  for (let match = find.exec(window); match !== null; match = find.exec(window)) {
    const at = match.index - before;
    if (at >= STEP || found.length >= MAX_FINDINGS) break;
    if (keep === undefined || keep(match, window)) found.push(from + at);
  }
  return found;
}

/** Bytes as they are, one a character, so that nothing in a binary file is lost; UTF-16 where a file says that it is. */
function textOf(bytes: Uint8Array): string {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (whole[0] === 0xff && whole[1] === 0xfe) return whole.toString("utf16le", 2);
  if (whole[0] === 0xfe && whole[1] === 0xff)
    return Buffer.from(whole.subarray(2, whole.length - (whole.length % 2)))
      .swap16()
      .toString("utf16le");
  return whole.toString("latin1");
}

/** Lines of ascending positions. */
class LineCounter {
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  line(index: number): number {
    for (let next = this.#text.indexOf("\n", this.#at); next >= 0 && next < index; ) {
      this.#line++;
      this.#at = next + 1;
      next = this.#text.indexOf("\n", this.#at);
    }
    return this.#line;
  }
}

/** The first few, as one sentence each names file, line and rule. */
export function findingsText(found: readonly Finding[]): string {
  const first = found
    .slice(0, SHOWN)
    .map(({ path, line, rule, what }) => `${path}:${line} ${what} (${rule})`);
  const more = found.length > SHOWN ? `, and ${found.length - SHOWN} more` : "";
  return `${first.join(", ")}${more}`;
}

const SHOWN = 8;
