import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { SallyportError } from "../core/errors.ts";
import { DatabaseKey, openConnection, PAGE_SIZE } from "./database.ts";
import { DAMAGED_ADVICE } from "./failures.ts";
import type { Handle } from "./handle.ts";

/** First bytes of every SQLite file that is not encrypted (sqlite.org/fileformat.html, 1.3). */
const PLAIN_HEADER = Buffer.from("SQLite format 3\0", "latin1");
/** How much of the file's beginning and of the -wal is searched; the canary's own page is looked at wherever it is. */
const SCAN_BYTES = 4 * 1024 * 1024;

export async function plantCanary(handle: Handle): Promise<void> {
  await handle.run("INSERT OR IGNORE INTO canary (id, value) VALUES (1, ?)", [
    randomBytes(32).toString("hex"),
  ]);
}

/**
 * Before a key is used: a file that begins like a plain SQLite database is never opened, so that a database without
 * encryption, put in place of ours, isn't taken for it. A file cut inside its first page is damaged.
 */
export function checkHeader(file: string): void {
  const head = readAt(file, 0, PAGE_SIZE);
  if (head.subarray(0, PLAIN_HEADER.length).equals(PLAIN_HEADER)) {
    throw new SallyportError(
      "database_plaintext",
      `${file} begins as a plain SQLite file: put the encrypted database back in its place.`,
    );
  }
  if (head.length < PAGE_SIZE) {
    throw new SallyportError("database_damaged", `${file} has only ${head.length} bytes. ${DAMAGED_ADVICE}`);
  }
}

/**
 * Proves at each start that what is on disk is ciphertext: a value that the database gives back in clear is nowhere in
 * the bytes of its own page, of the file's beginning and of the -wal; and a wrong key opens nothing.
 */
export async function checkCanary(file: string, handle: Handle): Promise<void> {
  const row = await handle.get<{ value: string }>("SELECT value FROM canary WHERE id = 1");
  if (!row) throw new SallyportError("database_damaged", `Its canary is missing. ${DAMAGED_ADVICE}`);
  const pages = await handle.all<{ pageno: number }>("SELECT pageno FROM dbstat WHERE name = 'canary'");
  const places = pages.map((page) => ({ path: file, at: (page.pageno - 1) * PAGE_SIZE, bytes: PAGE_SIZE }));
  places.push({ path: file, at: 0, bytes: SCAN_BYTES });
  places.push({ path: `${file}-wal`, at: 0, bytes: SCAN_BYTES });
  if (pages.length === 0) throw new SallyportError("internal", "The canary's page was not found.");
  for (const { path, at, bytes } of places) {
    if (!readAt(path, at, bytes).includes(row.value)) continue;
    const detail = `A stored value is readable in ${path}: stop, and treat what it holds as disclosed.`;
    throw new SallyportError("database_plaintext", detail);
  }
  await checkWrongKey(file);
}

async function checkWrongKey(file: string): Promise<void> {
  const wrong = new DatabaseKey(randomBytes(32));
  let opened: Handle;
  try {
    opened = await openConnection(file, wrong, "reader");
  } catch (error) {
    if (error instanceof SallyportError && error.code === "database_damaged") return;
    throw error;
  }
  await opened.close();
  throw new SallyportError("database_plaintext", `${file} opens with a key that is not its own.`);
}

function readAt(path: string, at: number, bytes: number): Buffer {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
  try {
    const wanted = Math.max(0, Math.min(bytes, fstatSync(fd).size - at));
    const buffer = Buffer.alloc(wanted);
    let got = 0;
    while (got < wanted) {
      const n = readSync(fd, buffer, got, wanted - got, at + got);
      if (n === 0) break;
      got += n;
    }
    return buffer.subarray(0, got);
  } finally {
    closeSync(fd);
  }
}
