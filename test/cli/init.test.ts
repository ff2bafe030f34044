import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Kdf } from "../../src/keys/kdf.ts";
import { openKeyring } from "../../src/keys/keyring.ts";
import { PASSPHRASE, program, programForOthers, type Result } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const ARGS = ["init", "--passphrase-fd", "3", "--argon2", "65536,3,4", "--admin", "alice"];
const init = (box: Box, secret = `${PASSPHRASE}\n`, more: string[] = []): Promise<Result> =>
  box.cli([...ARGS, ...more], secret);
const keyring = (box: Box) => join(box.stateDir, "keyring.json");

function fresh(t: { teardown(call: () => unknown): void }): Box {
  const box = new Box();
  t.teardown(() => box.stop());
  return box;
}

async function opens(box: Box, secret: { passphrase: string } | { code: string }): Promise<boolean> {
  const how =
    "code" in secret
      ? ({ kind: "recovery", code: Buffer.from(secret.code) } as const)
      : ({ kind: "passphrase", passphrase: Buffer.from(secret.passphrase) } as const);
  return openKeyring({ file: keyring(box), kdf: new Kdf(), with: how }).then(
    () => true,
    () => false,
  );
}

const asRoot = process.getuid?.() === 0 ? false : "needs root: it takes on another account";

t.test("an account without a name is no obstacle", { skip: asRoot }, async (t) => {
  const box = fresh(t);
  const uid = 47_110_815;
  t.equal(spawnSync("getent", ["passwd", `${uid}`]).status, 2, "it has none");
  chownSync(box.dir, uid, uid);
  const [file = "", ...args] = programForOthers();
  for (const [more, admin] of [
    [[], "admin"],
    [["--admin", "ada"], "ada"],
  ] as const) {
    const dir = join(box.dir, admin);
    const made = spawnSync(
      file,
      [...args, "init", "--passphrase-fd", "0", "--argon2", "65536,3,4", "--state-dir", dir, ...more],
      { uid, gid: uid, input: PASSPHRASE, encoding: "utf8", cwd: "/", env: box.env },
    );
    t.equal(made.status, 0, made.stderr);
    t.match(made.stdout, `First admin: ${admin} (host account uid ${uid})`);
  }
});

t.test("init with a passphrase from a descriptor", async (t) => {
  const box = fresh(t);
  const made = await init(box, undefined, ["--json"]);
  t.equal(made.status, 0, made.stderr);
  const { recoveryCode, admin } = made.json() as { recoveryCode: string; admin: string };
  t.equal(admin, "alice");
  t.equal(made.stdout.split(recoveryCode).length, 2, "the recovery code is printed once");
  t.notMatch(made.stdout + made.stderr, PASSPHRASE);
  t.ok(await opens(box, { passphrase: PASSPHRASE }));
  t.ok(await opens(box, { code: recoveryCode }));
  t.notOk(await opens(box, { passphrase: `${PASSPHRASE}\n` }));

  t.equal(statSync(box.stateDir).mode & 0o777, 0o700);
  for (const name of readdirSync(box.stateDir)) {
    const file = join(box.stateDir, name);
    t.equal(statSync(file).mode & 0o077, 0, `${name} is nobody else's`);
    const bytes = readFileSync(file);
    for (const word of [PASSPHRASE, recoveryCode, "SQLite format"])
      t.notOk(bytes.includes(word), `${name} does not hold "${word.slice(0, 4)}..."`);
  }

  const before = readFileSync(keyring(box));
  const second = await init(box, "another passphrase, as long");
  t.equal(second.status, 1);
  t.match(second.stderr, /initialized already/);
  t.same(readFileSync(keyring(box)), before, "a second init changes nothing");
});

t.test("what init refuses leaves nothing behind", async (t) => {
  const box = fresh(t);
  const refused = async (name: string, status: number, says: RegExp, run: Promise<Result>) => {
    const said = await run;
    t.equal(said.status, status, name);
    t.match(said.stderr, says, name);
    t.notMatch(said.stderr, /\n\s+at /, `${name}: no stack`);
    t.notOk(existsSync(keyring(box)), `${name}: no keyring`);
  };
  await refused("short", 2, /at least 12/, init(box, "elevenchars"));
  await refused("empty", 2, /at least 12/, init(box, "\n"));
  await refused("not UTF-8 or too long", 2, /./, init(box, "x".repeat(70_000)));
  await refused("a weak key derivation", 2, /65536/, init(box, undefined, ["--argon2", "1024,1,1"]));
  await refused("a senseless one", 2, /three whole numbers/, init(box, undefined, ["--argon2", "fast"]));
  await refused("one that eats the memory", 2, /./, init(box, undefined, ["--argon2", "999999999,9,9"]));
  await refused("a bad name", 2, /./, init(box, undefined, ["--admin", "../alice"]));
  // Low numbers that the caller did not open are the runtime's own.
  for (const fd of ["3", "6", "7", "9", "13", "99"])
    await refused(`descriptor ${fd}`, 2, /Descriptor [0-9]+,/, box.cli(["init", "--passphrase-fd", fd]));
  await refused("no number", 2, /descriptor/, box.cli(["init", "--passphrase-fd", "secret"]));
  await refused("an unknown option", 2, /unknown option/, init(box, undefined, ["--passphrase", "x"]));
  t.equal((await init(box)).status, 0, "and then it works");
});

