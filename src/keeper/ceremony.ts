import { randomBytes } from "node:crypto";
import { closeSync, existsSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { SallyportError } from "../core/errors.ts";
import { checkName } from "../core/identity.ts";
import { subkey } from "../keys/envelope.ts";
import { syncDirectory } from "../keys/file.ts";
import { Kdf, type KdfParams } from "../keys/kdf.ts";
import { createKeyring } from "../keys/keyring.ts";
import { wipe } from "../keys/memory.ts";
import { addGrant } from "../store/grants.ts";
import { SETTINGS, setSetting } from "../store/settings.ts";
import { openStore } from "../store/store.ts";
import { addHostAccount, addUser } from "../store/users.ts";
import { checkStateDir, lockDir, STATE_FILES, UNFINISHED } from "./state-dir.ts";

/** The key file is readable without a key, so a slot's label must not be a person's name (P2); whose it is, the database knows. */
const FIRST_SLOT = "slot-1";

/**
 * `sallyport init`: keyring, database, first admin. Wipes the passphrase. Killed at any instant it leaves what the next
 * `init` takes away; two at once: one is refused.
 * Returns the recovery code (ASCII); it exists nowhere else.
 */
export async function initialize(o: {
  stateDir: string;
  passphrase: Buffer;
  admin: string;
  uid: number;
  kdf?: KdfParams;
}): Promise<{ recoveryCode: Buffer; slot: string; kdf: KdfParams }> {
  const admin = checkName("user", o.admin);
  checkStateDir(o.stateDir, true);
  const lock = lockDir(o.stateDir);
  let root: Buffer | undefined;
  let key: Buffer | undefined;
  try {
    const place = clearUnfinished(o.stateDir);
    const kdf = new Kdf();
    const params = o.kdf ?? (await kdf.measure());
    const file = join(place, STATE_FILES.keyring);
    const made = await createKeyring({ file, name: FIRST_SLOT, passphrase: o.passphrase, kdf, params });
    root = made.root;
    key = subkey(root, "database");
    await makeDatabase(join(place, STATE_FILES.database), key, { admin, uid: o.uid, keyring: made.id });
    // The keyring comes last: a state directory that has one is complete. Each move is on disk before the next one: the
    // keyring that is still in its first place is what tells a database that nobody has used.
    for (const name of [STATE_FILES.database, STATE_FILES.keyring]) {
      renameSync(join(place, name), join(o.stateDir, name));
      syncDirectory(o.stateDir);
      syncDirectory(place);
    }
    rmSync(place, { recursive: true, force: true });
    return { recoveryCode: made.recoveryCode, slot: FIRST_SLOT, kdf: params };
  } finally {
    wipe(o.passphrase, root, key);
    closeSync(lock);
  }
}

/** Throws `already_initialized`. */
export function refuseInitialized(stateDir: string): void {
  if (existsSync(join(stateDir, STATE_FILES.keyring)))
    throw new SallyportError("already_initialized", `Its files are in ${stateDir}.`);
}

/**
 * A place beside the final one. What an `init` that was killed left there, and only that, is removed: a database that has
 * its name already belongs to it only while the keyring is still in the place, for that is moved last.
 */
function clearUnfinished(stateDir: string): string {
  const place = join(stateDir, UNFINISHED);
  const database = join(stateDir, STATE_FILES.database);
  refuseInitialized(stateDir);
  if (existsSync(database) && !existsSync(join(place, STATE_FILES.keyring))) {
    throw new SallyportError(
      "keyring_damaged",
      `${stateDir} holds a database, but its ${STATE_FILES.keyring} is gone. Put that back from a backup, or move the database away.`,
    );
  }
  rmSync(place, { recursive: true, force: true });
  rmSync(database, { force: true });
  mkdirSync(place, { mode: 0o700 });
  return place;
}

async function makeDatabase(
  file: string,
  key: Buffer,
  o: { admin: string; uid: number; keyring: string },
): Promise<void> {
  const store = await openStore({ file, key, create: true });
  try {
    await store.mutate(async (tx) => {
      const user = await addUser(tx, { name: o.admin });
      await addHostAccount(tx, { uid: o.uid, login: o.admin, userId: user.id });
      await addGrant(tx, { role: "admin", namespace: "*", subject: { kind: "user", id: user.id } });
      await setSetting(tx, `slot.${FIRST_SLOT}`, user.id);
      await setSetting(tx, SETTINGS.origin, `sallyport-${randomBytes(6).toString("hex")}`);
      const actor = { kind: "host", uid: o.uid, loginUid: null } as const;
      tx.log({ type: "appliance.initialized", outcome: "success", actor, data: { keyring: o.keyring } });
      tx.log({ type: "user.added", outcome: "success", actor, data: { user: user.id } });
      tx.log({
        type: "role.granted",
        outcome: "success",
        actor,
        data: { role: "admin", subject: user.id, subjectKind: "user" },
      });
    });
  } finally {
    await store.close();
  }
  // SQLite says nothing when closing could not fold the -wal into the file; what it holds would be left behind here.
  const wal = statSync(`${file}-wal`, { throwIfNoEntry: false });
  if (wal === undefined || wal.size === 0) return;
  throw new SallyportError(
    "log_unwritable",
    "The new database could not be written to its end, so nothing was made. Mend the disk, then run sallyport init again.",
  );
}
