import t from "tap";
import type { Peers } from "../../src/keeper/peers.ts";
import { ProfileChecks } from "../../src/keeper/profile-checks.ts";
import type { Message } from "../../src/wire/messages.ts";

function rig(connected: boolean): { checks: ProfileChecks; sent: Message[] } {
  const sent: Message[] = [];
  const send = (_: string, message: Message): boolean => {
    if (connected) sent.push(message);
    return connected;
  };
  return { checks: new ProfileChecks({ send } as unknown as Peers), sent };
}
const answer = (id: number, ok: boolean) =>
  ({ type: "profile.checked", id, ok, reason: ok ? "" : "no", notes: [] as string[] }) as const;

t.test("each question gets its own answer; others' are nobody's", async (t) => {
  const { checks, sent } = rig(true);
  const [one, two] = [checks.check(Buffer.from("1")), checks.check(Buffer.from("2"))];
  t.same(
    sent.map((m) => m.type === "profile.check" && m.id),
    [1, 2],
  );
  checks.receive(answer(9, false));
  checks.receive(answer(2, false));
  checks.receive(answer(1, true));
  t.equal((await one).ok, true);
  t.equal((await two).ok, false);
});

t.test("no runner, or one that ends, is an error that says so", async (t) => {
  await t.rejects(rig(false).checks.check(Buffer.from("x")), { code: "runs_halted", detail: /runner/ });
  const { checks } = rig(true);
  const asked = checks.check(Buffer.from("x"));
  checks.lost();
  await t.rejects(asked, { code: "runs_halted" });
});

t.test("a profile that is too large is not even sent", async (t) => {
  const { checks, sent } = rig(true);
  t.match(await checks.check(Buffer.alloc(256 * 1024 + 1)), { ok: false, reason: /at most 262144/ });
  t.same(sent, []);
});
