import t from "tap";
import { Access } from "../../src/keeper/access.ts";
import type { Session } from "../../src/keeper/session.ts";
import { dispatchSlack } from "../../src/keeper/slack-commands.ts";
import { addIdentity } from "../../src/store/identities.ts";
import { queryLog } from "../../src/store/log-query.ts";
import { addUser } from "../../src/store/users.ts";
import type { MessageOf } from "../../src/wire/messages.ts";
import { withPolicies } from "../core/authorizer-rig.ts";
import { scratch } from "../store/scratch.ts";

const OURS = "T0ACME0001";
const ANN = { enterprise: null, team: OURS, user: "U0ANN00001" };

function request(text: string, identity = ANN): MessageOf<"slack.request"> {
  return {
    type: "slack.request",
    id: "q-1",
    dedupe: "envelope:1",
    trigger: null,
    surface: "slash",
    identity,
    channel: { id: "C0OPS00001", kind: "public" },
    thread: null,
    text,
    action: null,
    retry: 0,
    receivedAt: 0,
    standing: "member",
  };
}

t.test("of another workspace than the tokens', or while nobody knows whose they are: nobody", async (t) => {
  const store = await scratch(t).open(true);
  let team: { enterprise: null; team: string | null } | null = { enterprise: null, team: OURS };
  const access = new Access({ store, authorizer: withPolicies(""), now: Date.now });
  const session = { store, access, now: Date.now, team: async () => team } as unknown as Session;
  const sister = { ...ANN, team: "T0SISTER01" };
  await store.mutate(async (tx) => {
    tx.unlogged("test");
    const { id } = await addUser(tx, { name: "ann" });
    await addIdentity(tx, ANN, id);
    // As after the tokens of another workspace were entered.
    await addIdentity(tx, sister, id);
  });
  const denied = async () => {
    const rows = await queryLog(store.read, { type: "authn.denied", order: "asc" });
    return rows.map((row) => JSON.parse(row.entry.toString("utf8")) as { policy: string; reason: string });
  };
  t.match(await dispatchSlack(session, request("whoami")), { outcome: "whoami" });
  for (const verb of ["whoami", "link", "help", "run demo/hello"])
    t.match(await dispatchSlack(session, request(verb, sister)), {
      outcome: "foreign_identity",
      document: { summary: /installing Slack workspace.*slack-foreign/ },
    });
  t.same(new Set((await denied()).map(({ policy }) => policy)), new Set(["slack-foreign"]));
  const before = (await denied()).length;
  t.equal(before, 4, "an event each");

  for (const unknown of [null, { enterprise: null, team: null }]) {
    team = unknown;
    for (const identity of [ANN, sister])
      t.match(await dispatchSlack(session, request("whoami", identity)), {
        outcome: "slack_not_connected",
        document: { summary: /try again.*slack-unverified/ },
      });
  }
  t.same(
    (await denied()).slice(before).map(({ policy }) => policy),
    Array.from({ length: 4 }, () => "slack-unverified"),
  );
});
