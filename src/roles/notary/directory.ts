import { constants, lstatSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { SignedState } from "../../audit/notary.ts";
import { SallyportError } from "../../core/errors.ts";
import { harden } from "../../host/harden.ts";
import { readBounded, removeLeftovers, writeDurably } from "../../keys/file.ts";

/**
 * The notary's own directory: `half` (its half of the wrapping key), `key.json` (the log's key, wrapped) and
 * `signed.json` (what it signed last). Each file is replaced whole.
 */
const FILE_BYTES = 4096;
const HALF_BYTES = 32;

const base64 = z
  .string()
  .regex(/^[A-Za-z0-9+/]+={0,2}$/)
  .max(400);
const KeyFile = z.strictObject({
  version: z.literal(1),
  origin: z.string().min(1).max(200),
  vkey: z.string().min(1).max(400),
  wrapped: base64,
});
const SignedFile = z.strictObject({
  version: z.literal(1),
  size: z.int().min(0),
  root: z.string().regex(/^[A-Za-z0-9+/]{43}=$/),
  mac: z.string().regex(/^[0-9a-f]{64}$/),
});
export type KeyFile = z.infer<typeof KeyFile>;
export type SignedFile = z.infer<typeof SignedFile>;

/** Something in the directory is missing or damaged; the text is for the operator and goes to the keeper as the reason. */
export class DirectoryDamaged extends Error {
  override readonly name = "DirectoryDamaged";
}

export class NotaryDirectory {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Makes the directory where it is missing and takes its lock, which lasts as long as the process: two notaries with
   * one key could sign two histories. Throws `state_dir_unsafe`, `already_running`.
   */
  static claim(dir: string): NotaryDirectory {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const stat = lstatSync(dir);
    if (!stat.isDirectory() || stat.uid !== process.geteuid?.() || (stat.mode & 0o077) !== 0)
      throw new SallyportError(
        "state_dir_unsafe",
        `${dir} must be a directory of mode 0700 that belongs to the notary's user.`,
      );
    const fd = openSync(
      join(dir, "lock"),
      constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW,
      0o600,
    );
    if (!harden().tryLock(fd)) throw new SallyportError("already_running", `Another notary uses ${dir}.`);
    for (const name of ["half", "key.json", "signed.json"]) removeLeftovers(join(dir, name));
    return new NotaryDirectory(dir);
  }

  readHalf(): Buffer | null {
    const bytes = this.#read("half");
    if (bytes !== null && bytes.length !== HALF_BYTES) throw damaged("half", `has ${bytes.length} bytes`);
    return bytes;
  }

  writeHalf(half: Buffer): void {
    writeDurably(join(this.#dir, "half"), half);
  }

  readKey(): KeyFile | null {
    return this.#readJson("key.json", KeyFile);
  }

  writeKey(key: KeyFile): void {
    this.#writeJson("key.json", key);
  }

  readSigned(): SignedFile | null {
    return this.#readJson("signed.json", SignedFile);
  }

  /** On the disk when it returns: the signature may leave only after that. */
  writeSigned(signed: SignedFile): void {
    this.#writeJson("signed.json", signed);
  }

  #read(name: string): Buffer | null {
    try {
      return readBounded(join(this.#dir, name), FILE_BYTES);
    } catch (error) {
      throw damaged(name, (error as Error).message);
    }
  }

  #readJson<T>(name: string, schema: z.ZodType<T>): T | null {
    const bytes = this.#read(name);
    if (bytes === null) return null;
    let json: unknown;
    try {
      json = JSON.parse(bytes.toString("utf8"));
    } catch {
      throw damaged(name, "is cut off or not JSON");
    }
    const parsed = schema.safeParse(json);
    if (!parsed.success)
      throw damaged(name, `is malformed at ${parsed.error.issues[0]?.path.join(".") || "its top"}`);
    return parsed.data;
  }

  #writeJson(name: string, value: unknown): void {
    writeDurably(join(this.#dir, name), Buffer.from(`${JSON.stringify(value)}\n`));
  }
}

/** What to do is the same for every damage: an operator decides between the backup and a new key. */
export function damaged(name: string, what: string): DirectoryDamaged {
  return new DirectoryDamaged(
    `The notary's ${name} ${what}. Restore its directory from a backup, or empty it for a new key, which the log will show.`,
  );
}

export function toSignedFile({ size, root }: SignedState, mac: string): SignedFile {
  return { version: 1, size, root: root.toString("base64"), mac };
}
