import { parseMrkdwn, parsePlain, type Span } from "./mrkdwn.ts";
import { richTextLines } from "./richtext.ts";
import type { Block } from "./types.ts";

export interface RenderOptions {
  /** Shows a name for a user or channel id; null leaves the id. */
  names?: (id: string) => string | null;
  /** "mark" shows formatting as ⟦bold x⟧, "ansi" in the terminal's own way, "strip" as the bare words. */
  emphasis?: "mark" | "ansi" | "strip";
}

export interface Renderable {
  text: string;
  blocks?: Block[];
  mrkdwn?: boolean;
  linkNames?: boolean;
  files?: { title: string; bytes: Buffer | null }[];
}

type Obj = Record<string, unknown>;
type Emphasis = NonNullable<RenderOptions["emphasis"]>;

const GLYPHS: Record<string, string> = {
  white_check_mark: "✅",
  heavy_check_mark: "✔",
  x: "❌",
  warning: "⚠",
  hourglass: "⌛",
  hourglass_flowing_sand: "⏳",
  lock: "🔒",
  key: "🔑",
  rocket: "🚀",
  no_entry: "⛔",
  stop_sign: "🛑",
  octagonal_sign: "🛑",
  large_green_circle: "🟢",
  red_circle: "🔴",
  information_source: "ℹ",
  tada: "🎉",
  eyes: "👀",
  gear: "⚙",
  shield: "🛡",
  arrow_forward: "▶",
};

const ANSI = { bold: 1, italic: 3, strike: 9, code: 7, pre: 7, quote: 2 } as const;

/** Makes visible what a terminal or a reader's eye would be led by: escape codes, text direction, our own marks. */
export function harmless(text: string): string {
  return text
    .replaceAll("⟦", "[[")
    .replaceAll("⟧", "]]")
    .replace(/\r\n/g, "\n")
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, (c) => {
      return `⟦U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟧`;
    });
}

/** Collects what acts while it renders. */
export class Painter {
  readonly acts: string[] = [];
  readonly emphasis: Emphasis;
  readonly #names: (id: string) => string | null;

  constructor(options: RenderOptions) {
    this.emphasis = options.emphasis ?? "mark";
    this.#names = options.names ?? (() => null);
  }

  #named(label: string): string {
    const sign = label.charAt(0);
    const name = sign === "@" || sign === "#" ? this.#names(label.slice(1)) : null;
    return name === null ? label : sign + name;
  }

  #act(what: string): string {
    this.acts.push(what);
    return `⟦${what}⟧`;
  }

  paint(spans: Span[]): string {
    return spans.map((span) => this.#one(span)).join("");
  }

  #one(span: Span): string {
    switch (span.kind) {
      case "text":
        return harmless(span.text);
      case "emoji": {
        const mark = this.#act(`emoji ${harmless(span.label)}`);
        const glyph = GLYPHS[span.label.slice(1, -1).toLowerCase()];
        return this.emphasis === "mark" || glyph === undefined ? mark : glyph;
      }
      case "ping":
      case "link":
      case "channel":
      case "date":
        return this.#act(`${span.kind} ${harmless(this.#named(span.label))}`);
      default:
        return this.#styled(span.kind, this.paint(span.inner));
    }
  }

  #styled(kind: "bold" | "italic" | "strike" | "code" | "pre" | "quote", inner: string): string {
    this.acts.push(`${kind} ${inner}`);
    if (kind === "pre") return `\n${indent(inner)}\n`;
    if (kind === "quote") return this.emphasis === "mark" ? `⟦quote ${inner}⟧` : `▏ ${inner}`;
    if (this.emphasis === "mark") return `⟦${kind} ${inner}⟧`;
    if (this.emphasis === "ansi") return `\u001b[${ANSI[kind]}m${inner}\u001b[0m`;
    return kind === "code" ? `\`${inner}\`` : inner;
  }

  /** A text object: mrkdwn or plain_text. */
  text(o: unknown): string {
    const object = (o ?? {}) as Obj;
    const text = typeof object.text === "string" ? object.text : "";
    const plain = object.type !== "mrkdwn";
    const spans = plain
      ? parsePlain(text, object.emoji !== false)
      : parseMrkdwn(text, object.verbatim === true);
    return this.paint(spans).replace(/^\n|\n$/g, "");
  }
}

export function indent(text: string): string {
  return text
    .split("\n")
    .map((line) => `│ ${line}`)
    .join("\n");
}

