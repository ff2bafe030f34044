import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { checkCanary } from "../../src/store/canary.ts";
import { DatabaseKey, openConnection, PAGE_SIZE } from "../../src/store/database.ts";
import { Handle } from "../../src/store/handle.ts";
import { getText, setSetting } from "../../src/store/settings.ts";
import { openStore } from "../../src/store/store.ts";
import { codeOf, HEARTBEAT, scratch } from "./scratch.ts";

t.test("made once, private, opened again with its content", async (t) => {
  const place = scratch(t);
  t.equal(await codeOf(place.open()), "not_initialized");
  const umask = process.umask(0);
  const store = await place.open(true);
  process.umask(umask);
  for (const name of readdirSync(place.dir)) {
    t.equal(statSync(join(place.dir, name)).mode & 0o777, 0o600, `${name} is 0600 under umask 0`);
  }
  t.equal(await codeOf(place.open(true)), "already_initialized");
  await store.mutate(async (tx) => {
    await setSetting(tx, "a", "b\0c€");
    tx.log(HEARTBEAT);
  });
  const root = store.log.root();
  await store.close();
  t.equal(await codeOf(store.mutate((tx) => tx.log(HEARTBEAT))), "sealed");
  t.equal(await codeOf(store.read.all("SELECT 1")), "sealed");
  const again = await place.open();
  t.equal(await getText(again.read, "a"), "b\0c€");
  t.equal(again.log.size(), 1);
  t.same(again.log.root(), root);
  t.same(await again.integrity("full"), []);
});

t.test("a kill while it is made leaves no database", async (t) => {
  const place = scratch(t);
  writeFileSync(`${place.file}.new`, "half");
  writeFileSync(`${place.file}.new-wal`, "half");
  t.equal(await codeOf(place.open()), "not_initialized");
  await place.open(true);
  t.notOk(readdirSync(place.dir).some((name) => name.includes(".new")));
});

t.test("who else can reach the file", async (t) => {
  const place = scratch(t);
  await (await place.open(true)).close();
  chmodSync(place.file, 0o640);
  t.equal(await codeOf(place.open()), "state_dir_unsafe", "readable by the group");
  chmodSync(place.file, 0o600);
  linkSync(place.file, `${place.file}.second`);
  t.equal(await codeOf(place.open()), "state_dir_unsafe", "a second name");
  renameSync(`${place.file}.second`, `${place.file}.real`);
  t.equal(await codeOf(place.open()), "state_dir_unsafe");
  const other = scratch(t);
  symlinkSync(place.file, other.file);
  await t.rejects(
    other.open(),
    { code: "state_dir_unsafe", message: /not a regular file/ },
    "a symbolic link",
  );
});

t.test("a wrong key opens nothing and changes nothing", async (t) => {
  const place = scratch(t);
  await (await place.open(true)).close();
  const before = readFileSync(place.file);
  t.equal(
    await codeOf(openStore({ file: place.file, key: randomBytes(32), create: false })),
    "database_damaged",
  );
  t.same(readFileSync(place.file), before);
  t.equal(await codeOf(openStore({ file: place.file, key: randomBytes(16), create: false })), "internal");
  await place.open();
});

t.test("nothing that was written is readable on disk", async (t) => {
  const place = scratch(t);
  const marker = `canary-${randomBytes(12).toString("hex")}`;
  const store = await place.open(true);
  await store.mutate(async (tx) => {
    for (let i = 0; i < 200; i++) await setSetting(tx, `${marker}.${i}`, marker.repeat(20));
    tx.log({ ...HEARTBEAT, reason: marker, run: marker });
  });
  const seen = () =>
    readdirSync(place.dir).filter((name) => readFileSync(join(place.dir, name)).includes(marker));
  t.ok(readdirSync(place.dir).includes("sallyport.db-wal"), "there is a -wal to look into");
  t.same(seen(), [], "while open");
  const value = await store.read.get<{ value: string }>("SELECT value FROM canary");
  const canary = value?.value ?? "";
  t.match(canary, /^[0-9a-f]{64}$/);
  t.notOk(readFileSync(place.file).includes(canary));
  await store.close();
  t.same(readdirSync(place.dir), ["sallyport.db"], "closed, all of it is in the one file");
  t.same(seen(), [], "when closed");
});

t.test("a plain database in its place is refused, also by the canary alone", async (t) => {
  const place = scratch(t);
  await (await place.open(true)).close();
  const plain = join(place.dir, "plain.db");
  writeFileSync(plain, "", { mode: 0o600 });
  const handle = await Handle.open(plain, false);
  await handle.exec("CREATE TABLE canary (id INTEGER PRIMARY KEY, value TEXT)");
  await handle.run("INSERT INTO canary VALUES (1, ?)", [randomBytes(32).toString("hex")]);
  t.equal(await codeOf(checkCanary(plain, handle)), "database_plaintext", "its value is in the file's bytes");
  await handle.close();
  copyFileSync(plain, place.file);
  t.equal(await codeOf(place.open()), "database_plaintext", "its header");
});

