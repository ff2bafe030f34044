import t from "tap";
import type { ApiFault, Message } from "../../src/workspace/index.ts";
import { TestAppliance } from "./appliance.ts";
import { answer, caughtUp, ENDED, eventually, logged, opFolder, plain, runsOf } from "./slack-rig.ts";

/** Whatever Slack does once, the person hears how the run ended. */

t.setTimeout(240_000);
/** A hanging call is given up after 10 s, and what may have arrived is repeated after a pause. */
const PATIENCE = 60_000;
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const SH = "#!/bin/sh\n";
const publish = (manifest: string, script: string) =>
  appliance.publish(opFolder(appliance, `${manifest}\nrun: ["./main.sh"]\n`, { "main.sh": SH + script }));
await publish("op: demo/quick\nsummary: Quick", "echo done\n");
await publish("op: demo/sleep\nsummary: Sleeps\nconcurrency: 8", "sleep 300\n");
await publish("op: demo/quiet\nsummary: Private\nreply: private", "echo for your eyes; exit 3\n");

async function start(op: string): Promise<{ id: string; delivery: ReturnType<typeof workspace.command> }> {
  const known = new Set(runsOf(appliance));
  const delivery = workspace.command("bob", "ops", `/ops run ${op}`);
  await delivery.ack;
  let id: string | undefined;
  await eventually(appliance, () => {
    id = runsOf(appliance).find((run) => !known.has(run));
    return id !== undefined;
  });
  return { id: id ?? "", delivery };
}
/** What a person can read of it now: in the channel, and from the app. */
const seen = (who: string, match: RegExp): Message[] =>
  [workspace.channel("ops"), workspace.im(who)]
    .flatMap((place) => workspace.visible(who, place))
    .filter((m) => match.test(plain(m)));
const told = (id: string) =>
  workspace.waitFor(() => seen("bob", new RegExp(id)).find((m) => ENDED.test(plain(m))), PATIENCE);
/** A run whose state stands in the channel, so that its end is an update. */
async function shown(): Promise<{ id: string; message: Message }> {
  const { id } = await start("demo/sleep");
  return { id, message: await workspace.waitFor(() => seen("bob", new RegExp(id))[0], PATIENCE) };
}

const ONCE: Record<string, ApiFault> = {
  "a 500": { status: 500 },
  "a proxy's page": { garbage: true },
  "no answer": { hang: true },
  "an answer that is lost": { lostAfterEffect: true },
  "a refusal": { error: "msg_too_long" },
};
for (const [what, fault] of Object.entries(ONCE)) {
  t.test(`${what} to the post`, async (t) => {
    workspace.faults.api("chat.postMessage", fault);
    const { id } = await start("demo/quick");
    t.match(plain(await told(id)), /demo\/quick succeeded/);
  });
  t.test(`${what} to the update`, async (t) => {
    const { id, message } = await shown();
    workspace.faults.api("chat.update", fault);
    workspace.click("bob", message, "cancel");
    t.match(plain(await told(id)), /demo\/sleep was canceled/);
  });
}

t.test("an outcome that Slack refuses: in few words, then to the person who asked", async (t) => {
  const first = await shown();
  workspace.faults.api("chat.update", { error: "msg_too_long" });
  workspace.click("bob", first.message, "cancel");
  const plainly = plain(await told(first.id));
  t.match(plainly, /was canceled/);
  t.match(plainly, /Slack refused the full message \(msg_too_long\)[\s\S]*sallyport runs show r-/);
  const second = await shown();
  workspace.faults.api("chat.update", { error: "restricted_action" }, 2);
  workspace.click("bob", second.message, "cancel");
  t.equal((await told(second.id)).channel, workspace.im("bob").id);
  await caughtUp(appliance);
  t.same(logged(appliance, "slack.post_failed"), []);
});

t.test("a revoked token: the outcome waits for slack connect", async (t) => {
  workspace.faults.api("chat.postMessage", { error: "token_revoked" });
  const { id } = await start("demo/quick");
  await eventually(appliance, () => workspace.calls.some((c) => c.error === "token_revoked"));
  await appliance.connectSlack();
  t.match(plain(await told(id)), /demo\/quick succeeded/);
});

t.test("a private outcome comes by another way, and to nobody else", async (t) => {
  for (const fault of [{ status: 500 }, { hang: true }] as const) {
    workspace.faults.api("response_url", fault, 4);
    const { id } = await start("demo/quiet");
    t.match(plain(await told(id)), /for your eyes/);
    t.same(seen("alice", new RegExp(id)), []);
    workspace.faults.clear();
  }
  workspace.faults.api("response_url", { status: 500 }, 100);
  workspace.faults.api("chat.postEphemeral", { status: 500 }, 100);
  workspace.faults.api("chat.postMessage", { status: 500 });
  const { id } = await start("demo/quiet");
  t.equal((await told(id)).channel, workspace.im("bob").id);
  t.same(seen("alice", new RegExp(id)), []);
  const refused = workspace.command("mallory", "ops", "/ops run demo/quick");
  await workspace.waitFor(() => seen("mallory", /Refused/)[0], PATIENCE);
  t.same(refused.responses, []);
  workspace.faults.clear();
  t.match(await answer(workspace.command("bob", "ops", "/ops whoami")), /You are bob/);
});