t.test("without terminal and descriptor it says what to do", async (t) => {
  const box = fresh(t);
  const [file = "", ...rest] = program();
  const child = spawn("setsid", ["-w", file, ...rest, "init"], {
    env: box.env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const status = await new Promise((resolve) => child.once("close", resolve));
  t.equal(status, 2);
  t.match(said, /no terminal.*--passphrase-fd/);
});

function made(dir: string, mode: number): string {
  mkdirSync(dir);
  chmodSync(dir, mode);
  return dir;
}

t.test("a state directory that others reach", async (t) => {
  const cases: [string, (dir: string) => void, RegExp][] = [
    ["open to others", (dir) => made(dir, 0o755), /mode 755.*chmod 700/],
    ["open to the group", (dir) => made(dir, 0o750), /mode 750.*chmod 700/],
    ["a link", (dir) => symlinkSync(made(`${dir}.x`, 0o700), dir), /a link or a file/],
    ["a file", (dir) => writeFileSync(dir, ""), /a link or a file/],
  ];
  if (process.getuid?.() === 0)
    cases.push([
      "another account's",
      (dir) => chownSync(made(dir, 0o700), 65534, 65534),
      /belongs to uid 65534.*chown/,
    ]);
  for (const [name, make, says] of cases) {
    const box = fresh(t);
    make(box.stateDir);
    for (const said of [await init(box), await box.cli(["serve"])]) {
      t.equal(said.status, 1, name);
      t.match(said.stderr, says, name);
    }
  }
});

t.test("two at once: one makes it, the other is refused", async (t) => {
  const box = fresh(t);
  const said = await Promise.all(
    ["one", "two"].map((name) => init(box, `passphrase number ${name}`, ["--json"])),
  );
  t.same(said.map(({ status }) => status).sort(), [0, 1], said.map(({ stderr }) => stderr).join(""));
  const winner = said[0]?.status === 0 ? "one" : "two";
  t.match(said.find(({ status }) => status === 1)?.stderr, /Another sallyport|initialized already/);
  t.ok(await opens(box, { passphrase: `passphrase number ${winner}` }), "the keyring is the winner's, whole");
  await box.serve();
  t.equal((await box.cli(["unlock", "--passphrase-fd", "3"], `passphrase number ${winner}`)).status, 0);
});

t.test("killed at any instant, init works again", async (t) => {
  /** Kills when that shows in the state directory, or after so many milliseconds. */
  const instants: (string | number)[] = [
    60,
    "lock",
    "init.new",
    "init.new/sallyport.db",
    "init.new/keyring.json",
    "sallyport.db",
  ];
  for (let ms = 150; ms <= 750; ms += 200) instants.push(ms);
  let early = 0;
  for (const instant of instants) {
    const box = fresh(t);
    const [file = "", ...rest] = program();
    const child = spawn(file, [...rest, ...ARGS], {
      env: box.env,
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const input = child.stdio[3] as NodeJS.WritableStream;
    input.on("error", () => undefined);
    input.end(PASSPHRASE);
    const from = Date.now();
    for (;;) {
      if (child.exitCode !== null || Date.now() - from > 20_000) break;
      if (
        typeof instant === "number" ? Date.now() - from >= instant : existsSync(join(box.stateDir, instant))
      )
        break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    child.kill("SIGKILL");
    await ended;
    const complete = existsSync(keyring(box));
    if (!complete) early++;
    const again = await init(box, "the second passphrase");
    t.equal(
      again.status,
      complete ? 1 : 0,
      `killed at ${instant}: ${complete ? "complete" : "not complete"} ${again.stderr}`,
    );
    t.ok(
      await opens(box, { passphrase: complete ? PASSPHRASE : "the second passphrase" }),
      `${instant}: it opens`,
    );
    const left = readdirSync(box.stateDir).filter((name) => name.includes("new"));
    if (!complete) t.same(left, [], `${instant}: nothing of the first is left`);
  }
  t.ok(early > 5, `${early} of ${instants.length} were killed before they were complete`);
});
