import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import t from "tap";
import { Secret } from "../../src/core/secret.ts";
import { finishRotations, rotateKey } from "../../src/keeper/rotate-key.ts";
import { warnExpiring } from "../../src/keeper/secret-expiry.ts";
import { Secrets } from "../../src/keeper/secrets.ts";
import { keyCopy } from "../../src/keys/memory.ts";
import { addNamespace } from "../../src/store/namespaces.ts";
import { addRunSecret, describeSecret, eraseRetired, removeSecret } from "../../src/store/secrets.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { HEARTBEAT } from "../store/scratch.ts";
import { NO_VAULTS } from "./no-vaults.ts";
import { Rig, watch } from "./runs-rig.ts";

t.setTimeout(FILE_TIMEOUT);
const more = "secrets: [FIRST, SECOND]\n";
const secret = (text: string) => new Secret(keyCopy(Buffer.from(text)));
const text = (value: unknown) => (value as Secret).use((bytes) => Buffer.from(bytes).toString());

const set = (rig: Rig, name: string, value: string, namespace = "web") =>
  rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    const number = await rig.secrets.add(tx, { namespace, name, by: rig.caller }, secret(value));
    await eraseRetired(tx);
    return number;
  });

async function both(t: { teardown(call: () => unknown): void }): Promise<Rig> {
  const rig = await Rig.make(t, 1, { more });
  await set(rig, "FIRST", "first value");
  await set(rig, "SECOND", "second value");
  return rig;
}

t.test(
  "the order carries the values in the manifest's order, each read logged before it leaves",
  async (t) => {
    const rig = await both(t);
    rig.join();
    const listener = watch();
    const { row } = await rig.request(listener);
    const order = rig.sent.find((m) => m.type === "run.order");
    t.match(order, {
      secrets: [
        { name: "FIRST", as: "file" },
        { name: "SECOND", as: "file" },
      ],
    });
    t.same(rig.parts.at(-1)?.slice(1).map(text), ["first value", "second value"]);
    t.same(
      await rig.store.read.all("SELECT name, number FROM run_secrets WHERE run = ? ORDER BY name", [row.id]),
      [
        { name: "FIRST", number: 1 },
        { name: "SECOND", number: 1 },
      ],
    );
    const kinds = await rig.store.read.all<{ type: string }>(
      "SELECT type FROM log_entry WHERE run = ? ORDER BY seq",
      [row.id],
    );
    t.same(
      kinds.map(({ type }) => type),
      ["run.requested", "secret.read", "secret.read", "run.started"],
    );
    rig.finish(row.id);
    await listener.over;
  },
);

t.test("a value that never reached the runner is wiped", async (t) => {
  const rig = await both(t);
  rig.join();
  const given: Secret[] = [];
  const original = rig.secrets.valuesFor.bind(rig.secrets);
  rig.secrets.valuesFor = async (run, manifest, o) => {
    const values = await original(run, manifest, o);
    given.push(...values);
    // The runner goes while they are being decrypted.
    rig.connected = false;
    return values;
  };
  const listener = watch();
  await rig.request(listener);
  t.equal((await listener.over).row.state, "lost");
  t.equal(given.length, 2);
  for (const value of given) t.throws(() => value.use(() => 0), /after it had been wiped/);
});

t.test(
  "missing when it is asked for: refused; missing when its turn comes: it ends with that reason",
  async (t) => {
    const rig = await Rig.make(t, 1, { more });
    rig.join();
    await t.rejects(rig.request(), {
      code: "secret_missing",
      detail:
        /web\/restart needs web\/FIRST, web\/SECOND. An admin of web sets it on the host: sallyport secret set web\/FIRST/,
    });
    t.same(await rig.store.read.all("SELECT id FROM runs"), []);
    await set(rig, "FIRST", "first value");
    await set(rig, "SECOND", "second value");
    const first = watch();
    const running = await rig.request(first);
    const second = watch();
    await rig.request(second);
    await rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      await removeSecret(tx, { namespace: "web", name: "SECOND" });
      await eraseRetired(tx);
    });
    rig.finish(running.row.id);
    const ended = await second.over;
    t.equal(ended.row.state, "canceled");
    t.match(ended.row.reason, /^A secret that the Op needs is not there. web\/restart needs web\/SECOND\./);
  },
);

