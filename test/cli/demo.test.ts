import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { normal, readmeBlock } from "./demo/normal.ts";
import { Playing, processesOf, SCRIPT, scratchDir } from "./demo/play.ts";

t.setTimeout(FILE_TIMEOUT);

const TRANSCRIPT = join(import.meta.dirname, "demo.transcript.txt");
const README = join(import.meta.dirname, "../../README.md");

t.test("the recorded demo is what the demo prints today, in the README too", async (t) => {
  const dir = scratchDir(t);
  const playing = new Playing(["--script", SCRIPT], dir);
  const { status, out, err } = await playing.done;
  t.equal(status, 0, err);
  t.equal(normal(out), normal(readFileSync(TRANSCRIPT, "utf8")), "as test/cli/demo.transcript.txt");
  const block = readmeBlock(readFileSync(README, "utf8"));
  t.not(block, null, "the README has <!-- demo:begin --> and <!-- demo:end -->");
  t.equal(normal(block ?? ""), normal(out), "as the README; docs/demo.md says how to record it anew");
  t.match(
    out,
    /▶ demo\/slow is running\n(?: {4}.*\n)*? {4}│ Progress: step \d of 3/,
    "progress was shown while it ran",
  );
  t.notMatch(out, "WORKED", "nothing that misbehaves worked");
  t.match(out, /The sandbox refused: .*mount/, "what the sandbox refused is told");
  t.same(readdirSync(dir), [], "no file is left");
  t.same(processesOf(dir), [], "no process is left");
});

/** An Op whose output would drive a terminal and ping a channel. */
function loudOp(dir: string): string {
  writeFileSync(join(dir, "op.yaml"), 'op: demo/loud\nsummary: Says loud things\nrun: ["./main.sh"]\n');
  const says = "printf '\\033[31mred <!channel> <https://x.example|y>\\n'";
  writeFileSync(join(dir, "main.sh"), `#!/bin/sh\n${says}\n`, { mode: 0o755 });
  return dir;
}

t.test("people, channels, buttons, the host's own commands, seal and unseal", async (t) => {
  const dir = scratchDir(t);
  const loud = loudOp(scratchDir(t));
  const lines = [
    "alice: /ops run slow --count 50 &",
    "click Cancel",
    "wait",
    "in #random",
    "/ops run demo/hello",
    "in dm",
    "bob> @sallyport whoami",
    "in #ops",
    "bob: good morning",
    "mallory: /ops run demo/hello",
    "host: sallyport lock",
    "host: sallyport run demo/hello",
    "host: sallyport unlock",
    "bob: /ops run hello --name again",
    'host: sallyport run demo/hello --name "two words"',
    `host: sallyport op publish ${loud}`,
    "alice: /ops run loud \u001b[31m",
    "alice: /ops run loud",
    "host: sallyport run demo/loud",
    "quit",
    "alice: /ops help",
  ];
  const { status, out, err } = await new Playing(["--script", "-"], dir, lines.join("\n")).done;
  t.equal(status, 0, err);
  t.match(
    out,
    /alice> click Cancel\n[\s\S]*■ demo\/slow was canceled\n[\s\S]*\n\n?alice> \/ops run demo\/hello/,
  );
  t.match(
    out,
    /in #random, shown to alice alone:\n {4}Refused/,
    "not in a channel that the namespace has not",
  );
  t.match(out, /bob> @sallyport whoami\n {2}sallyport to bob.*:\n {4}You are bob\./);
  t.match(out, /bob> good morning\n(?=mallory>)/, "a plain message is nobody's command");
  t.match(out, /mallory> .*\n.*shown to mallory alone:\n {4}Refused/);
  t.match(out, /host> sallyport lock\n {4}Locked\./);
  t.match(
    out,
    /host> sallyport run demo\/hello\n {4}sallyport: The appliance is sealed\.[^\n]*\n {4}\(exit status 4\)|host> sallyport run demo\/hello\n {4}sallyport: The keeper is not running\.[^\n]*\n {4}\(exit status 5\)/,
  );
  t.match(out, /host> sallyport unlock\n {4}Unlocked with slot slot-1\./);
  t.match(out, "Hello, again!");
  t.match(out, "    Hello, two words!");
  t.notMatch(out, "\u001b", "no escape code reaches the terminal, whether typed or from an Op");
  t.equal(
    out.match(/^ {4}(?:│ )?␛\[31mred <!channel> <https:\/\/x\.example\|y>$/gm)?.length,
    2,
    "it is shown as text",
  );
  t.notMatch(out, "/ops help", "quit ends the script");
  t.same([readdirSync(dir), processesOf(dir)], [[], []], "nothing is left");
});
