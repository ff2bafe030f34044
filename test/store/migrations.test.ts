import t from "tap";
import { createPrivately, DatabaseKey, openConnection } from "../../src/store/database.ts";
import type { Handle } from "../../src/store/handle.ts";
import { migrate, schemaVersion } from "../../src/store/migrations.ts";
import { MIGRATIONS } from "../../src/store/schema.ts";
import { codeOf, scratch } from "./scratch.ts";

async function empty(t: { teardown(call: () => unknown): void }): Promise<Handle> {
  const place = scratch(t);
  createPrivately(place.file);
  const handle = await openConnection(place.file, new DatabaseKey(place.key), "writer");
  t.teardown(() => handle.close());
  return handle;
}

const ONE = {
  version: 1,
  name: "one",
  sql: "CREATE TABLE a (x INTEGER PRIMARY KEY) STRICT; INSERT INTO a VALUES (1)",
};
const TWO = { version: 2, name: "two", sql: "ALTER TABLE a ADD COLUMN y TEXT; UPDATE a SET y = 'z'" };
const rows = (handle: Handle) => handle.all("SELECT * FROM a");

t.test("each once, in order, from whatever version is there", async (t) => {
  const handle = await empty(t);
  t.equal(await schemaVersion(handle), 0);
  t.equal(await migrate(handle, [ONE]), 1);
  t.equal(await migrate(handle, [ONE]), 1);
  t.same(await rows(handle), [{ x: 1 }]);
  t.equal(await migrate(handle, [ONE, TWO]), 2);
  t.equal(await schemaVersion(handle), 2);
  t.same(await rows(handle), [{ x: 1, y: "z" }]);
});

t.test("a newer database is left as it is", async (t) => {
  const handle = await empty(t);
  await migrate(handle, [ONE, TWO]);
  await t.rejects(migrate(handle, [ONE]), { code: "database_newer", message: /number 2.*up to 1: install/ });
  t.equal(await schemaVersion(handle), 2);
  t.same(await rows(handle), [{ x: 1, y: "z" }]);
});

t.test("the store refuses a newer database and does not touch it", async (t) => {
  const place = scratch(t);
  await (await place.open(true)).close();
  const handle = await openConnection(place.file, new DatabaseKey(place.key), "writer");
  await handle.exec("PRAGMA user_version = 999");
  await handle.close();
  t.equal(await codeOf(place.open()), "database_newer");
});

t.test("one that fails changes nothing", async (t) => {
  const handle = await empty(t);
  await migrate(handle, [ONE]);
  const broken = { ...TWO, sql: `${TWO.sql}; INSERT INTO a VALUES (1, 'twice')` };
  await t.rejects(migrate(handle, [ONE, broken]));
  t.equal(await schemaVersion(handle), 1);
  t.same(await rows(handle), [{ x: 1 }]);
  const orphan = {
    ...TWO,
    sql: "CREATE TABLE b (x INTEGER REFERENCES a (x) DEFERRABLE INITIALLY DEFERRED) STRICT; INSERT INTO b VALUES (9)",
  };
  t.equal(await codeOf(migrate(handle, [ONE, orphan])), "database_damaged", "rows that refer to nothing");
  t.equal(await schemaVersion(handle), 1);
  t.equal(await migrate(handle, [ONE, TWO]), 2, "and the next attempt works");
  t.equal(await codeOf(migrate(handle, [TWO])), "internal", "numbered from 1");
});

t.test("the schema itself", async (t) => {
  const handle = await empty(t);
  t.equal(await migrate(handle, MIGRATIONS), MIGRATIONS.length);
  const loose = await handle.all(
    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT strict AND name NOT LIKE 'sqlite_%'",
  );
  t.same(loose, [], "every table is STRICT");
});
