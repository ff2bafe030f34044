import { createHash, type Hash, randomBytes } from "node:crypto";
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { pipeline, Readable, Transform } from "node:stream";
import { createGunzip, createZstdDecompress, constants as zlib } from "node:zlib";
import { SallyportError } from "../../core/errors.ts";
import { harden } from "../../host/harden.ts";
import { runtimePath } from "../../host/runtimes.ts";
import { checkDigest, ImageLayout, type Layer } from "./layout.ts";
import { TarReader } from "./tar.ts";
import { Tree, type TreeLimits } from "./tree.ts";

export interface Imported {
  /** "sha256:<64 hex>" of the image's manifest. */
  readonly digest: string;
  readonly bytes: number;
  readonly files: number;
  /** It was there already. */
  readonly known: boolean;
}

/** What begins so is half done: nobody's, unless the lock is held. */
const UNFINISHED = ".import-";
/** Beside the files' bytes: an entry's header, its name, its padding. */
const ENTRY_BYTES = 2048;
/** Of a zstd frame, 2^27 bytes; what the tools make stays below. */
const ZSTD_WINDOW_LOG = 27;

/**
 * Holds the directory of root file systems for this process, makes it where it is missing, and takes away what a killed import
 * left. Throws `conflict` where another import or removal is under way. Close with the function that it gives.
 */
export function holdRuntimes(dir: string): () => void {
  const fd = attempt(dir, () => {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
    return openSync(join(dir, "lock"), "a", 0o600);
  });
  if (!harden().tryLock(fd)) {
    closeSync(fd);
    throw new SallyportError("conflict", `Another import or removal is under way in ${dir}.`);
  }
  try {
    for (const name of readdirSync(dir)) if (name.startsWith(UNFINISHED)) removeTree(join(dir, name));
  } catch (error) {
    closeSync(fd);
    throw failed(dir, error);
  }
  return () => closeSync(fd);
}

/**
 * Unpacks the image of the layout at `path` to `<dir>/sha256-<digest>`; the directory is held. Each blob's size and digest and
 * each layer's own are checked before it gets that name. Throws `image_invalid`, or `import_failed` where the disk is the reason.
 */
export async function importImage(path: string, dir: string, limits: TreeLimits): Promise<Imported> {
  const layout = new ImageLayout(path);
  const image = layout.image();
  const final = runtimePath(dir, image.digest);
  if (existsSync(final)) return { digest: image.digest, bytes: 0, files: 0, known: true };
  const work = join(dir, `${UNFINISHED}${randomBytes(8).toString("hex")}`);
  try {
    mkdirSync(work, { mode: 0o700 });
    checkExec(work);
    const tree = new Tree(work, limits);
    const room = { left: limits.bytes + limits.entries * ENTRY_BYTES };
    for (const layer of image.layers) {
      tree.nextLayer();
      await unpack(layout, layer, tree, room);
    }
    tree.finish();
    renameSync(work, final);
    syncDirectory(dir);
    return { digest: image.digest, bytes: tree.bytes, files: tree.entries, known: false };
  } catch (error) {
    removeTree(work);
    throw failed(dir, error);
  }
}

/** The directory is held. */
export function removeRuntime(dir: string, digest: string): void {
  const path = runtimePath(dir, digest);
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  const work = join(dir, `${UNFINISHED}${randomBytes(8).toString("hex")}`);
  attempt(dir, () => {
    // Writable first: a directory that may not be written to can't be given another parent.
    chmodSync(path, 0o755);
    renameSync(path, work);
    removeTree(work);
    syncDirectory(dir);
  });
}

/** Digests of what is there. */
export function storedDigests(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return attempt(dir, () => readdirSync(dir))
    .filter((name) => /^sha256-[0-9a-f]{64}$/.test(name))
    .map((name) => name.replace("-", ":"));
}

async function unpack(
  layout: ImageLayout,
  { descriptor, compression, diffId }: Layer,
  tree: Tree,
  room: { left: number },
): Promise<void> {
  const stored = createHash("sha256");
  const plain = createHash("sha256");
  const steps: (Readable | Transform)[] = [Readable.from(layout.open(descriptor)), watch(stored)];
  if (compression === "gzip") steps.push(createGunzip());
  if (compression === "zstd")
    steps.push(createZstdDecompress({ params: { [zlib.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } }));
  const last = watch(plain, (size) => {
    room.left -= size;
    if (room.left < 0)
      throw new SallyportError(
        "image_invalid",
        "Its layers unpack to more than is allowed; --max-size allows more.",
      );
  });
  steps.push(last);
  let broken: unknown;
  pipeline(steps, (error) => {
    broken = error ?? undefined;
  });
  const tar = new TarReader(last);
  try {
    for (let entry = await tar.next(); entry !== null; entry = await tar.next())
      await tree.add(entry, () => tar.content());
  } catch (error) {
    last.destroy();
    const { code } = (broken ?? error) as NodeJS.ErrnoException;
    if (
      typeof code === "string" &&
      (code.startsWith("Z_") || code.startsWith("ZSTD_") || code.startsWith("ERR_ZLIB"))
    )
      throw new SallyportError("image_invalid", `A layer is no ${compression} stream (${code}).`, {
        cause: error,
      });
    throw error;
  }
  checkDigest(stored.digest("hex"), descriptor.digest);
  checkDigest(plain.digest("hex"), diffId);
}

function watch(hash: Hash, seen: (size: number) => void = () => undefined): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        seen(chunk.length);
        hash.update(chunk);
        done(null, chunk);
      } catch (error) {
        done(error as Error);
      }
    },
  });
}

/** Programs of a root file system have to run from here. */
function checkExec(dir: string): void {
  const file = join(dir, "exec");
  const fd = openSync(file, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o700);
  try {
    fchmodSync(fd, 0o700);
    accessSync(file, constants.X_OK);
  } catch (cause) {
    throw new SallyportError(
      "no_exec_mount",
      `${dir} is on a file system that is mounted noexec: name a directory of another one, runtimes: DIR in sallyport.yaml.`,
      { cause },
    );
  } finally {
    closeSync(fd);
    unlinkSync(file);
  }
}

/** Directories are writable first; no link is followed. */
function removeTree(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (stat.isDirectory()) makeWritable(Buffer.from(path));
  rmSync(path, { recursive: true, force: true });
}

function makeWritable(dir: Buffer): void {
  chmodSync(dir, 0o700);
  for (const entry of readdirSync(dir, { withFileTypes: true, encoding: "buffer" })) {
    if (entry.isDirectory()) makeWritable(Buffer.concat([dir, Buffer.from("/"), entry.name]));
  }
}

function syncDirectory(dir: string): void {
  const fd = openSync(dir, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function attempt<T>(dir: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw failed(dir, error);
  }
}

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: "The disk is full: free space and import it again",
  EDQUOT: "The disk quota is used up: free space and import it again",
  EACCES: "This account may not write there: run this as the account that runs sallyport",
  EPERM: "This account may not write there: run this as the account that runs sallyport",
  EROFS: "It is read-only: name another directory, runtimes: DIR in sallyport.yaml",
};

function failed(dir: string, error: unknown): SallyportError {
  if (error instanceof SallyportError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return new SallyportError("internal", "", { cause: error });
  const advice = ADVICE[code] ?? "Mend it and import it again";
  return new SallyportError("import_failed", `${dir}: ${message}. ${advice}; nothing of it is left.`, {
    cause: error,
  });
}
