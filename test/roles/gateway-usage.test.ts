import { spawnSync } from "node:child_process";
import t from "tap";
import { repoPath } from "../../src/host/self.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

t.test("usage", async (t) => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [repoPath("src/main.ts"), "role", "gateway", ...args], {
      encoding: "utf8",
      env: {},
    });
  for (const args of [
    ["--slack-api-url", "http://slack.example/api/"],
    ["--slack-api-url", "ftp://127.0.0.1/"],
    ["--slack-api-url", "https://user:pass@slack.com/api/"],
    ["--slack-api-url", "x"],
    ["--post-rate", "0"],
    ["--no-such"],
    [],
  ]) {
    const { status, stderr } = run(...args);
    t.equal(status, 2, args.join(" "));
    t.match(stderr, /^sallyport: .+/);
  }
});
