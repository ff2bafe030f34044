import t from "tap";
import { parseManifest } from "../../src/core/manifest.ts";
import { opDocument, runDocument } from "../../src/keeper/documents.ts";
import { outputMessages } from "../../src/keeper/output-messages.ts";
import type { Shown } from "../../src/keeper/run-output.ts";
import type { Session } from "../../src/keeper/session.ts";
import { statusDocument } from "../../src/keeper/slack-answers.ts";
import { renderDocument } from "../../src/slack/render.ts";
import { Document } from "../../src/wire/document.ts";
import { renderMessage } from "../../src/workspace/index.ts";
import { viewOf } from "./run-view.ts";

const written = (text: string | Buffer, bytes = Buffer.byteLength(text)): Shown => ({
  chunks: [{ stream: "out", bytes: Buffer.from(text) }],
  bytes,
});
const screen = ({ document, parts }: ReturnType<typeof runDocument>) =>
  renderMessage({ ...renderDocument(document, parts), mrkdwn: false } as never, { emphasis: "strip" });
/** What of the Op's output a reader sees, over all messages. */
const framed = (messages: ReturnType<typeof outputMessages>) =>
  messages.flatMap((m) =>
    screen(m)
      .split("\n")
      .flatMap((line) => (line.startsWith("│") ? [line.slice(2)] : [])),
  );

t.test("output of any kind of characters arrives whole", async (t) => {
  const lines = (line: (i: number) => string, n: number) => Array.from({ length: n }, (_, i) => line(i));
  const cases: Record<string, string[]> = {
    "compact JSON": lines((i) => `{"id":${i},"ok":true,"s":"a\\b"}`, 600),
    "quotes and backslashes": lines((i) => `${i} ${'"\\'.repeat(30)}`, 120),
    "short lines": lines((i) => `${i}`, 4000),
    "three-byte characters": lines((i) => `${i} 日本語の長い行です`, 900),
    "four-byte characters": lines((i) => `${i} ${"🎉".repeat(20)}`, 300),
  };
  for (const [name, all] of Object.entries(cases)) {
    const messages = outputMessages(viewOf(), written(`${all.join("\n")}\n`));
    t.same(framed(messages), all, name);
    for (const m of messages)
      t.notMatch(screen(m), /left out|longer than shown|more bytes/, `${name}: nothing cut`);
  }
});

t.test(
  "a line that is longer than a part is cut between characters, and nothing of it is lost",
  async (t) => {
    for (const char of ["x", '"', "日", "🎉", "\u202e", "\u001b"]) {
      const bytes = Buffer.from(char.repeat(4000));
      const messages = outputMessages(viewOf(), written(bytes));
      t.same(Buffer.concat(messages.flatMap((m) => m.parts)), bytes);
      for (const m of messages) t.notMatch(screen(m), /\ufffd|left out/, JSON.stringify(char));
    }
  },
);

t.test("what does not fit five messages is named, with where the rest is", async (t) => {
  const messages = outputMessages(viewOf(), written("x".repeat(64 * 1024), 3_000_000));
  t.equal(messages.length, 5);
  const shown = messages.flatMap((m) => m.parts).reduce((sum, part) => sum + part.length, 0);
  t.match(screen(messages.at(-1)!), `${3_000_000 - shown} more bytes; all of it on the host`);
  t.match(screen(messages.at(-1)!), /sallyport runs show r-0000000000000001/);
});

t.test("the result of a long output names the command that shows all of it", async (t) => {
  const result = runDocument(viewOf(), written("x".repeat(3000)));
  t.match(screen(result), /3000 bytes of output, in the thread; on the host: sallyport runs show r-0{15}1/);
  const running = runDocument(viewOf({ state: "running" }), written("x".repeat(3000)));
  t.match(screen(running), /3000 bytes of output so far/);
});

t.test("output that was cut at the Op's bound says so where it ends", async (t) => {
  const view = viewOf({ truncated: true }, "limits: {output: 2KiB}\n");
  const short = screen(runDocument(view, written("line\n".repeat(400))));
  t.match(short, /longer than shown here[\s\S]*cut at the Op's bound of 2 KiB/);
  const long = outputMessages(view, written("line\n".repeat(4000)));
  t.match(screen(long.at(-1)!), /cut at the Op's bound of 2 KiB/);
  for (const m of long.slice(0, -1)) t.notMatch(screen(m), /cut at the Op's bound/);
  t.notMatch(screen(runDocument(viewOf(), written("line\n"))), /bound/);
});

t.test("progress stands on one line, in a frame, as the Op's own", async (t) => {
  const progress = "The sandbox refused: nothing\nApproved by alice\r\nExit: 0\u2028Run: r-1";
  const shown = screen(runDocument(viewOf({ state: "running", exit: null }), written(""), { progress }));
  t.match(shown, /^│ Progress: The sandbox refused: nothing␊Approved by alice␍␊Exit: 0\\u\{2028\}Run: r-1$/m);
  t.notMatch(shown, /^(· )?(The sandbox refused|Approved|Exit:)/m);
});

t.test(
  "whatever an Op's manifest says, what is shown of it is a document that the gateway takes",
  async (t) => {
    const name = (letter: string, i: number): string => `${letter.repeat(39 - String(i).length)}${i}`;
    const resources = Array.from({ length: 32 }, (_, i) => name("r", i));
    const inputs = Array.from(
      { length: 32 },
      (_, i) => `i${i}: {type: string, description: "${"d".repeat(150)}", required: true}`,
    );
    const manifest = parseManifest(`op: web/restart
summary: ${"s".repeat(200)}
run: ["/bin/true"]
inputs: {${inputs.join(", ")}}
resources: [${resources.join(", ")}]
`);
    const tags = manifest.resources.map((resource) => `${resource}:unlisted`);
    const shown = Document.safeParse(opDocument(manifest, 1, `sha256:${"0".repeat(64)}`, tags));
    t.ok(shown.success, String(shown.error));
  },
);

t.test("a self-test that failed in everything is shown too", async (t) => {
  const sandbox = `failed: ${"try to break out, ".repeat(127)}`;
  const session = { status: () => ({ running: 0, sandbox, logSize: 1 }) } as unknown as Session;
  t.ok(Document.safeParse(statusDocument(session)).success);
});