t.test("one that waits for its turn gets the value of the moment when it starts", async (t) => {
  const rig = await both(t);
  rig.join();
  const first = watch();
  const running = await rig.request(first);
  const second = watch();
  const waiting = await rig.request(second);
  t.equal(await set(rig, "FIRST", "rotated"), 2);
  const kept = "SELECT number, sealed IS NOT NULL AS kept FROM secret_versions WHERE name = 'FIRST'";
  t.same(await rig.store.read.all(kept), [
    { number: 1, kept: 1 },
    { number: 2, kept: 1 },
  ]);
  rig.finish(running.row.id);
  await first.over;
  t.same(
    await rig.store.read.all(kept),
    [
      { number: 1, kept: 0 },
      { number: 2, kept: 1 },
    ],
    "the run that held it has ended",
  );
  await rig.until(() => rig.orders().includes(waiting.row.id));
  t.same(rig.parts.at(-1)?.slice(1).map(text), ["rotated", "second value"]);
  rig.finish(waiting.row.id);
  await second.over;
});

t.test("a ciphertext moved between rows, versions, namespaces or key ids opens nothing", async (t) => {
  const rig = await both(t);
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await addNamespace(tx, { name: "db" });
  });
  await set(rig, "FIRST", "of another namespace", "db");
  await set(rig, "FIRST", "newer");
  const sealed = (name: string, number: number, namespace = "web") =>
    `(SELECT sealed FROM secret_versions WHERE namespace = '${namespace}' AND name = '${name}' AND number = ${number})`;
  const keyOf = (namespace: string) => `(SELECT id FROM data_keys WHERE namespace = '${namespace}')`;
  // A version's ciphertext is erased once retired; kept here to be moved.
  const moves: Record<string, string> = {
    "another row": `sealed = ${sealed("SECOND", 1)}`,
    "another namespace": `sealed = ${sealed("FIRST", 1, "db")}`,
    "another namespace, with its key": `sealed = ${sealed("FIRST", 1, "db")}, key_id = ${keyOf("db")}`,
    "another key's id": `key_id = ${keyOf("db")}`,
  };
  for (const [what, change] of Object.entries(moves)) {
    const [kept] = await rig.store.read.all<{ sealed: Buffer; key_id: string }>(
      "SELECT sealed, key_id FROM secret_versions WHERE name = 'FIRST' AND number = 2",
    );
    await rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      await tx.run(
        `UPDATE secret_versions SET ${change} WHERE namespace = 'web' AND name = 'FIRST' AND number = 2`,
      );
    });
    await fails(t, rig, what);
    await rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      await tx.run(
        "UPDATE secret_versions SET sealed = ?, key_id = ? WHERE namespace = 'web' AND name = 'FIRST' AND number = 2",
        [kept!.sealed, kept!.key_id],
      );
    });
  }
  // As another version of the same secret.
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await tx.run(
      `INSERT INTO secret_versions (namespace, name, number, key_id, sealed, author, created)
       SELECT namespace, name, 9, key_id, sealed, author, created FROM secret_versions WHERE namespace = 'web' AND name = 'FIRST' AND number = 2`,
    );
    await tx.run("UPDATE secrets SET version = 9 WHERE namespace = 'web' AND name = 'FIRST'");
  });
  await fails(t, rig, "another version");
  // A wrapped key under another namespace.
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await tx.run("UPDATE secrets SET version = 2 WHERE namespace = 'web' AND name = 'FIRST'");
    await tx.run(`UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE namespace = 'db')
      WHERE namespace = 'web'`);
  });
  await fails(t, rig, "another namespace's wrapped key");
});

async function fails(t: Pick<typeof import("tap").default, "equal" | "match">, rig: Rig, what: string) {
  rig.join();
  const listener = watch();
  await rig.request(listener);
  const { row } = await listener.over;
  t.equal(row.state, "failed", what);
  t.match(row.reason, /secret web\/FIRST does not open: its row was changed/, what);
}

t.test("a run is told apart from what another run of the same Op was given", async (t) => {
  const rig = await both(t);
  rig.join();
  const listener = watch();
  const { row } = await rig.request(listener);
  await t.rejects(
    rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      await addRunSecret(tx, { run: row.id, namespace: "web", name: "FIRST", number: 7 });
    }),
    "no version that never was",
  );
  await t.rejects(
    rig.secrets.valuesFor(
      "r-other",
      {
        op: "web/restart",
        namespace: "web",
        secrets: [{ name: "FIRST", as: "file" }],
      },
      { bound: [], actor: { kind: "system" } },
    ),
    { code: "secret_missing" },
    "nothing without a recorded start",
  );
  rig.finish(row.id);
  await listener.over;
});

