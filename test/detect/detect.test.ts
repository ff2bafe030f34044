import t from "tap";
import { CATALOGUE, type EventType } from "../../src/audit/catalogue.ts";
import type { AuditEvent } from "../../src/audit/event.ts";
import { entryLine } from "../../src/siem/ecs.ts";
import { entryOf, exampleOf } from "../siem/examples.ts";
import { CASES, heartbeats } from "./cases.ts";
import { type Line, readRules, type SigmaRule, setOff } from "./sigma.ts";
import { alerts, parseXml, readWazuhRules, readXml } from "./wazuh.ts";

/** policies/detect: each rule is set off by the events that it is for, and not by what comes near to them. */

const FILES = readRules();
const SIGMA = [...FILES.values()].flat();
const WAZUH = readWazuhRules();

type At = { at: number; event: AuditEvent };
/** Minutes after a start to the lines that the journal has. */
function linesOf(events: readonly At[]): string[] {
  const start = Date.parse("2026-11-25T10:00:00.000Z");
  return events.map(({ at, event }, i) => {
    const { bytes, leaf } = entryOf(event, new Date(start + at * 60_000).toISOString());
    return entryLine(bytes, i, leaf).trimEnd();
  });
}
const decoded = (lines: readonly string[]): Line[] => lines.map((line) => JSON.parse(line) as Line);

for (const { file, title, sigma, wazuh, match, misses } of CASES)
  t.test(title, async (t) => {
    const rules = FILES.get(file) as SigmaRule[];
    t.ok(rules, file);
    t.ok(setOff(rules, decoded(linesOf(match))).includes(sigma), `Sigma: ${sigma}`);
    for (const decoder of ["json", "sallyport"] as const)
      if (wazuh !== null) t.ok(alerts(WAZUH, linesOf(match), decoder).includes(wazuh), `Wazuh: ${wazuh}`);
    for (const [what, events] of Object.entries(misses)) {
      t.notOk(setOff(rules, decoded(linesOf(events))).includes(sigma), `Sigma: not ${what}`);
      if (wazuh !== null)
        t.notOk(alerts(WAZUH, linesOf(events), "json").includes(wazuh), `Wazuh: not ${what}`);
    }
  });

t.test("each rule has its case, and they are all told apart", async (t) => {
  const tried = new Set(CASES.map(({ sigma }) => sigma));
  for (const { title, level } of SIGMA)
    if (level !== "informational") t.ok(tried.has(title), `a case for ${title}`);
  t.equal(new Set(SIGMA.map(({ id }) => id)).size, SIGMA.length);
  const triedOfWazuh = new Set(CASES.map(({ wazuh }) => wazuh));
  for (const { id, level } of WAZUH) if (level > 0) t.ok(triedOfWazuh.has(id), `a case for ${id}`);
  t.equal(new Set(WAZUH.map(({ id }) => id)).size, WAZUH.length);
});

t.test("they name events and fields that there are", async (t) => {
  const types = Object.keys(CATALOGUE);
  for (const rule of SIGMA)
    if ("detection" in rule) {
      const { condition, ...selections } = rule.detection;
      for (const selection of Object.values(selections)) {
        const actions = [(selection as Record<string, string | string[]>)["event.action"] ?? []].flat();
        t.ok(actions.length > 0, `${rule.title}: names its events`);
        for (const action of actions) {
          t.ok(types.includes(action), action);
          const { fields } = CATALOGUE[action as EventType];
          for (const key of Object.keys(selection as object)) {
            const [path = ""] = key.split("|");
            if (path.startsWith("sallyport.")) t.ok(path.slice(10) in fields, `${action} has ${path}`);
          }
        }
      }
    }
  for (const { fields, id } of WAZUH)
    for (const { path, regex } of fields)
      if (path === "event.action")
        t.ok(
          types.some((type) => regex.test(type)),
          `${id}: ${regex}`,
        );
});

t.test("an ordinary day sets off nothing", async (t) => {
  const quiet = (Object.keys(CATALOGUE) as EventType[])
    .filter((type) => CATALOGUE[type].severity === 1)
    .map((type, i) => ({ at: i, event: exampleOf(type) }));
  const lines = linesOf([...quiet, ...heartbeats(0, 60)].sort((a, b) => a.at - b.at));
  t.strictSame(
    setOff(SIGMA, decoded(lines)).filter(
      (title) => SIGMA.find((r) => r.title === title)?.level !== "informational",
    ),
    [],
  );
  t.strictSame(alerts(WAZUH, lines, "json"), []);
});

t.test("lines with a syslog header find the decoder", async (t) => {
  const decoders = readXml("sallyport_decoders.xml");
  t.equal(decoders[0]?.attributes.name, "sallyport");
  const text = (name: string) => decoders[0]?.children.find((child) => child.name === name)?.text ?? "?";
  t.match("sallyport", new RegExp(text("program_name")));
  const [line = ""] = linesOf([{ at: 0, event: exampleOf("log.heartbeat") }]);
  t.ok(line.startsWith(text("prematch").slice(1)));
  t.equal(decoders[1]?.children[0]?.text, "sallyport");
  t.equal(decoders[1]?.children[1]?.text, "JSON_Decoder");
});

t.test("the readers refuse what they don't understand", async (t) => {
  for (const source of ["<a><b></a></b>", "<a>", "</a>", "<a b=c></a>", "<a>x</a><"])
    t.throws(() => parseXml(source), source);
  t.equal(parseXml('<a b="1"><!-- <c> --><d>&lt;</d></a>')[0]?.children[0]?.text, "<");
});
