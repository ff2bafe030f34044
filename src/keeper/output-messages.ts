import { cleanText, utf8 } from "../core/text.ts";
import type { Block } from "../wire/document.ts";
import { cutNote, INLINE_BYTES, type Shown } from "./documents.ts";
import type { Shown as Output } from "./run-output.ts";
import type { RunView } from "./run-types.ts";

/**
 * What Slack measures is the message's JSON, in which a quote or a line end counts twice and a control code as its picture.
 * Four parts and what surrounds them stay below the renderer's bound, so it cuts nothing out of their middle.
 */
const PART_CHARS = 2750;
/** A byte is at least a third of a character of that JSON: no part is longer. */
const PART_BYTES = PART_CHARS * 3;
const PARTS = 4;
const MESSAGES = 5;

/** The messages that carry output too long for the run's own message; what exceeds them is named, never dropped silently. */
export function outputMessages(view: RunView, output: Output): Shown[] {
  if (output.bytes <= INLINE_BYTES) return [];
  const { id, truncated } = view.row;
  const whole = Buffer.concat(output.chunks.map((chunk) => chunk.bytes));
  const messages: Shown[] = [];
  for (let at = 0; at < whole.length && messages.length < MESSAGES; ) {
    const parts: Buffer[] = [];
    while (at < whole.length && parts.length < PARTS) {
      const end = partEnd(whole, at);
      parts.push(whole.subarray(at, end));
      at = end;
    }
    const blocks: Block[] = parts.map((_, part) => ({ kind: "output", part, truncated: false }));
    const isLast = messages.length === MESSAGES - 1 || at >= whole.length;
    if (isLast && at < output.bytes)
      blocks.push({
        kind: "note",
        text: `${output.bytes - at} more bytes; all of it on the host: sallyport runs show ${id}`,
      });
    if (isLast && truncated) blocks.push({ kind: "note", text: cutNote(view) });
    messages.push({ document: { summary: `Output of ${id}`, blocks }, parts });
  }
  return messages;
}

/** As much as one part holds; ends with a line where there is one, else between two characters. */
function partEnd(bytes: Buffer, from: number): number {
  let fits = from + 1;
  let tooFar = Math.min(bytes.length, from + PART_BYTES) + 1;
  while (tooFar - fits > 1) {
    const middle = (fits + tooFar) >> 1;
    if (chars(bytes.subarray(from, middle)) <= PART_CHARS) fits = middle;
    else tooFar = middle;
  }
  return cutPoint(bytes, from, fits);
}

function chars(bytes: Buffer): number {
  return JSON.stringify(cleanText(utf8(bytes), { newlines: true })).length - 2;
}

/** The last line end before `limit`, else a UTF-8 border, else `limit` itself. */
function cutPoint(bytes: Buffer, from: number, limit: number): number {
  if (limit >= bytes.length) return bytes.length;
  const line = bytes.lastIndexOf(0x0a, limit - 1);
  if (line >= from) return line + 1;
  let end = limit;
  while (end > limit - 4 && end > from + 1 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return end;
}
