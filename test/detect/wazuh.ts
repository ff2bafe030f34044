import { readFileSync } from "node:fs";
import { repoPath } from "../../src/host/self.ts";
import { fieldOf, type Line } from "./sigma.ts";

/**
 * As much of Wazuh's rules as policies/detect uses (documentation.wazuh.com, "Rules Syntax"): parents, fields and the whole text by
 * pcre2, frequency with same_field and different_field. Anything else in a rule is an error.
 */

type Node = { name: string; attributes: Record<string, string>; text: string; children: Node[] };

const unescapeXml = (text: string): string =>
  text.replace(
    /&(lt|gt|quot|amp);/g,
    (_, name: string) => ({ lt: "<", gt: ">", quot: '"', amp: "&" })[name] ?? "",
  );

/** Elements, attributes, text, comments; throws where a tag is not closed by its own. */
export function parseXml(source: string): Node[] {
  const root: Node = { name: "", attributes: {}, text: "", children: [] };
  const open = [root];
  const token = /<!--[\s\S]*?-->|<(\/?)([a-z_]+)((?:\s+[a-z_]+="[^"<]*")*)\s*>|([^<]+)/g;
  let at = 0;
  for (const match of source.matchAll(token)) {
    if (match.index !== at) throw new Error(`no XML at ${at}: ${source.slice(at, at + 40)}`);
    at += match[0].length;
    const [, close, name = "", attributes = "", text] = match;
    const top = open.at(-1)!;
    if (text !== undefined) top.text += unescapeXml(text);
    else if (close === "/") {
      if (open.pop()?.name !== name || open.length === 0) throw new Error(`</${name}> closes nothing`);
    } else if (name !== "") {
      const pairs = [...attributes.matchAll(/([a-z_]+)="([^"]*)"/g)];
      const node = {
        name,
        attributes: Object.fromEntries(pairs.map(([, key, value = ""]) => [key, unescapeXml(value)])),
        text: "",
        children: [],
      };
      top.children.push(node);
      open.push(node);
    }
  }
  if (at !== source.length || open.length !== 1) throw new Error(`ends within <${open.at(-1)?.name}>`);
  return root.children;
}

export type WazuhRule = {
  id: number;
  level: number;
  description: string;
  frequency: number;
  timeframe: number;
  parents: number[];
  matched: number | null;
  decodedAs: string | null;
  fields: { path: string; regex: RegExp }[];
  regex: RegExp | null;
  same: string[];
  different: string[];
};

const KNOWN = /^(if_sid|if_matched_sid|decoded_as|field|regex|same_field|different_field|description|group)$/;

export const readXml = (name: string): Node[] =>
  parseXml(readFileSync(repoPath(`policies/detect/wazuh/${name}`), "utf8"));

export function readWazuhRules(): WazuhRule[] {
  return readXml("sallyport_rules.xml")
    .flatMap(({ children }) => children)
    .map((node) => {
      const all = (name: string) => node.children.filter((child) => child.name === name);
      const one = (name: string) => all(name)[0]?.text ?? null;
      for (const { name, attributes } of node.children) {
        if (!KNOWN.test(name)) throw new Error(`<${name}> is not known here`);
        if (/^(field|regex)$/.test(name) && attributes.type !== "pcre2")
          throw new Error(`<${name}>: no pcre2`);
      }
      return {
        id: Number(node.attributes.id),
        level: Number(node.attributes.level),
        frequency: Number(node.attributes.frequency ?? 1),
        timeframe: Number(node.attributes.timeframe ?? 0) * 1000,
        description: one("description") ?? "",
        parents: (one("if_sid") ?? "").split(",").filter(Boolean).map(Number),
        matched: one("if_matched_sid") === null ? null : Number(one("if_matched_sid")),
        decodedAs: one("decoded_as"),
        fields: all("field").map(({ attributes, text }) => ({
          path: attributes.name ?? "",
          regex: new RegExp(text),
        })),
        regex: one("regex") === null ? null : new RegExp(one("regex") ?? ""),
        same: all("same_field").map(({ text }) => text),
        different: all("different_field").map(({ text }) => text),
      };
    });
}

/** The numbers of the rules above level 0 that these lines set off. `decoder`: by which the lines were read. */
export function alerts(
  rules: readonly WazuhRule[],
  lines: readonly string[],
  decoder: "json" | "sallyport",
): number[] {
  const seen: { line: Line; hits: Set<number> }[] = [];
  const found = new Set<number>();
  for (const text of lines) {
    const line = JSON.parse(text) as Line;
    const hits = new Set<number>();
    const entry = { line, hits };
    seen.push(entry);
    for (const rule of rules)
      if (isHit(rule, { line, text, hits, decoder }) && isOften(rule, entry, seen)) {
        hits.add(rule.id);
        if (rule.level > 0) found.add(rule.id);
      }
  }
  return [...found];
}

function isHit(
  rule: WazuhRule,
  o: { line: Line; text: string; hits: Set<number>; decoder: string },
): boolean {
  return (
    (rule.decodedAs === null || rule.decodedAs === o.decoder) &&
    (rule.parents.length === 0 || rule.parents.some((id) => o.hits.has(id))) &&
    (rule.matched === null || o.hits.has(rule.matched)) &&
    rule.fields.every(({ path, regex }) => regex.test(String(fieldOf(o.line, path) ?? ""))) &&
    (rule.regex === null || rule.regex.test(o.text))
  );
}

/** This one and those before it within the time, alike in what is the same and unlike in what differs. */
function isOften(
  { frequency, timeframe, matched, same, different }: WazuhRule,
  last: { line: Line },
  seen: readonly { line: Line; hits: Set<number> }[],
): boolean {
  if (matched === null) return true;
  const at = (line: Line) => Date.parse(String(line["@timestamp"]));
  const before = seen.filter(
    ({ line, hits }) =>
      line !== last.line &&
      hits.has(matched) &&
      at(last.line) - at(line) <= timeframe &&
      same.every(
        (path) => fieldOf(line, path) !== undefined && fieldOf(line, path) === fieldOf(last.line, path),
      ) &&
      different.every((path) => fieldOf(line, path) !== fieldOf(last.line, path)),
  );
  return before.length + 1 >= frequency;
}
