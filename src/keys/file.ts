import { randomBytes } from "node:crypto";
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

/** Flushes the directory's own entry list, without which a new name may be gone after a power cut. */
export function syncDirectory(dir: string): void {
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Writes a file of mode 0600 so that after a crash at any instant the name holds the old content or the new, whole.
 * `exclusive`: fails with EEXIST where the name is taken already.
 */
export function writeDurably(file: string, bytes: Uint8Array, options: { exclusive?: boolean } = {}): void {
  const temp = `${file}.new-${randomBytes(6).toString("hex")}`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const fd = openSync(temp, flags, 0o600);
  try {
    try {
      fchmodSync(fd, 0o600);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (options.exclusive === true) linkSync(temp, file);
    else renameSync(temp, file);
  } finally {
    // After a rename the name is gone already; after a link or a failure this takes the leftover away.
    rmSync(temp, { force: true });
  }
  syncDirectory(dirname(file));
}

/**
 * Takes away what writers of this file left behind when they were killed. Only for the file's one writer: it would take
 * another's unfinished file too.
 */
export function removeLeftovers(file: string): void {
  const prefix = `${basename(file)}.new-`;
  for (const name of readdirSync(dirname(file)))
    if (name.startsWith(prefix)) rmSync(join(dirname(file), name), { force: true });
}

/** A regular file's bytes, or null where there is none. Never follows a link, never reads more than `limit` bytes + 1. */
export function readBounded(file: string, limit: number): Buffer | null {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  try {
    if (!fstatSync(fd).isFile()) throw new Error("not a regular file");
    const bytes = Buffer.alloc(limit + 1);
    let length = 0;
    for (let read = -1; read !== 0 && length <= limit; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, null);
    if (length > limit) throw new Error(`larger than ${limit} bytes`);
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}
