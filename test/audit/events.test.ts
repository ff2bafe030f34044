import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { CATALOGUE } from "../../src/audit/catalogue.ts";
import { repoPath } from "../../src/host/self.ts";
import { eventsPage } from "./events-page.ts";

/** The catalogue, its page, and the source that logs: none has what another lacks. */

const TYPES = Object.keys(CATALOGUE);
const sources = (room: string): string[] =>
  readdirSync(repoPath(`src/${room}`), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => readFileSync(repoPath(`src/${room}/${file}`), "utf8"));

/** Those that may write the log: where a transaction is. */
const LOGGERS = [...sources("keeper"), ...sources("store")];

t.test("docs/events.md is what the catalogue says", async (t) => {
  const path = repoPath("docs/events.md");
  if (process.env.WRITE === "1") writeFileSync(path, eventsPage());
  t.equal(readFileSync(path, "utf8"), eventsPage(), "WRITE=1 makes it anew");
});

t.test("every event of the catalogue is logged somewhere", async (t) => {
  for (const type of TYPES)
    t.ok(
      LOGGERS.some((source) => source.includes(`"${type}"`)),
      `${type}: nothing logs it; take it out of the catalogue`,
    );
});

t.test("nothing is logged that the catalogue lacks", async (t) => {
  let calls = 0;
  for (const source of LOGGERS)
    for (const [call] of source.matchAll(/\.log\(\s*\{[\s\S]*?\}\s*\)/g))
      for (const [, type = ""] of call.matchAll(/(?<![\w.])type:\s[^,]*?"([a-z_]+\.[a-z_]+)"/g)) {
        calls++;
        t.ok(TYPES.includes(type), `${type} has a row in src/audit/catalogue.ts`);
      }
  t.ok(calls > 50, `${calls} calls were found`);
});

t.test("no field is for a name of a person, a value or a secret", async (t) => {
  const FORBIDDEN = /^(name|login|email|display|value|password|passphrase|token|text|args?Value)$/i;
  for (const [type, { fields }] of Object.entries(CATALOGUE))
    for (const field of Object.keys(fields)) t.notMatch(field, FORBIDDEN, `${type}.${field}`);
});
