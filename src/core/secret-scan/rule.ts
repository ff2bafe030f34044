/**
 * One form of credential. `find` is global and bounded: no repetition without an upper bound, and it begins where no longer word
 * does (`START`), so that a text is looked at in time that grows with its length alone.
 */
export interface ScanRule {
  readonly id: string;
  /** What it is, for the person who reads the refusal. */
  readonly what: string;
  readonly find: RegExp;
  /** Whether a match is one: the text behind it and its groups tell it from an example or a placeholder. */
  readonly keep?: (match: RegExpExecArray, text: string) => boolean;
}

/** Not within a longer word of what tokens are made of. */
export const START = "(?<![A-Za-z0-9_-])";
export const END = "(?![A-Za-z0-9_-])";

/** A token of a fixed form that stands by itself. */
export function token(id: string, what: string, form: string): ScanRule {
  return {
    id,
    what,
    find: new RegExp(`${START}${form}${END}`, "g"),
    keep: (match) => !isPlaceholder(match[0]),
  };
}

const PLACEHOLDER =
  /example|change.?me|place.?holder|your[._-]|dummy|redacted|insert|xxxx|0000000|1234567|abcdefg|\*\*\*|\.\.\.|<|>|\$\{|\{\{|%\(/i;

/** What stands where a value would: in documentation, in a template. */
export const isPlaceholder = (text: string): boolean => PLACEHOLDER.test(text);

/** Shannon's entropy in bits a character. */
export function entropy(text: string): number {
  const counts = new Map<string, number>();
  for (const char of text) counts.set(char, (counts.get(char) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}
