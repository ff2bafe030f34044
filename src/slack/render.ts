import { cleanText, truncateBytes, utf8 } from "../core/text.ts";
import type { Document, DocumentBlock, View } from "./document.ts";
import type { Rendered } from "./types.ts";

/** Slack's limits [docs.slack.dev/reference/block-kit]; the total is unstated, bolt-js issue 2509 found about 13,200. */
const MAX_BLOCKS = 50;
const MAX_TOTAL = 13_000;
const MAX_NOTE = 2900;
const MAX_VALUE = 2000;
const MAX_LABEL = 75;
const MAX_TITLE = 24;
const MAX_HINT = 150;
/** What a message keeps free for everything but output, which alone is shortened to fit. */
const MAX_SUMMARY = 300;
const CUT = "\n… left out …\n";

type Element = { type: string; [key: string]: unknown };

/**
 * A document as Slack blocks in which nothing can act: text only in plain_text objects and rich_text `text` elements,
 * which Slack neither parses for links, mentions and emoji nor formats; the notification's `text`, which it does
 * parse, is escaped. `parts` are the outputs that `output` blocks name. Never fails: what is too long is cut visibly.
 */
export function renderDocument(document: Document, parts: readonly Uint8Array[] = []): Rendered {
  const outputs = parts.map((part) => cleanText(utf8(part), { newlines: true }));
  const text = escapeText(line(document.summary, MAX_SUMMARY)) || "…";
  let room = Math.max(...outputs.map((o) => o.length), 0);
  let blocks = layOut(document, outputs, room);
  // The size that counts is that of the JSON, in which one character can be six: measure, and cut what is in excess.
  while (jsonSize(blocks) > MAX_TOTAL && room > 200) {
    room = Math.min(Math.floor(room * 0.7), MAX_TOTAL);
    blocks = layOut(document, outputs, room);
  }
  for (let keep = 8000; jsonSize(blocks) > MAX_TOTAL; keep = Math.floor(keep / 2)) {
    blocks = layOut(shorten(document, keep), outputs, Math.min(room, keep));
    if (keep < 2) blocks = [section(line(document.summary, MAX_SUMMARY))];
  }
  return { text, blocks };
}

/** chat.postMessage arguments that keep Slack from acting on `text`. */
export const LITERAL = {
  mrkdwn: false,
  parse: "none",
  link_names: false,
  unfurl_links: false,
  unfurl_media: false,
} as const;

/**
 * `text` of a message: by & < > Slack recognises references, and by :word: emoji, also where mrkdwn is off
 * [docs.slack.dev/messaging/formatting-message-text]. The colon becomes its look-alike U+A789.
 */
export function escapeText(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replace(/:(?=[\w+'-]*[a-z][\w+'-]*:)/gi, "\ua789");
}

/** A short private text, for acks and refusals. */
export function renderText(text: string): Rendered {
  const clean = cleanText(text, { newlines: true });
  return { text: escapeText(clean), blocks: [section(truncateBytes(clean, MAX_NOTE) || "…")] };
}

/** A form as Slack's modal. Every text is plain_text or a rich_text `text` element, as in a message. */
export function renderView(view: View): Record<string, unknown> {
  return {
    type: "modal",
    callback_id: view.id,
    private_metadata: view.value,
    title: plain(line(view.title, MAX_TITLE) || "…"),
    submit: plain(line(view.submit, MAX_TITLE) || "…"),
    close: plain("Cancel"),
    blocks: [...view.blocks.flatMap((block) => renderBlock(block, [], 0)), ...view.inputs.map(input)],
  };
}

function input({ id, label, hint, maxLength }: View["inputs"][number]): Element {
  return {
    type: "input",
    block_id: id,
    label: plain(line(label, MAX_LABEL) || "…"),
    ...(hint === "" ? {} : { hint: plain(line(hint, MAX_HINT)) }),
    element: { type: "plain_text_input", action_id: "value", max_length: maxLength },
  };
}

function layOut(document: Document, outputs: readonly string[], room: number): Element[] {
  const blocks: Element[] = [];
  for (const block of document.blocks) blocks.push(...renderBlock(block, outputs, room));
  if (blocks.length === 0) blocks.push(section(line(document.summary, MAX_SUMMARY) || "…"));
  if (blocks.length <= MAX_BLOCKS) return blocks;
  return [...blocks.slice(0, MAX_BLOCKS - 1), context("More was left out: a message holds 50 blocks.")];
}

