import { spawn, spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import t from "tap";
import { FILE_TIMEOUT } from "../../faults/support.ts";
import { alive, DEMO, familyOf, scratchDir, until } from "./play.ts";

t.setTimeout(FILE_TIMEOUT);

const hasScript = spawnSync("script", ["--version"]).status === 0;
const ESC = "\u001b";

/** The demo at a terminal of its own (script(1) makes it), typed at as a person would. */
function atTerminal(scratch: string) {
  const child = spawn("script", ["-qfec", DEMO.map((word) => `'${word}'`).join(" "), "/dev/null"], {
    env: { PATH: process.env.PATH, TMPDIR: scratch, TERM: "xterm" },
    stdio: ["pipe", "pipe", "ignore"],
  });
  let screen = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    screen += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", (status) => resolve(status)));
  return {
    child,
    ended,
    type: (text: string) => child.stdin.write(text),
    shows: async (what: RegExp) => {
      await until(() => what.test(screen), 60_000, `${what} is not on the screen:\n${screen}`);
      const seen = screen;
      screen = "";
      return seen;
    },
  };
}

for (const [name, key] of [
  ["Ctrl-D", "\u0004"],
  ["Ctrl-C", "\u0003"],
] as const) {
  t.test(
    `typed at a terminal, ended by ${name}`,
    { skip: hasScript ? false : "script(1), which makes a terminal, is not here" },
    async (t) => {
      const dir = scratchDir(t);
      const terminal = atTerminal(dir);
      await terminal.shows(/Ctrl-D ends the demo[\s\S]*alice> /);
      terminal.type("/ops run demo/hello --name Ada\r");
      const shown = await terminal.shows(/Hello, Ada!/);
      t.match(shown, `${ESC}[1mRun: `, "bold is bold");
      terminal.type("nonsense\r");
      await terminal.shows(/"nonsense" means nothing here; write help/);
      terminal.type("bob: /ops run slow --count 60\r");
      await terminal.shows(/▶ demo\/slow is running[\s\S]*bob> /);
      terminal.type("click Cancel\r");
      await terminal.shows(/■ demo\/slow was canceled/);
      terminal.type("host: sallyport audit verify\r");
      await terminal.shows(/The log is sound/);
      terminal.type("mallory: /ops run demo/slow --count 60\r");
      await terminal.shows(/Refused/);
      terminal.type("bob: /ops run demo/slow --count 60\r");
      await terminal.shows(/▶ demo\/slow is running/);
      const family = familyOf(terminal.child.pid);
      const from = performance.now();
      terminal.type(key);
      t.equal(await terminal.ended, 0);
      t.ok(performance.now() - from < 5000, `${Math.round(performance.now() - from)} ms`);
      await until(() => alive(family).length === 0, 15_000, `still there: ${alive(family).join(", ")}`);
      t.same(readdirSync(dir), [], "no file is left");
    },
  );
}
