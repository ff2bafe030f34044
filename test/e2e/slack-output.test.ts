import t from "tap";
import type { Message } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";
import { eventually, opFolder, PATIENCE, plain, result, runsOf } from "./slack-rig.ts";

/** Where output goes, that all of it arrives, and what is said where it can't. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const SH = "#!/bin/sh\n";
const publish = (manifest: string, script: string) =>
  appliance.publish(opFolder(appliance, `${manifest}\nrun: ["./main.sh"]\n`, { "main.sh": SH + script }));

async function run(line: string): Promise<Message> {
  const known = new Set(runsOf(appliance));
  await workspace.command("bob", "ops", `/ops run ${line}`).ack;
  let id: string | undefined;
  await eventually(appliance, () => {
    id = runsOf(appliance).find((each) => !known.has(each));
    return id !== undefined;
  });
  return result(workspace, "ops", new RegExp(id ?? ""));
}
const below = (parent: Message) =>
  workspace.messages("ops").filter((m) => m.threadTs === parent.ts && m.ts !== parent.ts);
/** The Op's lines in a thread, once the last one is there. */
async function lines(parent: Message, last: RegExp): Promise<string[]> {
  await workspace.waitFor(() => below(parent).some((m) => last.test(plain(m))), PATIENCE);
  return below(parent).flatMap((m) =>
    plain(m)
      .split("\n")
      .flatMap((line) => (line.startsWith("│ ") ? [line.slice(2)] : [])),
  );
}
const LOOP = (n: number, print: string) => `i=0; while [ $i -lt ${n} ]; do i=$((i+1)); ${print}; done\n`;

t.test("long output goes into the thread of its message, in order", async (t) => {
  await publish("op: demo/long\nsummary: Long output", LOOP(900, 'echo "line $i of a long output"'));
  const shown = await run("demo/long");
  t.match(plain(shown), /bytes of output, in the thread; on the host: sallyport runs show r-/);
  t.same(
    await lines(shown, /line 900 /),
    Array.from({ length: 900 }, (_, i) => `line ${i + 1} of a long output`),
  );
});

t.test("output full of quotes loses nothing of its middle", async (t) => {
  const line = (i: number | string) => `{"id":${i},"ok":true,"name":"n${i}","x":""}`;
  await publish("op: demo/json\nsummary: JSON", LOOP(600, `echo '${line("'$i'")}'`));
  const shown = await run("demo/json");
  t.same(
    await lines(shown, /"id":600,/),
    Array.from({ length: 600 }, (_, i) => line(i + 1)),
  );
});

t.test("output that the Op's bound cut says so where it ends", async (t) => {
  for (const bound of ["2KiB", "8KiB"]) {
    const name = `demo/cut-${bound.toLowerCase()}`;
    await publish(
      `op: ${name}\nsummary: Cut\nlimits: {output: ${bound}}`,
      LOOP(900, 'echo "line $i of a long output"'),
    );
    const shown = await run(name);
    const note = new RegExp(`cut at the Op's bound of ${bound.replace("K", " K")}`);
    t.match(plain(shown), /succeeded/);
    t.match(plain(shown), note);
    if (bound === "2KiB") t.match(plain(shown), /longer than shown here/);
    else await workspace.waitFor(() => note.test(plain(below(shown).at(-1) ?? shown)), PATIENCE);
  }
});

t.test("reply: thread: the state above, output and result below", async (t) => {
  await publish("op: demo/thread\nsummary: Thread\nreply: thread", "echo begin; sleep 300\n");
  workspace.command("bob", "ops", "/ops run demo/thread");
  const shown = await workspace.waitFor(
    () => workspace.messages("ops").find((m) => /demo\/thread is running/.test(plain(m))),
    PATIENCE,
  );
  workspace.click("bob", shown, "cancel");
  t.same(await lines(shown, /was canceled/), ["begin"]);
  await workspace.waitFor(() => /was canceled/.test(plain(shown)), PATIENCE);
  t.match(plain(shown), /Output and result: in the thread/);
  t.notMatch(plain(shown), /│|\[Cancel\]/, "no output above");
  t.same(
    below(shown).map((m) => /demo\/thread was canceled/.test(plain(m))),
    [true],
  );

  await publish(
    "op: demo/threads\nsummary: Long, in a thread\nreply: thread",
    LOOP(900, 'echo "line $i of a long output"'),
  );
  const long = await run("demo/threads");
  t.equal((await lines(long, /line 900 /)).length, 900);
  t.match(plain(below(long)[0]!), /succeeded[\s\S]*bytes of output, below/);
});
