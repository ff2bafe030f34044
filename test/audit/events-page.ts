import { CATALOGUE, type EventRow, type EventType } from "../../src/audit/catalogue.ts";
import { ecsKind, entryLine } from "../../src/siem/ecs.ts";
import { ocsfKind } from "../../src/siem/ocsf-kinds.ts";
import { entryOf, exampleOf } from "../siem/examples.ts";

const SEVERITIES = { 1: "informational", 3: "medium", 4: "high", 5: "critical" } as const;
const code = (text: string): string => `\`${text}\``;

function section(type: EventType): string[] {
  const { owasp, when, severity, fields } = CATALOGUE[type] as EventRow;
  const { category, types } = ecsKind(type);
  const { classUid, className, activityId, activityName } = ocsfKind(type);
  const { bytes, leaf } = entryOf(exampleOf(type));
  // The version is the build's own.
  const line = entryLine(bytes, 7, leaf).replace(/"version":"[^"]*"\}/, '"version":"1.0.0"}');
  const named = Object.entries(fields).map(([name, kind]) => `${code(name)} ${kind}`);
  return [
    "",
    `### ${type}`,
    `${when[0]!.toUpperCase()}${when.slice(1)}.`,
    "",
    `- severity ${severity}, ${SEVERITIES[severity]}${owasp === null ? "" : `; OWASP ${code(owasp)}`}`,
    `- ECS ${code(category)}: ${types.map(code).join(", ")}`,
    `- OCSF ${classUid * 100 + activityId}, ${className}: ${activityName}`,
    `- ${named.length === 0 ? "no fields of its own" : `fields: ${named.join(", ")}`}`,
    "",
    "```json",
    line.trimEnd(),
    "```",
  ];
}

/** docs/events.md. */
export function eventsPage(): string {
  const types = Object.keys(CATALOGUE) as EventType[];
  const families = [...new Set(types.map((type) => type.split(".")[0]!))];
  const lines = [
    "# Events",
    "Every event that the log can hold. Made from `src/audit/catalogue.ts`, which is what the log itself checks against: `WRITE=1` before",
    "`test/audit/events.test.ts` makes it anew. What SIEM rules exist for them: [siem-rules.md](siem-rules.md).",
    "",
    "OWASP's names are those of its Logging Vocabulary. Severities are OCSF's; CEF has them as 1, 5, 8 and 10 of ten. The examples are",
    "ECS lines as they go to the journal, with every field that the event may have; a field that does not apply is left out.",
    "`audit export --format ocsf` and `--format cef` write the same entries otherwise. An OCSF activity that the class does not have is",
    "99 (Other) under the name given here; rights given to or taken from a group are Group Management (300601, 300602). What ECS and",
    "OCSF have no place for is below `sallyport` and `unmapped`, in CEF under keys that begin with `sallyport`.",
    "",
    "In every line: `event.sequence` counts the log's entries from 0 without a gap; `event.hash` is the entry's leaf in the log's tree",
    "(RFC 6962), to be held against a checkpoint; `event.kind` is `alert` for what was refused; `user.id` is an identity in sallyport,",
    "`uid:N` an account of the host, `TEAM/USER` an account of Slack that is not linked. There are no names of people, values of",
    "arguments or secrets.",
  ];
  for (const family of families) {
    lines.push("", `## ${family}`);
    lines.push(...types.filter((type) => type.startsWith(`${family}.`)).flatMap(section));
  }
  return `${lines.join("\n")}\n`;
}
