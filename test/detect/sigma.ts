import { readdirSync, readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { repoPath } from "../../src/host/self.ts";

/**
 * As much of Sigma (specification 2.1) as policies/detect uses: selections of equal values and `fieldref`, conditions with `or`, and the
 * correlations event_count and value_count. Anything else in a rule is an error, so that none passes for what it is not.
 */

const Selection = z.record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]));
const common = {
  title: z.string().max(110),
  id: z.uuid(),
  name: z.string().optional(),
  status: z.enum(["stable", "test"]),
  description: z.string(),
  date: z.iso.date(),
  tags: z.array(z.string().regex(/^attack\.([a-z-]+|t\d{4}(\.\d{3})?)$/)).optional(),
  falsepositives: z.array(z.string()).optional(),
  level: z.enum(["informational", "low", "medium", "high", "critical"]),
};
const Rule = z.strictObject({
  ...common,
  logsource: z.strictObject({ product: z.literal("sallyport"), service: z.literal("audit") }),
  detection: z.object({ condition: z.string() }).catchall(Selection),
});
const Correlation = z.strictObject({
  ...common,
  correlation: z.strictObject({
    type: z.enum(["event_count", "value_count"]),
    rules: z.array(z.string()).length(1),
    "group-by": z.array(z.string()).optional(),
    timespan: z.string().regex(/^\d+[smh]$/),
    condition: z.strictObject({
      gte: z.int().optional(),
      lt: z.literal(1).optional(),
      field: z.string().optional(),
    }),
  }),
});
type Rule = z.infer<typeof Rule>;
type Correlation = z.infer<typeof Correlation>;
export type SigmaRule = Rule | Correlation;
/** A decoded line: "event.action" is reached through its objects. */
export type Line = Record<string, unknown>;

export function fieldOf(line: Line, path: string): unknown {
  if (path in line) return line[path];
  return path.split(".").reduce<unknown>((at, name) => (at as Line | undefined)?.[name], line);
}

/** The rules of each file in policies/detect/sigma, checked for their form. */
export function readRules(): Map<string, SigmaRule[]> {
  const dir = repoPath("policies/detect/sigma");
  return new Map(
    readdirSync(dir).map((file) => [
      file,
      parseAllDocuments(readFileSync(`${dir}/${file}`, "utf8")).map((document) => {
        if (document.errors.length > 0) throw document.errors[0];
        const json = document.toJS() as object;
        return "correlation" in json ? Correlation.parse(json) : Rule.parse(json);
      }),
    ]),
  );
}

function isMatch(rule: Rule, line: Line): boolean {
  const { condition, ...selections } = rule.detection;
  return condition.split(" or ").some((name) => {
    const selection = (selections as Record<string, z.infer<typeof Selection>>)[name];
    if (selection === undefined) throw new Error(`${rule.title}: no selection ${name}`);
    return Object.entries(selection).every(([key, wanted]) => {
      const [path = "", modifier] = key.split("|");
      if (modifier === undefined) return [wanted].flat().includes(String(fieldOf(line, path)));
      if (modifier !== "fieldref" || typeof wanted !== "string") throw new Error(`${rule.title}: ${key}`);
      const found = fieldOf(line, path);
      return found !== undefined && found === fieldOf(line, wanted);
    });
  });
}

const timeOf = (line: Line): number => Date.parse(String(line["@timestamp"]));

function spanOf(text: string): number {
  return Number.parseInt(text, 10) * 1000 * { s: 1, m: 60, h: 3600 }[text.slice(-1) as "s" | "m" | "h"];
}

/** The titles of the rules that these lines set off; lines are in order of time. */
export function setOff(rules: readonly SigmaRule[], lines: readonly Line[]): string[] {
  return rules.filter((rule) => isSetOff(rules, rule, lines)).map(({ title }) => title);
}

function isSetOff(rules: readonly SigmaRule[], rule: SigmaRule, lines: readonly Line[]): boolean {
  if ("detection" in rule) return lines.some((line) => isMatch(rule, line));
  const { type, timespan, condition } = rule.correlation;
  const base = rules.find((other) => other.name === rule.correlation.rules[0]);
  if (base === undefined || !("detection" in base)) throw new Error(`${rule.title}: no rule it builds on`);
  const found = lines.filter((line) => isMatch(base, line));
  const span = spanOf(timespan);
  if (condition.lt !== undefined) {
    const ends = [lines[0], ...found, lines.at(-1)].flatMap((line) =>
      line === undefined ? [] : timeOf(line),
    );
    return ends.some((at, i) => i > 0 && at - (ends[i - 1] ?? at) > span);
  }
  return found.some((last) => {
    const window = found.filter(
      (line) =>
        timeOf(line) <= timeOf(last) &&
        timeOf(last) - timeOf(line) <= span &&
        (rule.correlation["group-by"] ?? []).every(
          (path) => fieldOf(line, path) !== undefined && fieldOf(line, path) === fieldOf(last, path),
        ),
    );
    const { field = "" } = condition;
    const count =
      type === "event_count" ? window.length : new Set(window.map((line) => fieldOf(line, field))).size;
    return count >= (condition.gte ?? Number.POSITIVE_INFINITY);
  });
}
