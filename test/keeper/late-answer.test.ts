import { type Duplex, duplexPair } from "node:stream";
import t from "tap";
import { Peers } from "../../src/keeper/peers.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import type { Message } from "../../src/wire/messages.ts";
import type { SealState } from "../../src/wire/table.ts";
import { until } from "../e2e/appliance.ts";

const ROOT = Buffer.alloc(32).toString("base64");
const OPENED = { type: "notary.opened", vkey: "log+0+A", size: 0, root: ROOT, fresh: true };
const REFUSED = { type: "notary.refused", size: 0, kind: "unusable", reason: "no" };
const PATIENCE_MS = 20_000;

/** The keeper's side of a notary, and what the notary writes. */
function rig() {
  const seen: string[] = [];
  const violations: string[] = [];
  const now: { state: SealState } = { state: "open" };
  const peers = new Peers({
    state: () => now.state,
    violated: (_, what) => violations.push(what),
    failed: () => undefined,
    landlock: "",
  });
  peers.on("notary", { message: (message: Message) => seen.push(message.type) });
  const attach = (): Duplex => {
    const [ours, theirs] = duplexPair();
    theirs.on("error", () => undefined);
    theirs.resume();
    peers.attach("notary", ours);
    return theirs;
  };
  const ask = () => peers.send("notary", { type: "notary.open", origin: "log" }, [Buffer.alloc(32)]);
  return { peers, seen, violations, now, attach, ask };
}

function say(notary: Duplex, message: object): void {
  for (const bytes of encodeFrame(message)) notary.write(bytes);
}

t.test("an answer that comes after the unlock was given up is taken; another one is not", async (t) => {
  for (const answer of [OPENED, REFUSED]) {
    const { peers, seen, violations, now, attach, ask } = rig();
    const notary = attach();
    ask();
    now.state = "sealed";
    say(notary, answer);
    await until(() => seen.length + violations.length > 0, PATIENCE_MS);
    t.same(violations, []);
    t.ok(peers.has("notary"));
    say(notary, answer);
    await until(() => violations.length > 0, PATIENCE_MS);
    t.match(violations, [`${answer.type} is not allowed while sealed`]);
    t.notOk(peers.has("notary"));
    t.equal(seen.length, 1);
  }
});

t.test("a question to the notary before entitles the one that came after to nothing", async (t) => {
  const { violations, now, attach, ask } = rig();
  attach();
  ask();
  const second = attach();
  now.state = "sealed";
  say(second, OPENED);
  await until(() => violations.length > 0, PATIENCE_MS);
  t.match(violations, [/not allowed while sealed/]);
});

t.test("nor may the notary say anything else meanwhile", async (t) => {
  const { violations, attach, ask } = rig();
  const notary = attach();
  ask();
  say(notary, { type: "slack.acked", id: "e1", accepted: true });
  await until(() => violations.length > 0, PATIENCE_MS);
  t.match(violations, [/notary may not send slack.acked/]);
});
