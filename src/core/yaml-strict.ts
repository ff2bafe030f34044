import { CST, type Document, isScalar, Lexer, parseDocument, visit } from "yaml";

/**
 * A small part of YAML 1.2: maps, lists, plain and quoted scalars, comments. Tags, anchors, aliases, directives,
 * merge keys, doubled keys and several documents are refused: none is needed to write an op.yaml, and each has
 * been used elsewhere to run code or to make a small file huge. Throws YamlFault with one sentence.
 */
export class YamlFault extends Error {}

const MAX_NESTING = 16;
/** Keys, list items and brackets. The largest op.yaml that is valid needs about 3700. */
const MAX_PARTS = 5000;

export function parseStrictYaml(text: string): unknown {
  refuseFeatures(text);
  const document = parseDocument(text, {
    version: "1.2",
    schema: "core",
    merge: false,
    resolveKnownTags: false,
    customTags: null,
    // Its own check compares each key with each other: 64 KiB of keys took the keeper 10 s.
    uniqueKeys: false,
    strict: true,
    stringKeys: true,
    prettyErrors: false,
    // Not "silent": that would also silence the error about a second document.
    logLevel: "error",
  });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    if (problem.code === "RESOURCE_EXHAUSTION") throw new YamlFault(`It nests deeper than ${MAX_NESTING}.`);
    const line = text.slice(0, problem.pos[0]).split("\n").length;
    const message = problem.message.split("\n")[0] ?? "";
    throw new YamlFault(`Line ${line} is not YAML that is accepted here: ${message.slice(0, 200)}`);
  }
  refuseDoubles(document, text);
  const value: unknown = document.toJS({ maxAliasCount: 0 });
  checkTree(value, 0);
  return value;
}

const REFUSED: Readonly<Record<string, string>> = {
  anchor: "an anchor (&)",
  alias: "an alias (*)",
  tag: "a tag (!)",
  "directive-line": "a directive (%)",
};

const PARTS: ReadonlySet<string> = new Set([
  "map-value-ind",
  "explicit-key-ind",
  "seq-item-ind",
  "comma",
  "flow-map-start",
  "flow-seq-start",
]);

// The lexer alone does not recurse and builds nothing: what it refuses costs no more than reading the text.
function refuseFeatures(text: string): void {
  let line = 1;
  let nesting = 0;
  let scalar = false;
  let parts = 0;
  for (const source of new Lexer().lex(text)) {
    const type: string | null = scalar ? "scalar" : CST.tokenType(source);
    scalar = type === "scalar" && source === CST.SCALAR;
    const refused = REFUSED[type ?? ""];
    if (refused !== undefined)
      throw new YamlFault(`Line ${line} uses ${refused}, which is not accepted here.`);
    if (type === "flow-map-start" || type === "flow-seq-start") nesting++;
    if (type === "flow-map-end" || type === "flow-seq-end") nesting--;
    if (PARTS.has(type ?? "") && ++parts > MAX_PARTS)
      throw new YamlFault(`It has more than ${MAX_PARTS} keys and list items.`);
    if (nesting > MAX_NESTING) throw new YamlFault(`Line ${line} nests deeper than ${MAX_NESTING}.`);
    line += source.split("\n").length - 1;
  }
}

function refuseDoubles(document: Document.Parsed, text: string): void {
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) {
          const line = text.slice(0, key.range?.[0] ?? 0).split("\n").length;
          throw new YamlFault(`Line ${line} has a key for the second time; keys must be unique.`);
        }
        seen.add(key.value);
      }
    },
  });
}

function checkTree(value: unknown, depth: number): void {
  if (depth > MAX_NESTING) throw new YamlFault(`It nests deeper than ${MAX_NESTING}.`);
  if (typeof value !== "object" || value === null) return;
  for (const key of Object.keys(value)) {
    // Objects built from these later would change what they inherit.
    if (key === "__proto__" || key === "constructor" || key === "prototype") {
      throw new YamlFault(`The key "${key}" is not accepted here.`);
    }
    checkTree((value as Record<string, unknown>)[key], depth + 1);
  }
}
