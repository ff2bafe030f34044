import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";
import { Codes } from "../../src/keeper/codes.ts";
import { setUserStatus } from "../../src/store/users.ts";
import { codeOf as errorOf, scratch } from "../store/scratch.ts";
import { codeOf, entries, person, START, STEP } from "./codes-rig.ts";

const CHILD = fileURLToPath(new URL("codes-child.ts", import.meta.url));

async function rig(t: Parameters<typeof scratch>[0], enrolled = true) {
  const place = scratch(t);
  const store = await place.open(true);
  const clock = { now: START };
  const codes = new Codes({ store, now: () => clock.now });
  const erin = await person(store, "erin", enrolled);
  const check = (code: string, caller = erin) => errorOf(codes.check(caller, code, "confirm", "r-0001"));
  return { place, store, clock, codes, erin, check };
}

const wrongCode = (at: number): string => {
  const right = new Set([-1, 0, 1].map((steps) => codeOf("erin", at, steps)));
  return ["000000", "111111", "222222", "333333"].find((code) => !right.has(code)) as string;
};

t.test("a code counts once, and so do those beside it", async (t) => {
  const { store, clock, check } = await rig(t);
  t.equal(await check(codeOf("erin", clock.now, -1)), "resolved", "the one before");
  t.equal(await check(codeOf("erin", clock.now, -1)), "denied", "not again");
  t.equal(await check(codeOf("erin", clock.now)), "resolved", "the one of now");
  t.equal(await check(codeOf("erin", clock.now)), "denied");
  t.equal(await check(codeOf("erin", clock.now, -1)), "denied", "nor an older one after it");
  t.equal(await check(codeOf("erin", clock.now, 1)), "resolved", "the next, of a phone that is ahead");
  t.equal(await check(codeOf("erin", clock.now, 1)), "denied");
  clock.now += STEP;
  t.equal(await check(codeOf("erin", clock.now)), "denied", "also when its own time has come");
  t.equal(await check(codeOf("erin", clock.now, 1)), "resolved");
  clock.now += 10 * STEP;
  for (const steps of [-2, 2]) t.equal(await check(codeOf("erin", clock.now, steps)), "denied", `${steps}`);
  t.equal((await entries(store, "authn.code_accepted")).length, 4, "an entry each");
  t.match((await entries(store, "authn.code_refused"))[0], {
    run: "r-0001",
    severity: 4,
    reason: "used already",
    data: { purpose: "confirm", source: "tty" },
  });
  for (const entry of [
    ...(await entries(store, "authn.code_accepted")),
    ...(await entries(store, "authn.code_refused")),
  ])
    t.notMatch(JSON.stringify(entry), codeOf("erin", START), "no code in the log");
});

t.test("two at once: one of them", async (t) => {
  const { clock, check } = await rig(t);
  const code = codeOf("erin", clock.now);
  const said = await Promise.all(Array.from({ length: 8 }, () => check(code)));
  t.same(said.filter((s) => s === "resolved").length, 1);
  t.same(said.filter((s) => s === "denied").length, 7);
});

t.test("a code of somebody else's authenticator", async (t) => {
  const { store, clock, check } = await rig(t);
  const frank = await person(store, "frank");
  t.equal(await check(codeOf("erin", clock.now), frank), "denied");
  t.equal(await check(codeOf("frank", clock.now), frank), "resolved");
});

t.test("what is no code", async (t) => {
  const { clock, check } = await rig(t);
  const code = codeOf("erin", clock.now);
  const arabic = [...code].map((digit) => String.fromCodePoint(0x660 + Number(digit))).join("");
  for (const bad of [
    "",
    code.slice(1),
    `${code}0`,
    `0${code}`,
    arabic,
    `${code}\u0000`,
    "12345x",
    "9".repeat(9000),
  ])
    t.equal(await check(bad), "denied", JSON.stringify(bad.slice(0, 20)));
  t.equal(await check(`${code.slice(0, 3)} ${code.slice(3)}`), "resolved", "as the app shows it");
});

t.test("nobody enrolled, and a disabled user", async (t) => {
  const { store, codes, erin, clock, check } = await rig(t, false);
  await t.rejects(codes.check(erin, "123456", "approve", "r-0001"), {
    code: "denied",
    message: /An admin enrols you on the host with: sallyport user totp erin/,
  });
  const frank = await person(store, "frank");
  await store.mutate((tx) => {
    tx.unlogged("test");
    return setUserStatus(tx, frank.id, "disabled");
  });
  t.equal(
    await check(codeOf("frank", clock.now), frank),
    "user_disabled",
    "whatever was known of them before",
  );
  t.match(await entries(store, "authn.code_refused"), [
    { reason: "not enrolled" },
    { reason: "the user is disabled" },
  ]);
});

