import { SallyportError } from "./errors.ts";

/**
 * The text after `/ops`, cut into words the way a person means them. No shell is meant or reached: `$`, `;`, `|`,
 * `*`, backticks and backslashes are plain characters.
 *
 * - Blanks separate words. A quote opens at the start of a word or right after "=", and closes with the same
 *   quote; then a blank or the end must follow. Elsewhere a quote is a plain character (O'Brien).
 * - Inside "..." a backslash takes the next `"` or `\` literally; everywhere else it is a plain character.
 * - From Slack: curly quotes count as the straight ones, a dash that the keyboard made of "--" becomes "--" again,
 *   `&amp; &lt; &gt;` are decoded, and what Slack escaped becomes what it names: <@U1|x> is U1, <#C1|x> is C1,
 *   a link is its address (or the words typed, where Slack made the link of them). <!here> and its like are refused.
 */
export interface TokenizeOptions {
  readonly slack?: boolean;
}

export const TOKEN_LIMITS = { text: 8192, tokens: 128 } as const;

const DOUBLE = '"“”„‟«»';
const SINGLE = "'‘’‚‛";
const BLANK = /\s/u;

const bad = (detail: string): SallyportError => new SallyportError("input_invalid", detail);

export function tokenize(text: string, options: TokenizeOptions = {}): string[] {
  if (text.length > TOKEN_LIMITS.text)
    throw bad(`The command is longer than ${TOKEN_LIMITS.text} characters.`);
  const tokens: string[] = [];
  const slack = options.slack === true;
  let at = 0;
  while (at < text.length) {
    if (BLANK.test(text[at] ?? "")) {
      at++;
      continue;
    }
    const word = readWord(text, at, slack);
    tokens.push(word.text);
    if (tokens.length > TOKEN_LIMITS.tokens)
      throw bad(`The command has more than ${TOKEN_LIMITS.tokens} words.`);
    at = word.end;
  }
  return tokens;
}

interface Piece {
  readonly text: string;
  readonly end: number;
}

function readWord(text: string, start: number, slack: boolean): Piece {
  let word = "";
  let at = start;
  if (slack && /[–—]/u.test(text[at] ?? "") && /[a-z]/.test(text[at + 1] ?? "")) {
    word = "--";
    at++;
  }
  while (at < text.length) {
    const char = text[at] ?? "";
    if (BLANK.test(char)) break;
    if ((at === start || (text[at - 1] === "=" && isOption(word))) && isQuote(char, slack)) {
      const quoted = readQuoted(text, at, slack);
      if (quoted.end < text.length && !BLANK.test(text[quoted.end] ?? "")) {
        throw bad("After a closing quote must come a blank; put the quotes around the whole value.");
      }
      return { text: word + quoted.text, end: quoted.end };
    }
    const piece = readChar(text, at, slack);
    word += piece.text;
    at = piece.end;
  }
  return { text: word, end: at };
}

const isOption = (word: string): boolean => /^--[a-z][a-z0-9_-]*=$/.test(word);
const isQuote = (char: string, slack: boolean): boolean =>
  char === '"' || char === "'" || (slack && (DOUBLE.includes(char) || SINGLE.includes(char)));

function readQuoted(text: string, start: number, slack: boolean): Piece {
  const open = text[start] ?? "";
  const double = DOUBLE.includes(open);
  // A straight quote closes with itself alone, so that 'it’s' stays whole; a curly one with any of its family.
  const closers = open === '"' || open === "'" ? open : double ? DOUBLE : SINGLE;
  let value = "";
  let at = start + 1;
  while (at < text.length) {
    const char = text[at] ?? "";
    if (closers.includes(char)) return { text: value, end: at + 1 };
    const next = text[at + 1];
    if (double && char === "\\" && next !== undefined && (next === "\\" || closers.includes(next))) {
      value += next;
      at += 2;
      continue;
    }
    const piece = readChar(text, at, slack);
    value += piece.text;
    at = piece.end;
  }
  throw bad(`A quote (${open}) is opened and never closed.`);
}

function readChar(text: string, at: number, slack: boolean): Piece {
  const char = text[at] ?? "";
  if (slack && char === "&") {
    const [entity = "", name = ""] = /^&(amp|lt|gt);/.exec(text.slice(at, at + 5)) ?? [];
    if (entity !== "") return { text: { amp: "&", lt: "<", gt: ">" }[name] ?? "", end: at + entity.length };
  }
  if (slack && char === "<") {
    const end = text.indexOf(">", at);
    // A "<" that a person typed arrives as &lt;, so a bare one without an end was not made by Slack.
    if (end === -1) throw bad('A "<" has no ">" after it.');
    return { text: readEscape(text.slice(at + 1, end)), end: end + 1 };
  }
  return { text: char, end: at + 1 };
}

function readEscape(inner: string): string {
  const bar = inner.indexOf("|");
  const target = decode(bar === -1 ? inner : inner.slice(0, bar));
  const label = bar === -1 ? "" : decode(inner.slice(bar + 1));
  const id = /^(?:@([UW][A-Z0-9]{2,31})|#([CDG][A-Z0-9]{2,31}))$/.exec(target);
  if (id !== null) return id[1] ?? id[2] ?? "";
  const group = /^!subteam\^(S[A-Z0-9]{2,31})$/.exec(target);
  if (group !== null) return group[1] ?? "";
  if (/^(https?|ftp|mailto|tel):[^\s<>|]+$/i.test(target)) {
    // Slack links bare "example.com" and "a@b.org" on its own: then the label is what was typed.
    const bare = target.replace(/^(https?:\/\/|mailto:|tel:)/i, "").replace(/\/$/, "");
    return label !== "" && label.replace(/\/$/, "") === bare ? label : target;
  }
  throw bad("A mention like @here, or another of Slack's special words, can't be a value.");
}

function decode(text: string): string {
  return text.replace(/&(amp|lt|gt);/g, (_, name: string) => ({ amp: "&", lt: "<", gt: ">" })[name] ?? "");
}