t.test("rotation of a namespace's key: every value under the new one, the old one gone", async (t) => {
  const rig = await both(t);
  for (let i = 0; i < 40; i++) await set(rig, `MORE_${i}`, `value ${i}`);
  const [old] = await rig.store.read.all<{ id: string }>("SELECT id FROM data_keys");
  const moved = await rotateKey(rig.store, rig.secrets, { namespace: "web", caller: rig.caller });
  t.equal(moved, 42);
  const keys = await rig.store.read.all<{ id: string; retired: number | null }>(
    "SELECT id, retired FROM data_keys",
  );
  t.equal(keys.length, 1);
  t.not(keys[0]?.id, old?.id);
  rig.join();
  const listener = watch();
  const { row } = await rig.request(listener);
  t.same(rig.parts.at(-1)?.slice(1).map(text), ["first value", "second value"]);
  rig.finish(row.id);
  await listener.over;
  t.equal(await finishRotations(rig.store, rig.secrets), 0, "nothing is left to do");
});

t.test(
  "killed at each step of it: every value opens under the old key or the new; the next start finishes",
  async (t) => {
    const rig = await both(t);
    for (let i = 0; i < 40; i++) await set(rig, `MORE_${i}`, `value ${i}`);
    await rig.store.close();
    const child = fileURLToPath(new URL("rotate-child.ts", import.meta.url));
    const args = [rig.scratch.file, rig.caller.id];
    let steps = 0;
    for (let done = false; !done; steps++) {
      const killer = spawn(process.execPath, [child, ...args, String(steps)], {
        stdio: ["pipe", "pipe", "inherit"],
        env: {},
      });
      killer.stdin.end(Buffer.concat([rig.scratch.key, rig.wrapping]));
      const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
        killer.once("close", (...ended) => resolve(ended)),
      );
      done = code === 0;
      if (!done && signal !== "SIGKILL") throw new Error(`the child ended with ${code} ${signal}`);
      const store = await rig.scratch.open();
      const secrets = new Secrets({ store, wrapping: rig.wrapping, vaults: NO_VAULTS });
      const rows = await store.read.all<{ name: string; keyId: string; sealed: Buffer; number: number }>(
        "SELECT name, number, key_id AS keyId, sealed FROM secret_versions",
      );
      t.equal(rows.length, 42);
      for (const row of rows) {
        const key = await store.read.get<{ id: string; namespace: string; wrapped: Buffer }>(
          "SELECT id, namespace, wrapped FROM data_keys WHERE id = ?",
          [row.keyId],
        );
        // Opens, or throws.
        await secrets.reseal(store.read, { ...row, namespace: "web" }, key as never);
      }
      if (steps % 2 === 1) await finishRotations(store, secrets);
      const left = await store.read.all("SELECT id FROM data_keys WHERE retired IS NOT NULL");
      if (steps % 2 === 1 || done)
        t.equal(left.length, 0, `killed before step ${steps}: finished afterwards`);
      secrets.end();
      await store.close();
    }
    t.ok(steps >= 5, `${steps} steps`);
  },
);

t.test("what expires is told once a day, from two weeks before", async (t) => {
  const rig = await both(t);
  const day = 86_400_000;
  const now = Date.now();
  const expire = (name: string, expires: number) =>
    rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      await describeSecret(tx, { namespace: "web", name }, { expires });
    });
  await expire("FIRST", now + 13 * day);
  await expire("SECOND", now + 15 * day);
  await warnExpiring(rig.store);
  await warnExpiring(rig.store);
  const told = () =>
    rig.store.read.all<{ entry: Buffer }>("SELECT entry FROM log_entry WHERE type = 'secret.expiring'");
  const [entry, ...others] = await told();
  t.equal(others.length, 0);
  t.match(JSON.parse(entry!.entry.toString()), { namespace: "web", data: { secret: "FIRST", days: 12 } });
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await tx.run("UPDATE secrets SET warned = warned - ?", [day + 1]);
  });
  await warnExpiring(rig.store);
  t.equal((await told()).length, 2);
  await set(rig, "FIRST", "a new value");
  await expire("FIRST", now - day);
  await warnExpiring(rig.store);
  t.match(
    JSON.parse((await told()).at(-1)!.entry.toString()),
    { data: { days: -2 } },
    "and when it has expired",
  );
});