t.test("wrong codes: five, then growing waits, also over a restart", async (t) => {
  const { place, store, clock, erin, check } = await rig(t);
  for (let i = 0; i < 5; i++) t.equal(await check(wrongCode(clock.now)), "denied");
  t.equal(await check(codeOf("erin", clock.now)), "slow_down", "not even the right one");
  await store.close();
  const again = await place.open();
  const codes = new Codes({ store: again, now: () => clock.now });
  const tryIt = (code: string) => errorOf(codes.check(erin, code, "confirm", "r-0001"));
  t.equal(await tryIt(codeOf("erin", clock.now)), "slow_down", "after a restart too");
  const waits: number[] = [];
  for (let i = 0; i < 10; i++) {
    let waited = 0;
    // Looks where the wait ends, in steps of its smallest.
    while ((await tryIt("000")) === "slow_down") {
      clock.now += STEP;
      waited += STEP;
    }
    waits.push(waited);
    t.equal(await tryIt(wrongCode(clock.now)), "denied");
  }
  t.same(
    waits,
    [1, 2, 4, 8, 16, 32, 64, 120, 120, 120].map((n) => n * STEP),
    "30 s, doubled, at most an hour",
  );
  clock.now += 3_600_000;
  t.equal(await tryIt(codeOf("erin", clock.now)), "resolved");
  clock.now += STEP;
  for (let i = 0; i < 4; i++) t.equal(await tryIt(wrongCode(clock.now)), "denied", "forgiven by a right one");
  t.equal(await tryIt(codeOf("erin", clock.now)), "resolved");
  const throttled = await entries(again, "authn.code_throttled");
  t.match(throttled[0], { severity: 4, outcome: "denied", data: { count: 1 } });
  t.ok(throttled.length < 1000, "trying does not fill the log");
});

t.test("side by side, wrong codes count one by one", async (t) => {
  const { clock, check } = await rig(t);
  const said = await Promise.all(Array.from({ length: 40 }, () => check(wrongCode(clock.now))));
  t.equal(said.filter((s) => s === "denied").length, 5, "looked at");
  t.equal(said.filter((s) => s === "slow_down").length, 35);
});

t.test("the clock set back and forward", async (t) => {
  const { clock, codes, erin, check } = await rig(t);
  t.equal(await check(codeOf("erin", clock.now)), "resolved");
  clock.now -= 3_600_000;
  await t.rejects(codes.check(erin, codeOf("erin", clock.now), "confirm", "r-0001"), {
    code: "conflict",
    message: /set back behind the last code.*2027-01-15T08:00:00.000Z/,
  });
  t.equal(await check(codeOf("erin", START)), "conflict", "nor the code that was taken");
  clock.now = START - 1;
  t.equal(await check(codeOf("erin", START, 1)), "denied");
  clock.now = START;
  t.equal(await check(codeOf("erin", START, 1)), "resolved", "from then on it works again");
  clock.now += 365 * 86_400_000;
  t.equal(await check(codeOf("erin", START, 2)), "denied", "forward: old codes are old");
  t.equal(await check(codeOf("erin", clock.now)), "resolved");
});

t.test("a clock set back makes no wait longer", async (t) => {
  const { clock, check } = await rig(t);
  for (let i = 0; i < 5; i++) await check(wrongCode(clock.now));
  clock.now -= 86_400_000;
  t.equal(await check(codeOf("erin", clock.now)), "slow_down");
  clock.now += STEP;
  t.equal(await check(codeOf("erin", clock.now)), "resolved");
});

t.test("kill -9 once a code was taken: taken it stays", async (t) => {
  const { place, store } = await rig(t);
  await store.close();
  const code = codeOf("erin", START);
  const first = await killed(place, code);
  t.equal(first, "taken");
  t.match(await killed(place, code), /was used already/);
  const again = await place.open();
  t.equal((await entries(again, "authn.code_accepted")).length, 1);
});

/** What the child says of the code before it is killed. */
async function killed(place: { file: string; key: Buffer }, code: string): Promise<string> {
  const args = [CHILD, place.file, `${START}`, code];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"], env: {} });
  child.stdin.end(place.key);
  let said = "";
  for await (const bytes of child.stdout) {
    said += String(bytes);
    if (said.endsWith("\n")) child.kill("SIGKILL");
  }
  return said.trim();
}
