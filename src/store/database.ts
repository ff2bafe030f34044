import { closeSync, constants, fsyncSync, linkSync, lstatSync, openSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { SallyportError } from "../core/errors.ts";
import { DAMAGED_ADVICE, failureOf } from "./failures.ts";
import { Handle } from "./handle.ts";

export const PAGE_SIZE = 4096;

/** A copy of the database key; the store opens its connections again after a fault. Wiped by `wipe`. */
export class DatabaseKey {
  readonly #bytes: Buffer;

  constructor(key: Uint8Array) {
    if (key.length !== 32) throw new SallyportError("internal", "A database key has 32 bytes.");
    this.#bytes = Buffer.allocUnsafeSlow(32);
    this.#bytes.set(key);
  }

  /** The pragma exists as a string only from here to the binding: JavaScript can't wipe it (DESIGN section 5 says so). */
  async apply(handle: Handle): Promise<void> {
    await handle.exec(`PRAGMA key = "x'${this.#bytes.toString("hex")}'"`);
  }

  wipe(): void {
    this.#bytes.fill(0);
  }
}

/** Before any page is read. Logging off: SQLCipher prints to stderr, and each fault becomes one error of ours instead. */
const CIPHER = `PRAGMA cipher_page_size = ${PAGE_SIZE};`;
const QUIET = "PRAGMA cipher_log_level = NONE; PRAGMA cipher_memory_security = ON;";

const EVERY_CONNECTION = `
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA temp_store = MEMORY;
PRAGMA mmap_size = 0;
PRAGMA busy_timeout = 2000;
PRAGMA cache_size = -16384;
`;

const WRITER = `
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA journal_size_limit = 67108864;
PRAGMA wal_autocheckpoint = 1000;
`;

/** `writer` may change the file, `reader` can't even by mistake. */
export async function openConnection(
  file: string,
  key: DatabaseKey,
  kind: "writer" | "reader",
): Promise<Handle> {
  const handle = await Handle.open(file, kind === "reader");
  try {
    await handle.exec(QUIET);
    await key.apply(handle);
    await handle.exec(CIPHER);
    await handle.exec(EVERY_CONNECTION);
    if (kind === "writer") await handle.exec(WRITER);
    else await handle.exec("PRAGMA query_only = ON");
    await handle.all("SELECT count(*) FROM sqlite_schema");
    await checkSettings(handle, kind);
    return handle;
  } catch (error) {
    await handle.close().catch(() => undefined);
    if (failureOf(error) === "damaged") {
      const detail = `${file} does not open with this key file's key: a foreign or damaged database. ${DAMAGED_ADVICE}`;
      throw new SallyportError("database_damaged", detail, { cause: error });
    }
    throw error;
  }
}

/** A pragma that is not understood is silently ignored by SQLite; a build without SQLCipher would write plain text. */
async function checkSettings(handle: Handle, kind: "writer" | "reader"): Promise<void> {
  const wanted: Record<string, RegExp> = {
    cipher_version: /^4\./,
    cipher_provider: /^openssl$/,
    cipher_status: /^1$/,
    cipher_page_size: /^4096$/,
    cipher_use_hmac: /^1$/,
    cipher_memory_security: /^1$/,
    foreign_keys: /^1$/,
    trusted_schema: /^0$/,
    ...(kind === "writer" ? { journal_mode: /^wal$/, synchronous: /^2$/, secure_delete: /^1$/ } : {}),
  };
  for (const [name, expected] of Object.entries(wanted)) {
    const row = await handle.get<Record<string, unknown>>(`PRAGMA ${name}`);
    const value = String(Object.values(row ?? {})[0] ?? "");
    if (expected.test(value)) continue;
    const detail = `PRAGMA ${name} is "${value}": this executable's SQLCipher does not do what it must. Install it again.`;
    throw new SallyportError(name.startsWith("cipher_") ? "database_plaintext" : "internal", detail);
  }
}

/** The database is one plain file of ours that nobody else can reach. */
export function checkFile(file: string): void {
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (!found) throw new SallyportError("not_initialized", `There is no ${file}.`);
  const unsafe = (why: string) => new SallyportError("state_dir_unsafe", `${file} ${why}`);
  if (!found.isFile()) throw unsafe("is not a regular file: remove what stands there.");
  if (found.nlink !== 1) throw unsafe("has a second name (hard link): remove that.");
  const me = process.geteuid?.();
  if (me !== undefined && found.uid !== me) {
    throw unsafe(`belongs to uid ${found.uid}, not to ${me}: chown it.`);
  }
  if ((found.mode & 0o077) !== 0) {
    throw unsafe(`has mode 0${(found.mode & 0o777).toString(8)}: chmod 600 it and ask who could read it.`);
  }
}

/** An empty file, 0600 whatever the umask; SQLite gives its -wal and -shm the same mode. */
export function createPrivately(file: string): void {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | constants.O_NOFOLLOW;
  closeSync(openSync(file, flags, 0o600));
}

/** Gives a finished database its name, or fails when that is taken; durable when it returns. */
export function publish(made: string, file: string): void {
  syncPath(made);
  try {
    linkSync(made, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") {
      throw new SallyportError("already_initialized", `${file} exists.`);
    }
    throw error;
  }
  rmSync(made);
  syncPath(dirname(file));
}

function syncPath(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
