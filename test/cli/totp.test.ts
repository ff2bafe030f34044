import t from "tap";
import { needsRoot, program, TestAppliance, until } from "../e2e/appliance.ts";
import { eventually, logged } from "../e2e/slack-rig.ts";
import { codeNow, enrolByProgram, wrongCode } from "./authenticator.ts";
import { decodeQr } from "./qr-decode.ts";
import { hasTmux, Terminal } from "./terminal.ts";

/** An authenticator is enrolled on the host: shown there, proved there, never in the log. */

t.setTimeout(240_000);
const skip = hasTmux ? false : "needs tmux";
/** Neither the account of this test nor the one that plays a stranger elsewhere. */
const ERIN = 65533;
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
await appliance.init();
await appliance.serve();
await appliance.unlock();
await appliance.ok(["user", "add", "erin", "--host-user", String(ERIN)]);
await appliance.ok(["user", "add", "frank"]);

const isEnrolled = async (name: string) =>
  ((await appliance.ok(["user", "show", name, "--json"])).json() as { totp: boolean }).totp;
const QUESTION = "The code that it shows now:";
const secretOn = (screen: string): string =>
  /Secret {2}([A-Z2-7 ]{39})/.exec(screen)?.[1]?.replaceAll(" ", "") ?? "";

function enrol(t: { teardown(call: () => unknown): void }, ...args: string[]): Terminal {
  const tty = new Terminal([...program(), "user", "totp", ...args], appliance.env);
  t.teardown(() => tty.close());
  return tty;
}
/** The part of the screen that is the QR code. */
const codeLines = (screen: string) => screen.split("\n").filter((line) => /^[ ▀▄█]*[▀▄█][ ▀▄█]*$/.test(line));

t.test("at a terminal: the QR code and the text are one secret, its code enrols", { skip }, async (t) => {
  const tty = enrol(t, "frank");
  const screen = await tty.shows(QUESTION);
  const base32 = secretOn(screen);
  t.match(base32, /^[A-Z2-7]{32}$/);
  const uri = decodeQr(codeLines(screen)) ?? "";
  t.equal(new URL(uri).searchParams.get("secret"), base32);
  t.match(decodeURIComponent(uri), /^otpauth:\/\/totp\/sallyport:frank@/);
  t.ok(screen.includes(uri), "and the link is there as text");
  t.equal(await isEnrolled("frank"), false, "not before it is proved");
  tty.enter(codeNow(base32));
  t.equal(await tty.status(), 0);
  t.match(tty.screen(), /Enrolled: frank/);
  t.equal(await isEnrolled("frank"), true);
  await eventually(appliance, () => logged(appliance, "user.totp_enrolled").length === 1);
  t.match(logged(appliance, "user.totp_enrolled"), [
    { rule: { id: "admin-enrol" }, sallyport: { replaced: false } },
  ]);
  const shown = await appliance.ok(["user", "show", "frank"]);
  for (const text of [shown.stdout, appliance.events.join("\n"), appliance.log])
    t.notMatch(text, base32, "the secret is nowhere else");
});

t.test("two wrong codes: nothing is enrolled, and what was counts on", { skip }, async (t) => {
  const tty = enrol(t, "frank", "--no-qr");
  const first = secretOn(await tty.shows(QUESTION));
  t.same(codeLines(tty.screen()), [], "without the code");
  tty.enter(wrongCode(first));
  await tty.shows(/That is not the code/);
  tty.enter("12345");
  await tty.shows(/Start over with a new secret/);
  tty.enter("yes");
  await until(() => /Secret[\s\S]*Secret/.test(tty.screen()), 15_000);
  const second = /Secret[\s\S]*Secret {2}([A-Z2-7 ]{39})/.exec(tty.screen())?.[1]?.replaceAll(" ", "") ?? "";
  t.not(second, first, "another secret");
  await tty.shows(/Secret[\s\S]*Secret[\s\S]*The code that it shows now:/);
  tty.enter(codeNow(first));
  await tty.shows(/Secret[\s\S]*Secret[\s\S]*That is not the code/);
  tty.enter(wrongCode(second));
  await tty.shows(/Start over[\s\S]*Start over/);
  tty.enter("no");
  t.equal(await tty.status(), 1);
  t.equal(await isEnrolled("frank"), true, "the one before");
  t.equal(logged(appliance, "user.totp_enrolled").length, 1);
});

t.test("Ctrl-C enrols nothing", { skip }, async (t) => {
  const tty = enrol(t, "erin");
  await tty.shows(QUESTION);
  tty.press("C-c");
  t.equal(await tty.status(), 1);
  t.ok(await tty.echoes(), "the terminal is as before");
  t.equal(await isEnrolled("erin"), false);
});

t.test("without a terminal, by a descriptor", async (t) => {
  const wrong = await enrolByProgram(appliance, "erin", wrongCode);
  t.match(wrong, { status: 3, stderr: /not the code of this secret/ });
  t.equal(await isEnrolled("erin"), false);
  const right = await enrolByProgram(appliance, "erin", codeNow);
  t.equal(right.status, 0, right.stderr);
  t.match(right.stdout, /\n\{"user":"erin","enrolled":true\}\n$/);
  t.equal(await isEnrolled("erin"), true);
  const neither = await appliance.cli(["user", "totp", "erin"]);
  t.match(neither, { status: 2, stderr: /--code-fd/ });
});

t.test("removed by an admin, once", async (t) => {
  t.match(await appliance.ok(["user", "totp", "erin", "--remove"]), { stdout: /no authenticator any more/ });
  t.equal(await isEnrolled("erin"), false);
  t.match(await appliance.cli(["user", "totp", "erin", "--remove"]), {
    status: 1,
    stderr: /has no authenticator/,
  });
  await eventually(appliance, () => logged(appliance, "user.totp_removed").length === 1);
  t.match(await appliance.cli(["user", "totp", "nobody", "--code-fd", "0"]), {
    status: 1,
    stderr: /User nobody/,
  });
});

t.test("another account: its own authenticator, nobody else's", { skip: needsRoot }, async (t) => {
  const tried = await appliance.cliAs(ERIN, ["user", "totp", "frank", "--remove"]);
  t.match(tried, { status: 3, stderr: /enrol an authenticator for the user frank/ });
  t.match(await appliance.cliAs(ERIN, ["user", "totp", "nobody", "--remove"]), { status: 3 });
  t.equal(await isEnrolled("frank"), true);
  const own = await appliance.cliAs(ERIN, ["user", "totp", "erin", "--remove"]);
  t.match(own, { status: 1, stderr: /erin has no authenticator/ }, "past the gate");
});

t.test("a restart in between forgets what was not proved", { skip }, async (t) => {
  const tty = enrol(t, "erin", "--no-qr");
  const base32 = secretOn(await tty.shows(QUESTION));
  await appliance.stopServing();
  appliance.log = "";
  await appliance.serve();
  await appliance.unlock();
  tty.enter(codeNow(base32));
  t.equal(await tty.status(), 1);
  t.match(tty.screen(), /There is nothing to prove\. Begin with: sallyport user totp erin/);
  t.equal(await isEnrolled("erin"), false);
});