function renderBlock(block: DocumentBlock, outputs: readonly string[], room: number): Element[] {
  switch (block.kind) {
    case "text": {
      const text = clean(block.text);
      return text === "" ? [] : [rich(section_(literal(text)))];
    }
    case "note": {
      const text = truncateBytes(clean(block.text), MAX_NOTE);
      return text === "" ? [] : [context(text)];
    }
    case "code":
      return preformatted(clean(block.text));
    case "fields": {
      const rows = block.rows.map(([key, value]) => [bold(`${oneLine(key)}: `), ...some(oneLine(value))]);
      return rows.length === 0 ? [] : [rich(section_(...joinLines(rows)))];
    }
    case "list": {
      const items = block.items.map(({ title, detail }) =>
        section_(bold(oneLine(title) || "…"), ...some(detail === "" ? "" : ` ${oneLine(detail)}`)),
      );
      return items.length === 0 ? [] : [rich({ type: "rich_text_list", style: "bullet", elements: items })];
    }
    case "output":
      return output(outputs[block.part], block.truncated, room);
    case "buttons":
      return buttons(block.buttons);
  }
}

function output(text: string | undefined, truncated: boolean, room: number): Element[] {
  if (text === undefined || text === "") return [context("No output.")];
  const shown = middleCut(text.replace(/\n$/, ""), room);
  const cut = truncated || shown.length < text.length - 1;
  return [...preformatted(shown), ...(cut ? [context("The output is longer than shown here.")] : [])];
}

/** Keeps the beginning and, three times as long, the end, where a failing command says why. */
function middleCut(text: string, room: number): string {
  if (text.length <= room) return text;
  const head = Math.floor(room / 4);
  return (text.slice(0, head) + CUT + text.slice(text.length - (room - head))).toWellFormed();
}

function buttons(list: Extract<DocumentBlock, { kind: "buttons" }>["buttons"]): Element[] {
  const seen = new Map<string, number>();
  const elements = list.map((button) => {
    const count = (seen.get(button.id) ?? 0) + 1;
    seen.set(button.id, count);
    return {
      type: "button",
      // Two buttons of one id in a block are refused by Slack; the parser takes the number off again.
      action_id: count === 1 ? button.id : `${button.id}#${count}`,
      text: plain(line(button.label, MAX_LABEL) || "…"),
      value: button.value.slice(0, MAX_VALUE),
      ...(button.style === undefined ? {} : { style: button.style }),
    };
  });
  return elements.length === 0 ? [] : [{ type: "actions", elements }];
}

function shorten(document: Document, keep: number): Document {
  const cut = (text: string) => (text.length > keep ? `${text.slice(0, keep).toWellFormed()}…` : text);
  return {
    summary: document.summary,
    blocks: document.blocks.map((block): DocumentBlock => {
      if (block.kind === "text" || block.kind === "note" || block.kind === "code") {
        return { ...block, text: cut(block.text) };
      }
      if (block.kind === "fields") return { ...block, rows: block.rows.map(([k, v]) => [cut(k), cut(v)]) };
      if (block.kind === "list") {
        return { ...block, items: block.items.map((i) => ({ title: cut(i.title), detail: cut(i.detail) })) };
      }
      return block;
    }),
  };
}

const clean = (text: string): string => cleanText(text, { newlines: true });
const oneLine = (text: string): string => cleanText(text);
const line = (text: string, max: number): string => {
  const one = cleanText(text);
  return one.length <= max ? one : `${one.slice(0, max - 1).toWellFormed()}…`;
};
const plain = (text: string): Element => ({ type: "plain_text", text, emoji: false });
const section = (text: string): Element => ({ type: "section", text: plain(text) });
const context = (text: string): Element => ({ type: "context", elements: [plain(text)] });
const rich = (...elements: Element[]): Element => ({ type: "rich_text", elements });
const section_ = (...elements: Element[]): Element => ({ type: "rich_text_section", elements });
const literal = (text: string): Element => ({ type: "text", text });
const bold = (text: string): Element => ({ type: "text", text, style: { bold: true } });
const some = (text: string): Element[] => (text === "" ? [] : [literal(text)]);
const preformatted = (text: string): Element[] =>
  text === "" ? [] : [rich({ type: "rich_text_preformatted", elements: [literal(text)] })];
const joinLines = (rows: Element[][]): Element[] =>
  rows.flatMap((row, i) => (i === 0 ? row : [literal("\n"), ...row]));

function jsonSize(blocks: Element[]): number {
  return JSON.stringify(blocks).length;
}
