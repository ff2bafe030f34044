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

/**
 * What in these files looks like a credential, at most 100 findings, one a line and rule. `pause` is awaited between two files and
 * rules, so that whoever else is served waits for one of them at most.
 */
export async function scanFiles(
  files: readonly { readonly path: string; readonly bytes: Uint8Array }[],
  pause: () => Promise<void>,
): Promise<Finding[]> {
  const found: Finding[] = [];
  for (const { path, bytes } of files) {
    const text = textOf(bytes);
    for (const rule of RULES) {
      found.push(...scanText(path, text, rule, MAX_FINDINGS - found.length));
      if (found.length >= MAX_FINDINGS) return found;
      if (text.length > PAUSE_FROM) await pause();
    }
    await pause();
  }
  return found;
}

/** A rule takes about a millisecond for so much. */
const PAUSE_FROM = 256 * 1024;

function scanText(path: string, text: string, { id, what, find, keep }: ScanRule, most: number): Finding[] {
  const lines = new Set<number>();
  const at = new LineCounter(text);
  find.lastIndex = 0;
  for (let match = find.exec(text); match !== null; match = find.exec(text)) {
    if (lines.size >= most) break;
    if (keep === undefined || keep(match, text)) lines.add(at.line(match.index));
  }
  return [...lines].map((line) => ({ path, line, rule: id, what }));
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
