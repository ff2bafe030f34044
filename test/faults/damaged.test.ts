import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import t from "tap";
import { subkey } from "../../src/keys/envelope.ts";
import { Kdf } from "../../src/keys/kdf.ts";
import { openKeyring } from "../../src/keys/keyring.ts";
import { DatabaseKey, openConnection } from "../../src/store/database.ts";
import type { Handle } from "../../src/store/handle.ts";
import { PASSPHRASE } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "./support.ts";

t.setTimeout(FILE_TIMEOUT);

const box = new Box();
t.teardown(() => box.stop());
const keyring = () => join(box.stateDir, "keyring.json");
const database = () => join(box.stateDir, "sallyport.db");
const kept = (file: string) => `${file}.kept`;

async function stopped(): Promise<void> {
  box.serving?.kill("SIGTERM");
  await box.exited();
}

t.test("a sound state, stopped", async () => {
  await box.unlocked();
  await box.demo();
  await stopped();
  copyFileSync(keyring(), kept(keyring()));
});

t.test("a damaged keyring: serve says so and what to do, and changes nothing", async (t) => {
  const text = readFileSync(kept(keyring()), "utf8");
  const cases: [string, string][] = [
    ["empty", ""],
    ["truncated", text.slice(0, text.length / 2)],
    ["garbled", text.replace(/"mac": "(.)/, (_, c: string) => `"mac": "${c === "0" ? "1" : "0"}`)],
    ["garbage", "\u0000\u0001\u0002"],
    ["of another version", text.replace('"version": 1', '"version": 9')],
    ["with costs that would eat the memory", text.replace(/"m": [0-9]+/, '"m": 999999999')],
    ["too large", `${text}${" ".repeat(70_000)}`],
  ];
  for (const [name, bytes] of cases) {
    writeFileSync(keyring(), bytes);
    const said = await box.cli(["serve"]);
    t.equal(said.status, 6, `${name}: ${said.stderr}`);
    t.match(said.stderr, /key file is damaged.*Restore keyring.json from a backup/s, name);
    t.notMatch(said.stderr, /\n\s+at /, `${name}: no stack`);
    t.equal(readFileSync(keyring(), "utf8"), bytes);
  }
  rmSync(keyring());
  const sound = readFileSync(database());
  const init = await box.cli(["init", "--passphrase-fd", "3"], PASSPHRASE);
  t.equal(init.status, 6, "init does not put a new key beside a database that it can't open");
  t.match(init.stderr, /holds a database.*backup/s);
  t.ok(readFileSync(database()).equals(sound), "the database is untouched");
  // As a kill at the end of the first init leaves it: its place, empty or with the database's -wal.
  const place = join(box.stateDir, "init.new");
  mkdirSync(place, { mode: 0o700 });
  writeFileSync(join(place, "sallyport.db-wal"), "");
  const again = await box.cli(["init", "--passphrase-fd", "3"], PASSPHRASE);
  t.equal(again.status, 6, "what an earlier init left is no reason to take a database away");
  t.match(again.stderr, /holds a database.*backup/s);
  t.ok(readFileSync(database()).equals(sound), "the database is untouched");
  copyFileSync(kept(keyring()), keyring());
  chmodSync(keyring(), 0o644);
  const open = await box.cli(["serve"]);
  t.equal(open.status, 1);
  t.match(open.stderr, /keyring.json has mode 644.*chmod 600/);
  chmodSync(keyring(), 0o600);
  t.ok(existsSync(place), "nothing is removed beside a state that is refused");
  await box.serve();
  t.notOk(existsSync(place), "a start on a whole state removes what init left");
  await stopped();
});

t.test("a keyring that is sound but another's: exit 6 at unlock, the keeper lives", async (t) => {
  const other = new Box();
  t.teardown(() => other.stop());
  await other.init();
  copyFileSync(join(other.stateDir, "keyring.json"), keyring());
  await box.serve();
  const keeper = box.role("keeper");
  const said = await box.tryUnlock();
  t.equal(said.status, 6);
  t.match(said.stderr, /foreign or damaged database/);
  t.match(await box.status(), { state: "sealed" });
  copyFileSync(kept(keyring()), keyring());
  t.equal((await box.tryUnlock()).status, 0, "the right one in its place, the same keeper goes on");
  t.equal(box.role("keeper"), keeper);
  await stopped();
});

t.test("a damaged database: exit 6 at unlock with what to do, the keeper lives and is sealed", async (t) => {
  // As it is now: an older one would be a rollback, which the notary notices.
  copyFileSync(database(), kept(database()));
  await box.serve();
  const keeper = box.role("keeper");
  const cases: [string, number, (file: string) => void, RegExp][] = [
    ["first page", 6, (file) => flip(file, 200), /damaged.*restore the last backup/is],
    ["a page in the middle", 6, (file) => flip(file, 4096 * 3 + 77), /damaged.*restore the last backup/is],
    ["cut off", 6, (file) => truncateSync(file, 6000), /damaged.*backup/is],
    ["empty", 6, (file) => truncateSync(file, 0), /damaged.*backup/is],
    ["plain text", 6, plain, /not encrypted.*put the encrypted database back/is],
    ["readable by others", 1, (file) => chmodSync(file, 0o644), /mode 0?644.*chmod 600/],
    ["gone", 1, (file) => rmSync(file), /There is no .*sallyport.db/],
  ];
  for (const [name, status, damage, says] of cases) {
    damage(database());
    const before = existsSync(database()) ? statSync(database()).size : 0;
    const said = await box.tryUnlock();
    t.equal(said.status, status, `${name}: ${said.stderr}`);
    t.match(said.stderr, says, name);
    t.notMatch(said.stderr, /\n\s+at /, `${name}: no stack`);
    t.match(await box.status(), { state: "sealed", failedUnlocks: 0 }, name);
    t.equal(existsSync(database()) ? statSync(database()).size : 0, before, `${name}: not touched`);
    for (const suffix of ["-wal", "-shm"]) rmSync(`${database()}${suffix}`, { force: true });
    copyFileSync(kept(database()), database());
    chmodSync(database(), 0o600);
  }
  t.equal(box.role("keeper"), keeper, "the same keeper all the time");
  t.equal((await box.tryUnlock()).status, 0, "with the database back it goes on");
  t.ok(await box.verifies());
  await stopped();
});

t.test("a damaged page that nobody has read yet: doctor finds it", async (t) => {
  await box.serve();
  await box.tryUnlock();
  await box.op("large", `# ${"x".repeat(20_000)}`);
  t.match((await box.cli(["doctor"])).stdout, /fine {3}database: every page/);
  await stopped();
  const handle = await openDatabase();
  const [found] = await handle.all<{ pageno: number }>(
    "SELECT pageno FROM dbstat WHERE name = 'bundles' AND pagetype = 'overflow'",
  );
  await handle.close();
  const at = ((found?.pageno ?? 0) - 1) * 4096 + 1000;
  flip(database(), at);
  await box.serve();
  t.equal((await box.tryUnlock()).status, 0, "nothing that unlocking needs is on that page");
  const said = await box.cli(["doctor"]);
  t.equal(said.status, 1);
  t.match(said.stdout, /WRONG {2}database: .*restore the last backup/);
  await box.event("database.damaged");
  t.match(await box.status(), { state: "unlocked" });
  await stopped();
  flip(database(), at);
});

t.test("a changed entry: audit verify ends with 6 and names it", async (t) => {
  const handle = await openDatabase();
  await handle.exec("DROP TRIGGER log_entry_keep");
  const [row] = await handle.all<{ entry: Uint8Array }>("SELECT entry FROM log_entry WHERE seq = 2");
  const text = Buffer.from(row?.entry ?? []).toString();
  t.match(text, /"type":"role.granted"/);
  await handle.run("UPDATE log_entry SET entry = ? WHERE seq = 2", [
    Buffer.from(text.replace('"role":"admin"', '"role":"coder"')),
  ]);
  await handle.close();
  await box.serve();
  await box.tryUnlock();
  const said = await box.cli(["audit", "verify"]);
  t.equal(said.status, 6, said.stderr);
  t.match(said.stderr, /does not verify.*entry 2/);
  await box.event("log.verified", (entry) => entry.outcome === "failure");
  t.match(await box.status(), { state: "unlocked" }, "the keeper lives");
  await stopped();
});

async function openDatabase(): Promise<Handle> {
  const { root } = await openKeyring({
    file: keyring(),
    kdf: new Kdf(),
    with: { kind: "passphrase", passphrase: Buffer.from(PASSPHRASE) },
  });
  return openConnection(database(), new DatabaseKey(subkey(root, "database")), "writer");
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(file, bytes);
}

function plain(file: string): void {
  const made = `${file}.plain`;
  const db = new DatabaseSync(made);
  db.exec("CREATE TABLE user (name TEXT)");
  db.close();
  renameSync(made, file);
  chmodSync(file, 0o600);
}