t.test("the canary is looked for on its own page, however far in", async (t) => {
  const place = scratch(t);
  const plain = join(place.dir, "plain.db");
  writeFileSync(plain, "", { mode: 0o600 });
  const handle = await Handle.open(plain, false);
  await handle.exec("CREATE TABLE filler (bytes BLOB)");
  await handle.run("INSERT INTO filler VALUES (?)", [Buffer.alloc(6_000_000)]);
  await handle.exec("CREATE TABLE canary (id INTEGER PRIMARY KEY, value TEXT)");
  const value = randomBytes(32).toString("hex");
  await handle.run("INSERT INTO canary VALUES (1, ?)", [value]);
  t.ok(readFileSync(plain).indexOf(value) > 5_000_000);
  t.equal(await codeOf(checkCanary(plain, handle)), "database_plaintext");
  await handle.close();
});

t.test("an encrypted file passes the canary, and a wrong key must not open it", async (t) => {
  const place = scratch(t);
  await (await place.open(true)).close();
  const handle = await openConnection(place.file, new DatabaseKey(place.key), "writer");
  t.equal(await codeOf(checkCanary(place.file, handle)), "resolved");
  await handle.run("DELETE FROM canary");
  t.equal(await codeOf(checkCanary(place.file, handle)), "database_damaged", "it must be there");
  await handle.close();
});

t.test("truncated files", async (t) => {
  const place = scratch(t);
  await (await place.open(true)).close();
  const size = statSync(place.file).size;
  for (const cut of [0, 15, 4095, 4096, size - 4096, size - 1]) {
    const other = scratch(t);
    copyFileSync(place.file, other.file);
    truncateSync(other.file, cut);
    const code = await codeOf(
      openStore({ file: other.file, key: place.key, create: false }).then(async (store) => {
        const problems = await store.integrity("full");
        await store.close();
        if (problems.length === 0) throw new Error("sound?");
        return problems;
      }),
    );
    if (cut < size - 4096) t.equal(code, "database_damaged", `cut to ${cut}`);
    else t.match(code, /resolved|database_damaged/, `cut to ${cut}: refused, or found by the check`);
  }
});

t.test("a flipped byte in a page: one clear error, the rest goes on", async (t) => {
  const place = scratch(t);
  const store = await place.open(true);
  await store.mutate(async (tx) => {
    await setSetting(tx, "key", "v");
    await tx.run("INSERT INTO bundles VALUES (?, ?)", [`sha256:${"0".repeat(64)}`, randomBytes(40_000)]);
    tx.log(HEARTBEAT);
  });
  const page = await store.read.get<{ pageno: number }>(
    "SELECT pageno FROM dbstat WHERE name = 'bundles' AND pagetype = 'overflow' LIMIT 1",
  );
  await store.close();
  const fd = openSync(place.file, "r+");
  writeSync(fd, Buffer.from([1, 2, 3]), 0, 3, ((page?.pageno ?? 0) - 1) * PAGE_SIZE + 1000);
  closeSync(fd);
  const again = await place.open();
  const read = "SELECT bytes FROM bundles";
  t.equal(await codeOf(again.read.all(read)), "database_damaged");
  t.equal(await getText(again.read, "key"), "v", "what is sound can be read");
  t.equal(await codeOf(again.mutate((tx) => tx.all(read))), "database_damaged");
  const swallows = again.mutate(async (tx) => {
    await tx.all(read).catch(() => undefined);
    tx.log(HEARTBEAT);
  });
  t.equal(await codeOf(swallows), "database_damaged", "also when the code does not look");
  t.equal(again.status().writable, false);
  t.match(again.status().problem, /restore the last backup/);
  await again.mutate((tx) => tx.log(HEARTBEAT));
  t.equal(again.status().writable, true);
  t.equal(again.log.size(), 2, "and told of in the log");
  t.match(await again.integrity("full"), [/HMAC verification failed/]);
  t.same((await again.integrity("quick")).length > 0, true);
});

t.test("an integrity check ends in time", async (t) => {
  const store = await scratch(t).open(true);
  for (let n = 0; n < 2; n++)
    await store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      const digest = `sha256:${String(n).repeat(64)}`;
      await tx.run("INSERT INTO bundles VALUES (?, zeroblob(16000000))", [digest]);
    });
  t.equal(await codeOf(store.integrity("quick", 1)), "timeout");
  t.same(await store.integrity("quick", 60_000), []);
  await store.mutate((tx) => tx.log(HEARTBEAT));
  t.equal(store.status().writable, true);
});
