import { createHash } from "node:crypto";
import { BUNDLE_LIMITS, checkBundlePath, showPath } from "./bundle-path.ts";
import { asSallyportError, SallyportError } from "./errors.ts";
import { type Manifest, manifestFromJson, manifestToJson, parseManifest } from "./manifest.ts";

/**
 * An Op's folder as one block of bytes. The same files always give the same bytes, so their SHA-256 names the
 * version: magic "SPB1", u32 count, then for each file by ascending path bytes: u16 path length, path (UTF-8),
 * u16 mode, u32 size, content. Integers are big-endian. No times, owners or folders.
 */
export interface BundleFile {
  readonly path: string;
  readonly mode: 0o644 | 0o755;
  readonly bytes: Uint8Array;
}

export { BUNDLE_LIMITS };

const PAGE = 4096;
/** Beside the files, for what the kernel notes of them and for a small program. */
const LAUNCH_MEMORY = 2 * 1024 ** 2;
const MAGIC = Buffer.from("SPB1", "latin1");
const bad = (detail: string): SallyportError => new SallyportError("bundle_invalid", detail);

export function encodeBundle(files: readonly BundleFile[]): Buffer {
  const sorted = files.map((file) => ({ ...file, key: Buffer.from(checkBundlePath(file.path), "utf8") }));
  sorted.sort((a, b) => Buffer.compare(a.key, b.key));
  checkAll(sorted);
  const pieces: Buffer[] = [MAGIC, u32(sorted.length)];
  for (const { key, mode, bytes } of sorted) {
    pieces.push(u16(key.length), key, u16(mode), u32(bytes.length), Buffer.from(bytes));
  }
  return Buffer.concat(pieces);
}

/** Accepts exactly what `encodeBundle` makes, and nothing after it. Contents are views into `encoded`. */
export function decodeBundle(encoded: Uint8Array): BundleFile[] {
  const input = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  let at = 0;
  const take = (length: number): Buffer => {
    if (length > input.length - at) throw bad("The archive is cut short.");
    at += length;
    return input.subarray(at - length, at);
  };
  if (!take(MAGIC.length).equals(MAGIC)) throw bad("This is no archive of an Op.");
  const count = take(4).readUInt32BE();
  if (count > BUNDLE_LIMITS.files) throw tooMany(count);
  const files: BundleFile[] = [];
  let last: Buffer | null = null;
  for (let i = 0; i < count; i++) {
    const key = take(take(2).readUInt16BE());
    const path = key.toString("utf8");
    if (!Buffer.from(path, "utf8").equals(key)) throw bad("A path in the archive is not valid UTF-8.");
    if (last !== null && Buffer.compare(last, key) >= 0)
      throw bad("The paths in the archive are not in order.");
    const mode = take(2).readUInt16BE() as 0o644 | 0o755;
    files.push({ path, mode, bytes: take(take(4).readUInt32BE()) });
    last = key;
  }
  if (at !== input.length) throw bad("The archive goes on after its last file.");
  checkAll(files);
  return files;
}

/** "sha256:" and 64 hex digits over the encoded form: the content digest that names a version. */
export function bundleDigest(encoded: Uint8Array): string {
  return `sha256:${createHash("sha256").update(encoded).digest("hex")}`;
}

/** Decodes, reads op.yaml, and checks that what op.yaml names in the folder is there. */
export function openBundle(encoded: Uint8Array): { digest: string; files: BundleFile[]; manifest: Manifest } {
  const files = decodeBundle(encoded);
  const yaml = files.find((file) => file.path === "op.yaml");
  if (yaml === undefined) throw bad("The folder has no op.yaml.");
  const manifest = parseManifest(yaml.bytes);
  mustReadBack(manifest);
  const byPath = new Map(files.map((file) => [file.path, file]));
  const { command } = manifest;
  if (command.kind === "runtime") {
    if (!byPath.has(command.entry))
      throw bad(`entry names ${showPath(command.entry)}, which the folder lacks.`);
  } else if (command.argv[0]?.startsWith("./")) {
    const path = command.argv[0].slice(2);
    const file = byPath.get(path);
    if (file === undefined) throw bad(`run names ${showPath(path)}, which the folder lacks.`);
    if (file.mode !== 0o755) throw bad(`run names ${showPath(path)}, which is not executable (chmod +x).`);
  }
  if (manifest.seccomp.endsWith(".json") && !byPath.has(manifest.seccomp)) {
    throw bad(`seccomp names ${showPath(manifest.seccomp)}, which the folder lacks.`);
  }
  // Written into the folder at launch; a file of the Op must not stand in for what the person typed.
  if (files.some(({ path }) => path.split("/")[0] === "input.json"))
    throw bad("input.json is made at each run; the folder must not hold one.");
  const least =
    LAUNCH_MEMORY + files.reduce((sum, { bytes }) => sum + Math.ceil(bytes.length / PAGE) * PAGE, 0);
  if (manifest.limits.memoryBytes < least) {
    throw bad(
      `limits.memory is ${manifest.limits.memoryBytes} bytes; a run's copy of the files is in memory, so that this folder needs at least ${Math.ceil(least / 1024 ** 2)}MiB.`,
    );
  }
  return { digest: bundleDigest(encoded), files, manifest };
}

/** What is stored is read again at every look and run: a text that parses but is lost on that way is refused beforehand. */
function mustReadBack(manifest: Manifest): void {
  try {
    manifestFromJson(manifestToJson(manifest));
  } catch (cause) {
    const why = asSallyportError(cause).detail;
    throw new SallyportError(
      "manifest_invalid",
      `It can't be stored so that it reads back the same. ${why}`.trim(),
      { cause },
    );
  }
}

function checkAll(files: readonly BundleFile[]): void {
  if (files.length === 0) throw bad("The folder holds no file.");
  if (files.length > BUNDLE_LIMITS.files) throw tooMany(files.length);
  const seen = new Set<string>();
  const folders = new Set<string>();
  let total = 0;
  for (const { path, mode, bytes } of files) {
    checkBundlePath(path);
    if (mode !== 0o644 && mode !== 0o755) throw bad(`${showPath(path)} has a mode other than 0644 and 0755.`);
    if (seen.has(path)) throw bad(`${showPath(path)} is there twice.`);
    seen.add(path);
    for (let cut = path.lastIndexOf("/"); cut > 0; cut = path.lastIndexOf("/", cut - 1)) {
      folders.add(path.slice(0, cut));
    }
    total += bytes.length;
  }
  for (const path of seen) if (folders.has(path)) throw bad(`${showPath(path)} is both a file and a folder.`);
  if (folders.size > BUNDLE_LIMITS.folders)
    throw bad(`There are ${folders.size} folders; an Op may have ${BUNDLE_LIMITS.folders}.`);
  if (total > BUNDLE_LIMITS.total) {
    throw bad(`The files are ${total} bytes together; an Op may have ${BUNDLE_LIMITS.total}.`);
  }
}

function tooMany(count: number): SallyportError {
  return bad(`There are ${count} files; an Op may have ${BUNDLE_LIMITS.files}.`);
}

function u16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value);
  return out;
}

function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}
