/** A piece of text as Slack's clients would treat it. Everything but "text" acts. */
export type Span =
  | { kind: "text"; text: string }
  | { kind: "ping" | "link" | "channel" | "date" | "emoji"; label: string }
  | { kind: "bold" | "italic" | "strike" | "code" | "pre" | "quote"; inner: Span[] };

const EMPHASIS = (mark: string, name: string) =>
  `(?<![\\p{L}\\p{N}${mark}])${mark}(?<${name}>[^\\s${mark}](?:[^${mark}\\n]*[^\\s${mark}])?)${mark}(?![\\p{L}\\p{N}${mark}])`;

// Slack links bare names of hosts too, and some file names end in what is a top-level domain: install.sh, main.py.
export const DOMAINS =
  "com|org|net|io|dev|app|sh|py|rs|md|co|ai|me|info|so|cc|pl|gg|ly|zip|mov|us|uk|de|ch|fr|eu";

// Names have at most 100 characters and a letter; the bounds keep the match linear on hostile text.
const EMOJI_NAME = "(?<![\\p{L}\\p{N}:]):(?=[0-9_+'-]{0,99}[a-z])(?<emoji>[a-z0-9_+'-]{1,100}):";

const QUOTE = "^(?:&gt;|>)(?<quote>[^\\n]*)|";

const INNER = [
  "```(?<pre>[\\s\\S]+?)```",
  "`(?<code>[^`\\n]+)`",
  "<(?<entity>[^<>\\n]+)>",
  EMPHASIS("\\*", "bold"),
  EMPHASIS("_", "italic"),
  EMPHASIS("~", "strike"),
  "(?<url>\\b(?:https?|ftp|slack)://[^\\s<>|]+)",
  "(?<![\\w.+-])(?<mail>[\\w.+-]+@[\\w-]+(?:\\.[\\w-]+)+)",
  `(?<![\\w.-])(?<domain>(?:[a-z0-9-]+\\.)+(?:${DOMAINS})\\b(?:/[^\\s<>|]*)?)`,
  EMOJI_NAME,
  "@(?<at>here|channel|everyone|group)\\b",
].join("|");

// Quotes do not nest: neither in Slack nor here, where a line of > signs would exhaust the stack.
const TOKEN = new RegExp(QUOTE + INNER, "gimu");
const NESTED = new RegExp(INNER, "gimu");

const ENTITY = /<(?<entity>[^<>\n]+)>/gu;
const EMOJI = new RegExp(EMOJI_NAME, "gimu");

export function decode(text: string): string {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

function entity(raw: string): Span {
  const [what = "", label] = raw.split("|", 2);
  const shown = decode(label ?? "");
  const broadcast = /^!(channel|here|everyone|group)$/.exec(what)?.[1];
  if (broadcast !== undefined) return { kind: "ping", label: `@${broadcast}` };
  if (/^@[UW][A-Z0-9]*$/.test(what)) return { kind: "ping", label: what };
  if (what.startsWith("!subteam^"))
    return { kind: "ping", label: `@${shown.replace(/^@/, "") || what.slice(9)}` };
  if (what.startsWith("#")) return { kind: "channel", label: what };
  if (what.startsWith("!date^")) return { kind: "date", label: shown || what.slice(6) };
  if (what.startsWith("!")) return { kind: "text", text: shown || `<${raw}>` };
  if (/^[a-z][a-z0-9+.-]*:/i.test(what)) {
    const url = decode(what);
    return { kind: "link", label: shown === "" || shown === url ? url : `${shown} → ${url}` };
  }
  return { kind: "text", text: decode(`<${raw}>`) };
}

function scan(
  text: string,
  pattern: RegExp,
  make: (groups: Record<string, string | undefined>) => Span,
): Span[] {
  const out: Span[] = [];
  let from = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > from) out.push({ kind: "text", text: decode(text.slice(from, match.index)) });
    out.push(make(match.groups ?? {}));
    from = match.index + match[0].length;
  }
  if (from < text.length) out.push({ kind: "text", text: decode(text.slice(from)) });
  return out;
}

// In code no emphasis or bare link acts, an entity in angle brackets still does.
function code(text: string): Span[] {
  return scan(text, ENTITY, (g) => entity(g.entity ?? ""));
}

/**
 * Slack's mrkdwn. `verbatim` true: bare links and @names do not act; entities, emphasis and emoji still do.
 * Where Slack's behaviour is not documented the reading that acts is taken, so that a doubt shows.
 */
export function parseMrkdwn(text: string, verbatim: boolean): Span[] {
  return parse(text, verbatim, TOKEN);
}

function parse(text: string, verbatim: boolean, pattern: RegExp): Span[] {
  const nested = (part: string) => parse(part, verbatim, NESTED);
  return scan(text, pattern, (g) => {
    if (g.pre !== undefined) return { kind: "pre", inner: code(g.pre.replace(/^\n|\n$/g, "")) };
    if (g.code !== undefined) return { kind: "code", inner: code(g.code) };
    if (g.quote !== undefined) return { kind: "quote", inner: nested(g.quote.replace(/^ /, "")) };
    if (g.entity !== undefined) return entity(g.entity);
    if (g.bold !== undefined) return { kind: "bold", inner: nested(g.bold) };
    if (g.italic !== undefined) return { kind: "italic", inner: nested(g.italic) };
    if (g.strike !== undefined) return { kind: "strike", inner: nested(g.strike) };
    if (g.emoji !== undefined) return { kind: "emoji", label: `:${g.emoji}:` };
    if (g.at !== undefined)
      return verbatim ? { kind: "text", text: `@${g.at}` } : { kind: "ping", label: `@${g.at}` };
    const bare = decode(g.url ?? g.mail ?? g.domain ?? "");
    return verbatim ? { kind: "text", text: bare } : { kind: "link", label: bare };
  });
}

/** plain_text: only emoji names act, and only where the object allows them. */
export function parsePlain(text: string, emoji: boolean): Span[] {
  if (!emoji) return [{ kind: "text", text: decode(text) }];
  return scan(text, EMOJI, (g) => ({ kind: "emoji", label: `:${g.emoji}:` }));
}
