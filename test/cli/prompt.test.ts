import { existsSync, readdirSync } from "node:fs";
import t from "tap";
import { PASSPHRASE, program } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT, processTable } from "../faults/support.ts";
import { hasTmux, Terminal } from "./terminal.ts";

t.setTimeout(FILE_TIMEOUT);

const skip = hasTmux ? false : "needs tmux";
const FIRST = "New passphrase";
const SECOND = "The same again";

function start(t: { teardown(call: () => unknown): void }, ...args: string[]): { box: Box; tty: Terminal } {
  const box = new Box();
  const tty = new Terminal([...program(), ...args], box.env);
  t.teardown(() => {
    tty.close();
    return box.stop();
  });
  return { box, tty };
}
const INIT = ["init", "--argon2", "65536,3,4", "--admin", "alice"];
const isEmpty = (dir: string) => !existsSync(dir) || readdirSync(dir).length === 0;

t.test("init at a terminal: asked twice, nothing of it on the screen", { skip }, async (t) => {
  const { box, tty } = start(t, ...INIT);
  await tty.shows(FIRST);
  tty.enter("wörd häst baton staple");
  await tty.shows(SECOND);
  tty.enter("wörd häst baton staple");
  t.equal(await tty.status(), 0);
  const screen = tty.screen();
  for (const piece of ["wörd", "häst", "baton", "staple", "*"]) t.notMatch(screen, piece, piece);
  t.match(screen, /Recovery code: [0-9A-Z]/);
  t.ok(await tty.echoes(), "the terminal is as before");
  await box.serve();
  const unlock = await box.cli(["unlock", "--passphrase-fd", "3"], "wörd häst baton staple\n");
  t.equal(unlock.status, 0, "the bytes typed are the bytes of the descriptor");

  await t.test("unlock at a terminal", async (t) => {
    await box.ok(["lock"]);
    await box.sealedAgain();
    const unlock = new Terminal([...program(), "unlock"], box.env);
    t.teardown(() => unlock.close());
    await unlock.shows("Passphrase:");
    unlock.type("wrong at firstü");
    for (let i = 0; i < 15; i++) unlock.press("BSpace");
    unlock.type("and again");
    unlock.press("C-u");
    unlock.enter("wörd häst baton staple");
    t.equal(await unlock.status(), 0, "corrected by backspace, a whole character each, and Ctrl-U");
    t.notMatch(unlock.screen(), /wrong|again|häst/);
  });

  await t.test("Ctrl-C at the question of unlock", async (t) => {
    await box.ok(["lock"]);
    await box.sealedAgain();
    const unlock = new Terminal([...program(), "unlock"], box.env);
    t.teardown(() => unlock.close());
    await unlock.shows("Passphrase:");
    unlock.type("half a pass");
    unlock.press("C-c");
    t.equal(await unlock.status(), 1);
    t.match(unlock.screen(), /Canceled\. Nothing was changed/);
    t.ok(await unlock.echoes());
    t.match(await box.status(), { state: "sealed", failedUnlocks: 0 }, "it is no try");
  });
});

t.test("two different passphrases", { skip }, async (t) => {
  const { box, tty } = start(t, ...INIT);
  await tty.shows(FIRST);
  tty.enter(PASSPHRASE);
  await tty.shows(SECOND);
  tty.enter(`${PASSPHRASE}x`);
  t.equal(await tty.status(), 2);
  t.match(tty.screen(), /differ; nothing was made/);
  t.ok(isEmpty(box.stateDir));
});

t.test("what can be refused is refused before more is typed", { skip }, async (t) => {
  const { box, tty } = start(t, ...INIT);
  await tty.shows(FIRST);
  tty.enter("too short");
  t.equal(await tty.status(), 2);
  t.match(tty.screen(), /has 9 characters; at least 12/);
  t.notMatch(tty.screen(), SECOND);
  t.ok(isEmpty(box.stateDir));
  const unlock = new Terminal([...program(), "unlock"], box.env);
  t.teardown(() => unlock.close());
  t.equal(await unlock.status(), 5, "no keeper is there to take a passphrase");
  t.notMatch(unlock.screen(), /Passphrase:/);
  await box.init();
  const again = new Terminal([...program(), ...INIT], box.env);
  t.teardown(() => again.close());
  t.equal(await again.status(), 1);
  t.match(again.screen(), /initialized already/);
  t.notMatch(again.screen(), FIRST);
});

for (const [when, key] of [
  ["first", "C-c"],
  ["second", "C-c"],
  ["first", "C-d"],
] as const) {
  t.test(`${key} at the ${when} question leaves nothing half done`, { skip }, async (t) => {
    const { box, tty } = start(t, ...INIT);
    await tty.shows(FIRST);
    if (when === "second") {
      tty.enter(PASSPHRASE);
      await tty.shows(SECOND);
    }
    tty.press(key);
    t.equal(await tty.status(), 1);
    t.match(tty.screen(), /Canceled\. Nothing was changed/);
    t.notMatch(tty.screen(), /Error|at .*\.ts:/);
    t.ok(await tty.echoes(), "the terminal echoes again");
    t.ok(isEmpty(box.stateDir));
  });
}

t.test("ended by SIGTERM at the question, the terminal echoes again", { skip }, async (t) => {
  const { box, tty } = start(t, ...INIT);
  await tty.shows(FIRST);
  tty.type("half a pass");
  const mine = processTable().filter(({ parent }) => parent === tty.pid);
  t.equal(mine.length, 1, "the shell of the terminal waits for the command alone");
  for (const { pid } of mine) process.kill(pid, "SIGTERM");
  await tty.shows("EXIT:");
  t.ok(await tty.echoes());
  t.ok(isEmpty(box.stateDir));
});
