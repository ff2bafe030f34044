import { existsSync, globSync, readFileSync } from "node:fs";
import t from "tap";
import { repoPath } from "../src/host/self.ts";

t.test("the tests that cve.md names are there", async (t) => {
  const sources = globSync("test/**/*.ts", { cwd: repoPath(".") }).filter(
    (path) => path !== "test/cve.test.ts",
  );
  // The self-test's attempts are among the battery's; a sentence of SECURITY.md may be named too.
  const text = [...sources, "src/exec/battery.ts", "SECURITY.md"]
    .map((path) => readFileSync(repoPath(path), "utf8"))
    .join("\n");
  let named = 0;
  for (const line of readFileSync(repoPath("test/cve.md"), "utf8").split("\n")) {
    const shown = line.split(" | ")[2];
    if (shown === undefined) continue;
    for (const [file] of shown.matchAll(/[\w/-]+\.test\.ts/g))
      t.ok(existsSync(repoPath(`test/${file}`)), file);
    for (const [, title = ""] of shown.matchAll(/"([^"]+)"/g)) {
      t.ok(text.includes(title), title);
      named++;
    }
  }
  t.ok(named > 30, `${named} are named`);
});
