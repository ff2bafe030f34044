import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { findingsText, RULES, scanFiles } from "../../../src/core/secret-scan/scan.ts";
import { EXAMPLES } from "./examples.ts";

const noPause = async () => undefined;
const scan = (text: string | Buffer, path = "main.sh") =>
  scanFiles([{ path, bytes: Buffer.from(text as string) }], noPause);
const rules = async (text: string | Buffer) => (await scan(text)).map(({ rule }) => rule);

t.test(
  "each rule finds its examples, wherever they stand, and leaves alone what only looks like them",
  async (t) => {
    t.same(Object.keys(EXAMPLES).sort(), RULES.map(({ id }) => id).sort(), "every rule has examples");
    for (const [id, { find, leave }] of Object.entries(EXAMPLES)) {
      t.ok(find.length > 0 && leave.length > 0, id);
      for (const text of find)
        for (const around of [text, `x = "${text}"\n`, `# a\n\n${text}`, `\0\x01${text}\0`])
          t.ok((await rules(around)).includes(id), `${id} finds ${JSON.stringify(around.slice(0, 12))}...`);
      for (const text of leave) {
        t.notOk((await rules(text)).includes(id), `${id} leaves ${text.slice(0, 60)}`);
        // Nor does any other rule take it, where it is no credential of another kind.
        if (!/robot|ghp|AKIA|glsa|sk-|eyJ/.test(text))
          t.same(
            (await rules(text)).filter((r) => r !== id),
            [],
            text.slice(0, 60),
          );
      }
    }
  },
);

t.test("file, line and rule are told, the value never", async (t) => {
  const [value = ""] = EXAMPLES["github-token"]!.find;
  const found = await scan(`#!/bin/sh\n\ncurl -H "x: ${value}"\n`, "bin/deploy.sh");
  t.same(found, [{ path: "bin/deploy.sh", line: 3, rule: "github-token", what: "a GitHub token" }]);
  t.equal(findingsText(found), "bin/deploy.sh:3 a GitHub token (github-token)");
  t.notOk(JSON.stringify(found).includes(value.slice(4, 10)));
  const many = await scan(Array(300).fill(value).join("\n"));
  t.equal(many.length, 100);
  t.match(findingsText(many), /main\.sh:8 a GitHub token \(github-token\), and 92 more$/);
  t.equal((await scan(`${value} ${value}`)).length, 1, "once a line");
});

t.test("wherever it stands in a large file, and once", async (t) => {
  const [value = ""] = EXAMPLES["github-token"]!.find;
  const [key = ""] = EXAMPLES["private-key"]!.find;
  for (const text of [value, key])
    for (const at of [262_143, 262_144 - 20, 262_144, 262_145, 270_000, 524_288 - 5]) {
      const whole = `${" ".repeat(at - 1)}\n${text}\n${" ".repeat(600_000)}`;
      t.match(await scan(whole), [{ line: 2 }], `at ${at}`);
      t.equal((await scan(whole)).length, 1);
    }
  const within = `${" ".repeat(262_143)}X${value}${" ".repeat(9000)}`;
  t.same(await scan(within), [], "a step's border is no beginning of a word");
});

t.test("also in UTF-16, as PowerShell writes files", async (t) => {
  const [value = ""] = EXAMPLES["npm-token"]!.find;
  const wide = Buffer.from(`\ufeff$x = "${value}"`, "utf16le");
  t.same(await rules(wide), ["npm-token"]);
  t.same(await rules(Buffer.from(wide).swap16()), ["npm-token"]);
});

t.test("no rule can take longer than the text is long: every repetition has a bound", (t) => {
  for (const { id, find } of RULES) {
    t.ok(find.global && !find.sticky, id);
    const bare = find.source.replace(/\\./g, "e").replace(/\[[^\]]*\]/g, "c");
    t.notMatch(bare, /[*+]|,\}/, `${id} has no repetition without a bound`);
    t.notMatch(bare, /[}?]\)\{|\}\)\?\{/, `${id} repeats no repetition`);
  }
  t.end();
});

t.test("the Ops that come with sallyport hold none", async (t) => {
  const dir = join(import.meta.dirname, "../../../examples");
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => ({ path: entry.name, bytes: readFileSync(join(entry.parentPath, entry.name)) }));
  t.ok(files.length > 3);
  t.same(await scanFiles(files, noPause), []);
});
