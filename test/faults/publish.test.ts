import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import { Box, FILE_TIMEOUT } from "./support.ts";

/** kill -9 of the keeper while a version is published or activated: afterwards the old one runs or the new one, and the log agrees. */

t.setTimeout(FILE_TIMEOUT);
/** Of the time that the same command takes undisturbed: from before the database is written to after the answer. */
const INSTANTS = [0.4, 0.75, 0.9, 1.1];

const box = new Box();
t.teardown(() => box.stop());
await box.init();

const bundle = (text: string): Buffer => {
  const yaml = `op: demo/it\nsummary: ${text}\nrun: ["/bin/true"]\n`;
  return encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(yaml) }]);
};
const publish = (text: string, activate: boolean) =>
  callKeeper(box.runDir, "op.publish", { activate }, { parts: [bundle(text)] });
const activate = (version: number) => callKeeper(box.runDir, "op.activate", { op: "demo/it", version });
const timed = async (command: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await command();
  return performance.now() - start;
};
type Told = { active: number | null; versions: { version: number }[]; activations: { version: number }[] };
const told = async () => (await callKeeper(box.runDir, "op.versions", { op: "demo/it" })) as Told;

/** Five deaths within a minute end a serve, so each round has one of its own. */
async function anew(): Promise<void> {
  await box.stopServing();
  await box.serve();
  await box.unlock();
}

/** What the command answered; undefined: it got no answer before the keeper was killed. */
async function killedDuring(
  command: () => Promise<unknown>,
  ms: number,
): Promise<{ version: number } | undefined> {
  const keeper = box.role("keeper");
  if (keeper === 0) throw new Error("There is no keeper to kill.");
  const answer = command().then(
    (said) => said as { version: number },
    () => undefined,
  );
  await sleep(ms);
  process.kill(keeper, "SIGKILL");
  return answer;
}

async function agree(t: Test): Promise<Told> {
  const now = await told();
  t.equal(now.activations[0]?.version, now.active, "what runs is what was activated last");
  const logged = (await box.entries({ type: "op.activated" }))
    .map(({ entry }) => entry.data?.version)
    .reverse();
  t.same(
    logged,
    now.activations.map(({ version }) => version),
    "the log has each activation once",
  );
  const published = (await box.entries({ type: "op.published" }))
    .map(({ entry }) => entry.data?.version)
    .reverse();
  t.same(
    published,
    now.versions.map(({ version }) => version),
    "and each version",
  );
  return now;
}

await anew();
await callKeeper(box.runDir, "namespace.add", { name: "demo" });
const publishMs = await timed(() => publish("first", true));
await publish("second", false);
const activateMs = await timed(() => activate(2));

for (const part of INSTANTS)
  t.test(`publishing, killed after ${part} of its time`, async (t) => {
    const before = await told();
    const answer = await killedDuring(() => publish(`round ${part}`, true), part * publishMs);
    await anew();
    const now = await agree(t);
    const next = (before.versions[0]?.version ?? 0) + 1;
    t.ok(now.active === before.active || now.active === next, "the old one or the new one");
    const stored = now.versions[0]?.version === next;
    t.equal(stored, now.active === next, "stored and activated together, or not at all");
    if (answer !== undefined) t.equal(now.active, answer.version, "what was answered stays");
    t.comment(`${answer === undefined ? "no answer" : "answered"}, ${now.active === next ? "new" : "old"}`);
  });

for (const part of INSTANTS)
  t.test(`activating, killed after ${part} of its time`, async (t) => {
    const { version } = (await publish(`stored ${part}`, false)) as { version: number };
    const before = await told();
    const answer = await killedDuring(() => activate(version), part * activateMs);
    await anew();
    const now = await agree(t);
    t.ok(now.active === before.active || now.active === version, "the old one or the new one");
    if (answer !== undefined) t.equal(now.active, version, "what was answered stays");
    t.comment(
      `${answer === undefined ? "no answer" : "answered"}, ${now.active === version ? "new" : "old"}`,
    );
  });

t.test("the log holds", async (t) => {
  t.ok(await box.verifies());
});