function control(element: Obj, painter: Painter): string {
  const label = painter.text(element.text ?? element.placeholder);
  if (element.type === "button") {
    if (typeof element.url !== "string") return `[${label}]`;
    return `[${label} ${painter.paint([{ kind: "link", label: element.url }])}]`;
  }
  if (element.type === "image") return `(image: ${harmless(String(element.alt_text))})`;
  if (Array.isArray(element.options)) {
    const options = (element.options as Obj[]).map((o) => painter.text(o.text)).join(" | ");
    return `[${label === "" ? "" : `${label}: `}${options} ▾]`;
  }
  return `[${label === "" ? "____" : label}]`;
}

function lines(block: Block, painter: Painter): string {
  const elements = Array.isArray(block.elements) ? (block.elements as Obj[]) : [];
  switch (block.type) {
    case "section": {
      const fields = Array.isArray(block.fields) ? block.fields.map((f) => painter.text(f)) : [];
      const accessory = block.accessory === undefined ? "" : `  ${control(block.accessory as Obj, painter)}`;
      const body = block.text === undefined ? [] : [painter.text(block.text)];
      return [...body, ...fields].join("\n") + accessory;
    }
    case "header":
      return `# ${painter.text(block.text)}`;
    case "divider":
      return "────────────────────";
    case "context":
      return `· ${elements.map((e) => (e.type === "image" ? control(e, painter) : painter.text(e))).join("  ")}`;
    case "actions":
      return elements.map((e) => control(e, painter)).join(" ");
    case "input": {
      const optional = block.optional === true ? " (optional)" : "";
      const hint = block.hint === undefined ? "" : `\n· ${painter.text(block.hint)}`;
      return `${painter.text(block.label)}${optional}: ${control(block.element as Obj, painter)}${hint}`;
    }
    case "image":
      return `(image: ${harmless(String(block.alt_text))})`;
    case "markdown":
      // Slack translates real Markdown here; nearly everything in it acts, so it is read as mrkdwn and marked.
      return painter.paint(parseMrkdwn(String(block.text ?? ""), false));
    case "rich_text":
      return richTextLines(elements, painter);
    default:
      return `⟦unknown block ${harmless(block.type)}⟧`;
  }
}

function paintMessage(message: Renderable, painter: Painter): string {
  const blocks = message.blocks ?? [];
  const out: string[] = [];
  if (blocks.length > 0) {
    for (const block of blocks) out.push(lines(block, painter));
    // The text beside blocks is shown in notifications alone, yet who is named there may be notified.
    const fallback = new Painter({});
    fallback.paint(parseMrkdwn(message.text, message.linkNames !== true));
    for (const act of fallback.acts) {
      if (!act.startsWith("ping ")) continue;
      painter.acts.push(`${act} (in the notification)`);
      out.push(`⟦${act} (in the notification)⟧`);
    }
  } else if (message.text !== "") {
    const spans =
      message.mrkdwn === false ? parsePlain(message.text, true) : parseMrkdwn(message.text, false);
    out.push(painter.paint(spans).replace(/^\n|\n$/g, ""));
  }
  for (const file of message.files ?? []) {
    out.push(`(file: ${harmless(file.title)}, ${file.bytes?.length ?? 0} bytes)`);
  }
  return out.join("\n");
}

/** The message as lines for a terminal: what acts in Slack stands in ⟦ ⟧, what does not is literal. */
export function renderMessage(message: Renderable, options: RenderOptions = {}): string {
  return paintMessage(message, new Painter(options));
}

/** Everything in the message that acts in Slack: pings, links, formatting, emoji. Empty: nothing does. */
export function acting(message: Renderable): string[] {
  const painter = new Painter({});
  paintMessage(message, painter);
  return painter.acts;
}

/** A modal or Home view as lines: title, blocks, errors at their fields, submit and close. */
export function renderView(
  view: { body: Record<string, unknown> & { blocks: Block[] }; errors: Record<string, string> },
  options: RenderOptions = {},
): string {
  const painter = new Painter(options);
  const out: string[] = [];
  if (view.body.title) out.push(`╭ ${painter.text(view.body.title)}`);
  for (const block of view.body.blocks) {
    out.push(lines(block, painter));
    const error = view.errors[String(block.block_id)];
    if (error !== undefined) out.push(`  ! ${harmless(error)}`);
  }
  if (view.errors[""] !== undefined) out.push(`! ${view.errors[""]}`);
  const buttons = [view.body.close, view.body.submit].filter((b) => b !== null && b !== undefined);
  if (buttons.length > 0) out.push(buttons.map((b) => `[${painter.text(b)}]`).join(" "));
  return out.join("\n");
}
