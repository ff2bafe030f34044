import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, statfsSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { getText, setSetting } from "../../src/store/settings.ts";
import { openStore } from "../../src/store/store.ts";
import { codeOf, HEARTBEAT } from "./scratch.ts";

const INSIDE = "SALLYPORT_TEST_FULL_DISK";
const inside = process.env[INSIDE];

if (inside === undefined) {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-full-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const script = 'mount -t tmpfs -o size=3m,mode=0700 tmpfs "$1" && shift && exec "$@"';
  const unshare = (command: string[]) =>
    spawnSync("unshare", ["-rm", "sh", "-c", script, "sh", dir, ...command], {
      env: { ...process.env, [INSIDE]: dir },
      encoding: "utf8",
    });
  const can = unshare(["true"]).status === 0;
  t.test(
    "a full disk",
    { skip: can ? false : "needs unshare -rm and tmpfs to make a small disk" },
    async (t) => {
      const ran = unshare([process.execPath, fileURLToPath(import.meta.url)]);
      t.equal(ran.status, 0, "on a disk of 3 MiB");
      if (ran.status !== 0) t.comment(`${ran.stdout}\n${ran.stderr}`);
      t.match(ran.stdout, /refused while full[\s\S]*goes on/, "it was full, and went on");
    },
  );
} else {
  t.test("on a disk of 3 MiB", async (t) => {
    const options = { file: join(inside, "db"), key: randomBytes(32), create: true };
    const store = await openStore(options);
    await store.mutate(async (tx) => {
      await setSetting(tx, "before", "1");
      tx.log(HEARTBEAT);
    });
    const ballast = join(inside, "ballast");
    const fill = () => writeFileSync(ballast, Buffer.alloc(statfsSync(inside).bfree * 4096));
    fill();
    const attempts = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        codeOf(
          store.mutate(async (tx) => {
            await setSetting(tx, `full.${i}`, Buffer.alloc(60_000, i));
            tx.log(HEARTBEAT);
          }),
        ),
      ),
    );
    t.same(new Set(attempts), new Set(["log_unwritable"]), "refused while full");
    const swallows = store.mutate(async (tx) => {
      await setSetting(tx, "full.0", Buffer.alloc(60_000)).catch(() => undefined);
      tx.unlogged("test");
    });
    t.equal(await codeOf(swallows), "log_unwritable", "also when the code does not look");
    t.match(store.status(), { writable: false, problem: /Free space/ });
    t.equal(store.log.size(), 1, "nothing half done");
    t.equal(await getText(store.read, "before"), "1", "reads go on");
    unlinkSync(ballast);
    t.equal(await codeOf(store.mutate((tx) => tx.log(HEARTBEAT))), "resolved", "goes on once it can");
    t.equal(store.status().writable, true);
    t.equal(store.log.size(), 2);
    const left = await store.read.all("SELECT key FROM settings WHERE key LIKE 'full.%'");
    t.same(left, []);
    const root = store.log.root();
    await store.close();
    const reopen = { ...options, create: false };
    fill();
    t.equal(await codeOf(openStore(reopen)), "log_unwritable", "a start on a full disk");
    const second = { ...options, file: join(inside, "second") };
    t.equal(await codeOf(openStore(second)), "log_unwritable", "init on a full disk");
    unlinkSync(ballast);
    const again = await openStore(reopen);
    t.same(again.log.root(), root);
    t.same(await again.integrity("full"), []);
    await again.close();
  });
}
