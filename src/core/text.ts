/**
 * Text that others wrote, made safe to show. What could drive a terminal, reorder a line or hide in it becomes
 * visible; nothing is dropped, so that what is shown still tells what was there.
 */

// Controls, line and paragraph separators, lone surrogates, and what is drawn as nothing: bidi controls, zero-width ones,
// fillers, tags, the braille blank, controls of annotations and hieroglyphs. Joiners (U+200D) and variation selectors stay:
// emoji and several scripts need them.
const UNSAFE =
  /[[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb\u2800\u{13430}-\u{1343f}]--[\u200d\ufe00-\ufe0f]]/gv;

export interface CleanOptions {
  /** Line feeds and tabs stay (a block of output); otherwise they are made visible too (one line). */
  readonly newlines?: boolean;
}

/** Control codes as their pictures (ESC as "␛"), the rest as \u{202e}. CR LF counts as one line feed. */
export function cleanText(text: string, options: CleanOptions = {}): string {
  const keep = options.newlines === true;
  const source = keep ? text.replace(/\r\n/g, "\n") : text;
  return source.replace(UNSAFE, (char) => {
    if (keep && (char === "\n" || char === "\t")) return char;
    const code = char.codePointAt(0) ?? 0;
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\\u{${code.toString(16)}}`;
  });
}

/** Bytes as text; what is not UTF-8 becomes U+FFFD. A leading byte-order mark stays, to be shown. */
export function utf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** At most `max` bytes of UTF-8, the mark included, never cutting a code point. */
export function truncateBytes(text: string, max: number, mark = "…"): string {
  // A UTF-16 unit is at most 3 bytes, so most texts need no count.
  if (text.length * 3 <= max || Buffer.byteLength(text) <= max) return text;
  const room = max - Buffer.byteLength(mark);
  if (room < 0) return "";
  const bytes = Buffer.from(text.slice(0, room));
  let end = Math.min(room, bytes.length);
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString("utf8", 0, end) + mark;
}

/** Made when it is first asked for: it costs a process some ten milliseconds, and most never cut a text. */
let segmenter: Intl.Segmenter | undefined;

/**
 * At most `max` graphemes, the mark counted as one. A grapheme can be made of any number of code points
 * (stacked accents), so `max * 16` code units bound the result as well.
 */
export function truncateGraphemes(text: string, max: number, mark = "…"): string {
  if (max < 1) return "";
  if (text.length <= max) return text;
  const units = max * 16 - mark.length;
  const bounded = text.length > units ? text.slice(0, units).toWellFormed() : text;
  const kept: string[] = [];
  segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" });
  for (const { segment } of segmenter.segment(bounded)) {
    kept.push(segment);
    if (kept.length > max) break;
  }
  if (kept.length <= max && bounded === text) return text;
  return kept.slice(0, max - 1).join("") + mark;
}
