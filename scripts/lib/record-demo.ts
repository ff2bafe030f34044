import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./run.ts";

/** Plays examples/demo.script with dist/sallyport and writes what it prints to the transcript and between README's markers. */
const out = execFileSync(
  join(ROOT, "dist/sallyport"),
  ["demo", "--script", join(ROOT, "examples/demo.script")],
  {
    encoding: "utf8",
    env: { ...process.env, TZ: "UTC" },
  },
);
writeFileSync(join(ROOT, "test/cli/demo.transcript.txt"), out);
const readme = join(ROOT, "README.md");
const text = readFileSync(readme, "utf8");
const block = `<!-- demo:begin -->\n\`\`\`text\n${out.trimEnd()}\n\`\`\`\n<!-- demo:end -->`;
const replaced = text.replace(/<!-- demo:begin -->[\s\S]*?<!-- demo:end -->/, () => block);
if (!replaced.includes(block)) throw new Error("README.md has no demo:begin and demo:end markers");
writeFileSync(readme, replaced);
