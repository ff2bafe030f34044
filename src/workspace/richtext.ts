import type { Span } from "./mrkdwn.ts";
import type { Painter } from "./render.ts";

type Obj = Record<string, unknown>;

const STYLES = ["bold", "italic", "strike", "code"] as const;

/** Text of rich_text is literal: only the type of an element, or its style, acts. */
function leaf(element: Obj): Span {
  let span: Span;
  switch (element.type) {
    case "text":
      span = { kind: "text", text: String(element.text ?? "") };
      break;
    case "link": {
      const url = String(element.url ?? "");
      const label = element.text === undefined || element.text === url ? url : `${element.text} → ${url}`;
      span = { kind: "link", label };
      break;
    }
    case "user":
      span = { kind: "ping", label: `@${element.user_id}` };
      break;
    case "usergroup":
      span = { kind: "ping", label: `@${element.usergroup_id}` };
      break;
    case "broadcast":
      span = { kind: "ping", label: `@${element.range}` };
      break;
    case "channel":
      span = { kind: "channel", label: `#${element.channel_id}` };
      break;
    case "emoji":
      span = { kind: "emoji", label: `:${element.name}:` };
      break;
    case "date":
      span = { kind: "date", label: String(element.fallback ?? element.timestamp) };
      break;
    default:
      span = { kind: "text", text: "" };
  }
  const style = (element.style ?? {}) as Obj;
  for (const name of STYLES) if (style[name] === true) span = { kind: name, inner: [span] };
  return span;
}

function part(element: Obj, painter: Painter, prefix: string): string {
  const children = Array.isArray(element.elements) ? (element.elements as Obj[]) : [];
  if (element.type === "rich_text_list") {
    const depth = "  ".repeat(Number(element.indent ?? 0));
    return children
      .map((item, i) => depth + (element.style === "ordered" ? `${i + 1}. ` : "• ") + part(item, painter, ""))
      .join("\n");
  }
  const inner = painter.paint(children.map(leaf)).replace(/\n$/, "");
  const mark =
    element.type === "rich_text_preformatted" ? "│ " : element.type === "rich_text_quote" ? "▏ " : prefix;
  if (mark === "") return inner;
  return inner
    .split("\n")
    .map((line) => mark + line)
    .join("\n");
}

export function richTextLines(elements: Obj[], painter: Painter): string {
  return elements.map((element) => part(element, painter, "")).join("\n");
}
