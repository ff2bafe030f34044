import t from "tap";
import type { SlackIdentity } from "../../src/core/identity.ts";
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

function request(text: string, identity: SlackIdentity = ANN): MessageOf<"slack.request"> {
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
  let team: { enterprise: null; team: string | null; org: boolean } | null = {
    enterprise: null,
    team: OURS,
    org: false,
  };
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

  for (const unknown of [null, { enterprise: null, team: null, org: false }]) {
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

t.test(
  "installed for an organisation: a link made in one workspace counts in each, and nobody else's",
  async (t) => {
    const store = await scratch(t).open(true);
    const access = new Access({ store, authorizer: withPolicies(""), now: Date.now });
    const ours = { enterprise: "E0CORP0001", team: "E0CORP0001", org: true };
    const session = { store, access, now: Date.now, team: async () => ours } as unknown as Session;
    const linked = { enterprise: "E0CORP0001", team: OURS, user: "W0ANN00001" };
    await store.mutate(async (tx) => {
      tx.unlogged("test");
      await addIdentity(tx, linked, (await addUser(tx, { name: "ann" })).id);
    });
    const asked = async (identity: SlackIdentity, standing: "member" | "foreign" = "member") =>
      (await dispatchSlack(session, { ...request("whoami", identity), standing })).document?.summary;
    for (const team of [OURS, "T0SISTER01", "E0CORP0001"])
      t.equal(await asked({ ...linked, team }), "You are ann.", team);
    t.match(await asked({ ...linked, user: "W0BOB00001" }), /not linked/);
    t.match(await asked({ ...linked, team: "T0OTHER001" }, "foreign"), /slack-foreign/, "as Slack says");
    t.match(await asked({ ...linked, enterprise: "E0EVIL0001" }), /slack-foreign/);
    t.match(await asked({ ...linked, enterprise: null }), /slack-foreign/);
    // The same id, linked to somebody else in another of its workspaces before that was one rule.
    await store.mutate(async (tx) => {
      tx.unlogged("test");
      const { id } = await addUser(tx, { name: "bob" });
      await tx.run(
        "INSERT INTO identities (enterprise, team, slack_user, user_id, created) VALUES ('E0CORP0001', 'T0SISTER01', 'W0ANN00001', ?, 1)",
        [id],
      );
    });
    t.equal(await asked(linked), "You are ann.");
    t.equal(await asked({ ...linked, team: "T0SISTER01" }), "You are bob.");
    t.match(await asked({ ...linked, team: "T0THIRD001" }), /not linked/, "neither of the two");
  },
);
