import { type BigIntStats, closeSync, constants, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import type { BundleFile } from "../core/bundle.ts";
import { BUNDLE_LIMITS, checkBundlePath, showPath } from "../core/bundle-path.ts";
import { SallyportError } from "../core/errors.ts";

/**
 * Reads an Op's folder. Every entry is opened first and looked at through its descriptor, below the descriptor of
 * the folder that holds it, so that no name can be swapped for a link between the look and the read. The folder
 * itself may be named through a link; below it every link is refused.
 */

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
// Not in Node's constants: names an entry without opening it, so that a device or FIFO is never touched.
const O_PATH = 0o10000000;

const ENTRIES = BUNDLE_LIMITS.files + BUNDLE_LIMITS.folders;
const bad = (detail: string, cause?: unknown): SallyportError =>
  new SallyportError("bundle_invalid", detail, { cause });
const code = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? "error";

/** Throws `bundle_invalid` with one sentence. `mode` is 0755 where the owner may execute the file, else 0644. */
export function readBundleFolder(dir: string): BundleFile[] {
  let root: number;
  try {
    root = openSync(dir, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    const why = code(error) === "ENOTDIR" ? "is no folder" : `can't be opened (${code(error)})`;
    throw bad(`${showPath(dir)} ${why}; name the folder that holds op.yaml.`, error);
  }
  try {
    const walk: Walk = { files: [], total: 0, entries: 0 };
    readFolder(walk, root, "");
    if (walk.files.length === 0) throw bad("The folder holds no file.");
    return walk.files;
  } finally {
    closeSync(root);
  }
}

interface Walk {
  readonly files: BundleFile[];
  total: number;
  entries: number;
}

function readFolder(walk: Walk, fd: number, prefix: string): void {
  for (const name of namesIn(fd, prefix)) {
    const path = prefix + name;
    // Empty folders count as well, else a tree of them could keep the walk busy without end.
    if (++walk.entries > ENTRIES) throw bad(`The folder has more than ${ENTRIES} files and folders.`);
    checkBundlePath(path);
    const kind = kindOf(fd, name, path);
    const child = open(fd, name, kind === "folder" ? O_RDONLY | O_DIRECTORY : O_RDONLY | O_NONBLOCK, path);
    try {
      if (kind === "folder") readFolder(walk, child, `${path}/`);
      else readFile(walk, child, path);
    } finally {
      closeSync(child);
    }
  }
}

function namesIn(fd: number, prefix: string): string[] {
  const raw = readdirSync(`/proc/self/fd/${fd}`, { encoding: "buffer" });
  return raw
    .map((bytes) => {
      const name = bytes.toString("utf8");
      if (Buffer.from(name, "utf8").equals(bytes)) return name;
      throw bad(`A name in ${showPath(prefix === "" ? "." : prefix)} is not valid UTF-8.`);
    })
    .sort();
}

function kindOf(fd: number, name: string, path: string): "file" | "folder" {
  const handle = open(fd, name, O_PATH, path);
  try {
    const stat = fstatSync(handle);
    if (stat.isFile()) return "file";
    if (stat.isDirectory()) return "folder";
    const what = stat.isSymbolicLink()
      ? "a symbolic link"
      : stat.isFIFO()
        ? "a FIFO"
        : stat.isSocket()
          ? "a socket"
          : "a device";
    throw bad(`${showPath(path)} is ${what}; an Op's folder holds files and folders alone.`);
  } finally {
    closeSync(handle);
  }
}

function open(fd: number, name: string, flags: number, path: string): number {
  try {
    return openSync(`/proc/self/fd/${fd}/${name}`, flags | O_NOFOLLOW);
  } catch (error) {
    const why = code(error) === "ELOOP" ? "is a symbolic link" : `can't be opened (${code(error)})`;
    throw bad(`${showPath(path)} ${why}.`, error);
  }
}

function readFile(walk: Walk, fd: number, path: string): void {
  const before = fstatSync(fd, { bigint: true });
  // Swapped after the first look: the descriptor is what counts.
  if (!before.isFile()) throw bad(`${showPath(path)} changed while it was read; try again.`);
  const size = Number(before.size);
  walk.total += size;
  if (walk.total > BUNDLE_LIMITS.total) {
    throw bad(
      `The files are more than ${BUNDLE_LIMITS.total} bytes together; ${showPath(path)} is over the bound.`,
    );
  }
  if (walk.files.length >= BUNDLE_LIMITS.files)
    throw bad(`The folder has more than ${BUNDLE_LIMITS.files} files.`);
  // One byte more than it should have, to see a file that grew.
  const bytes = Buffer.alloc(size + 1);
  let length = 0;
  while (length < bytes.length) {
    const got = readSync(fd, bytes, length, bytes.length - length, null);
    if (got === 0) break;
    length += got;
  }
  if (length !== size || !same(before, fstatSync(fd, { bigint: true }))) {
    throw bad(`${showPath(path)} changed while it was read; try again.`);
  }
  const mode = (before.mode & 0o100n) !== 0n ? 0o755 : 0o644;
  walk.files.push({ path, mode, bytes: bytes.subarray(0, size) });
}

const same = (a: BigIntStats, b: BigIntStats): boolean =>
  a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.ino === b.ino;
