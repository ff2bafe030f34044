import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { initialize } from "../../src/keeper/ceremony.ts";
import { FLOOR } from "../../src/keys/kdf.ts";
import { Handle } from "../../src/store/handle.ts";
import { codeOf } from "../store/scratch.ts";

/** The connection that makes the file is closed, those after it stay: SQLite folds the -wal only at a file's last close. */
function keepOpen(t: { teardown(call: () => unknown): void }): void {
  const { close } = Handle.prototype;
  const left: Handle[] = [];
  let closed = 0;
  Handle.prototype.close = function (this: Handle) {
    if (closed++ === 0) return close.call(this);
    left.push(this);
    return Promise.resolve();
  };
  t.teardown(async () => {
    Handle.prototype.close = close;
    for (const handle of left) await handle.close();
  });
}

t.test("init is refused when its one transaction is still in the -wal", async (t) => {
  const stateDir = join(mkdtempSync(join(tmpdir(), "sallyport-init-")), "state");
  t.teardown(() => rmSync(join(stateDir, ".."), { recursive: true, force: true }));
  const make = () =>
    initialize({
      stateDir,
      passphrase: Buffer.from("correct horse battery staple"),
      admin: "alice",
      uid: 0,
      kdf: FLOOR,
    });
  await t.test("with connections that stay", async (t) => {
    keepOpen(t);
    t.equal(await codeOf(make()), "log_unwritable");
    for (const name of ["keyring.json", "sallyport.db"])
      t.notOk(existsSync(join(stateDir, name)), `no ${name}`);
  });
  t.match(await make(), { slot: "slot-1" }, "and the next one works");
});
