import { chmodSync, closeSync, existsSync, lstatSync, mkdirSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { SallyportError } from "../core/errors.ts";
import { harden } from "../host/harden.ts";

export const STATE_FILES = { keyring: "keyring.json", database: "sallyport.db" } as const;
/** Where `init` makes both before they get their places. */
export const UNFINISHED = "init.new";

/** Makes the directory (0700), or refuses one that others could enter or own. Throws `state_dir_unsafe`. */
export function checkStateDir(dir: string, create: boolean): void {
  if (!existsSync(dir)) {
    if (!create) throw new SallyportError("not_initialized", `${dir} does not exist.`);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    chmodSync(dir, 0o700);
  }
  const stat = lstatSync(dir);
  if (!stat.isDirectory())
    throw new SallyportError("state_dir_unsafe", `${dir} is no directory of its own (a link or a file).`);
  if (stat.uid !== process.getuid?.()) {
    throw new SallyportError(
      "state_dir_unsafe",
      `${dir} belongs to uid ${stat.uid}, not to this account; run sallyport as its owner, or chown it.`,
    );
  }
  if ((stat.mode & 0o077) !== 0) {
    throw new SallyportError(
      "state_dir_unsafe",
      `${dir} has mode ${(stat.mode & 0o777).toString(8)}; make it private: chmod 700 ${dir}`,
    );
  }
}

/** As with the database: whoever could read the key file may have a copy to guess passphrases against. Throws `state_dir_unsafe`. */
export function checkPrivate(file: string): void {
  const stat = lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined || (stat.mode & 0o077) === 0 || !stat.isFile()) return;
  throw new SallyportError(
    "state_dir_unsafe",
    `${file} has mode ${(stat.mode & 0o777).toString(8)}: chmod 600 it and ask who could read it.`,
  );
}

/** Takes the directory for this process, until the descriptor is closed or the process ends. Throws `already_running`. */
export function lockDir(dir: string): number {
  const fd = openSync(join(dir, "lock"), "a", 0o600);
  if (harden().tryLock(fd)) return fd;
  closeSync(fd);
  throw new SallyportError("already_running", `It uses ${dir}: stop it first, or name another directory.`);
}

/** A kill at the very end of `init` leaves its place behind: kept, it would stand beside a database that is in use by then. */
export function removeFinishedInit(dir: string): void {
  if (Object.values(STATE_FILES).every((name) => existsSync(join(dir, name))))
    rmSync(join(dir, UNFINISHED), { recursive: true, force: true });
}
