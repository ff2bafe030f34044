import t from "tap";
import type { MessageType } from "../../src/wire/messages.ts";
import { type Role, refusal, type SealState, TABLE } from "../../src/wire/table.ts";

/** Written by hand from DESIGN section 2, not from the code: sender > receiver, states, most parts, most bytes of a part. */
const MAY: Record<string, string> = {
  "role.hello": "gateway,runner,notary,egress,courier>keeper both 0 0",
  "gateway.connect": "keeper>gateway open 2 4096",
  "gateway.disconnect": "keeper>gateway open 0 0",
  "slack.state": "gateway>keeper open 0 0",
  "slack.alarm": "gateway>keeper open 0 0",
  "slack.request": "gateway>keeper open 0 0",
  "slack.receipt": "keeper>gateway open 0 0",
  "slack.acked": "gateway>keeper open 0 0",
  "slack.respond": "keeper>gateway open 8 65536",
  "slack.view": "keeper>gateway open 0 0",
  "slack.post": "keeper>gateway open 8 65536",
  "slack.update": "keeper>gateway open 8 65536",
  "slack.posted": "gateway>keeper open 0 0",
  "runner.test": "keeper>runner both 0 0",
  "runner.ready": "runner>keeper both 0 0",
  "runner.engines": "runner>keeper both 0 0",
  "run.order": "keeper>runner open 33 16777216",
  "profile.check": "keeper>runner open 1 262144",
  "profile.checked": "runner>keeper open 0 0",
  "run.cancel": "keeper>runner open 0 0",
  "run.started": "runner>keeper open 0 0",
  "run.output": "runner>keeper open 1 65536",
  "run.progress": "runner>keeper open 0 0",
  "run.denied": "runner>keeper open 0 0",
  "run.secret_seen": "runner>keeper open 0 0",
  "run.finished": "runner>keeper open 0 0",
  "notary.open": "keeper>notary open 1 64",
  "notary.opened": "notary>keeper open 0 0",
  "notary.sign": "keeper>notary open 0 0",
  "notary.signed": "notary>keeper open 0 0",
  "notary.refused": "notary>keeper open 0 0",
  "egress.grant": "keeper>egress open 0 0",
  "egress.granted": "egress>keeper both 0 0",
  "egress.revoke": "keeper>egress open 0 0",
  "egress.revoked": "egress>keeper both 0 0",
  "egress.connection": "egress>keeper both 0 0",
  "courier.login": "keeper>courier open 1 4096",
  "courier.logout": "keeper>courier open 0 0",
  "courier.fetch": "keeper>courier open 0 0",
  "courier.look": "keeper>courier open 0 0",
  "courier.logged_in": "courier>keeper both 1 4096",
  "courier.fetched": "courier>keeper both 1 65536",
  "courier.looked": "courier>keeper both 0 0",
  "courier.failed": "courier>keeper both 0 0",
  "ctl.request": "ctl>keeper both 2 16777216",
  "ctl.reply": "keeper>ctl both 2 16777216",
  "ctl.output": "keeper>ctl open 1 65536",
};
const LEAST: Record<string, number> = {
  "gateway.connect": 2,
  "run.order": 1,
  "profile.check": 1,
  "run.output": 1,
  "notary.open": 1,
  "courier.login": 1,
  "courier.fetched": 1,
  "ctl.output": 1,
};
const ROLES: readonly Role[] = ["keeper", "gateway", "runner", "notary", "egress", "courier", "ctl"];
const STATES: readonly SealState[] = ["sealed", "open"];

t.same(Object.keys(TABLE).sort(), Object.keys(MAY).sort(), "the table speaks of exactly these messages");

for (const [type, rule] of Object.entries(MAY)) {
  t.test(type, (t) => {
    const [way = "", states = "", most = "", bytes = ""] = rule.split(" ");
    const [from = "", to = ""] = way.split(">");
    const fewest = LEAST[type] ?? 0;
    const enough = Array.from({ length: fewest }, () => ({ length: 1 }));
    const may = (...ask: [Role, Role, SealState | null, { length: number }[]]) =>
      refusal(type as MessageType, ...ask) === null;
    let wrong = 0;
    for (const sender of ROLES)
      for (const receiver of ROLES)
        for (const state of STATES) {
          const expected =
            from.split(",").includes(sender) && to === receiver && (states === "both" || states === state);
          if (may(sender, receiver, state, enough) !== expected) {
            wrong++;
            t.fail(`${sender} > ${receiver} while ${state} should be ${expected ? "taken" : "refused"}`);
          }
        }
    t.equal(wrong, 0, "every combination of sender, receiver, state");
    const sender = from.split(",")[0] as Role;
    const parts = (count: number, length: number) =>
      may(
        sender,
        to as Role,
        "open",
        Array.from({ length: count }, () => ({ length })),
      );
    t.ok(parts(Number(most), Number(bytes)), "as many and as large parts as allowed");
    t.notOk(parts(Number(most) + 1, 0), "one more part");
    if (fewest > 0) t.notOk(parts(fewest - 1, 1), "one part too few");
    if (Number(most) > 0) t.notOk(parts(Number(most), Number(bytes) + 1), "one byte more");
    t.end();
  });
}
