import { readFileSync, writeFileSync } from "node:fs";
import t from "tap";
import { repoPath } from "../../src/host/self.ts";
import { ELSEWHERE } from "./elsewhere.ts";
import { page } from "./page.ts";

t.test("docs/containment.md is what the tests try", async (t) => {
  const path = repoPath("docs/containment.md");
  if (process.env.WRITE === "1") writeFileSync(path, page());
  t.equal(readFileSync(path, "utf8"), page(), "WRITE=1 makes it anew");
});

t.test("the tests that it names are there", async (t) => {
  for (const { file, test } of ELSEWHERE) {
    const names = readFileSync(repoPath(`test/containment/${file}`), "utf8").matchAll(
      /\.test\(\s*["`]?([^"`,]*)/g,
    );
    t.ok(
      [...names].some(([, name = ""]) => name.startsWith(test.split(",")[0]!)),
      `${file}: ${test}`,
    );
  }
});
