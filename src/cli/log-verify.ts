import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint, parseCheckpointText } from "../audit/checkpoint.ts";
import { parseEntry } from "../audit/entry.ts";
import { Frontier, leafHash } from "../audit/merkle.ts";
import { parseVkey, verifyNote } from "../audit/note.ts";
import { TileWriter } from "../audit/tile-writer.ts";
import { entriesPath, parseEntriesBundle, TILE_WIDTH } from "../audit/tiles.ts";
import { SallyportError } from "../core/errors.ts";

const NOTE_BYTES = 64 * 1024;
const BUNDLE_BYTES = TILE_WIDTH * (2 + 0xffff);
const TILE_BYTES = TILE_WIDTH * 32;

export type Verified = { size: number; root: string; origin: string; vkey: string };

/**
 * Verifies an exported log from its files alone: every entry, every hash tile, the root that the checkpoint signs. `vkey`: the
 * verifier key as it was kept elsewhere; without it the export's own is taken, which shows no more than that the export is
 * whole. `earlier`: a checkpoint that was kept, which this log has to extend. Throws `log_damaged` with the place.
 */
export function verifyExport(dir: string, o: { vkey?: string; earlier?: string }): Verified {
  const keys =
    o.vkey === undefined
      ? readBytes(join(dir, "vkey"), NOTE_BYTES).toString("utf8").trim().split("\n")
      : [o.vkey];
  const origin = parseVkey(keys[0] ?? "").name;
  const { size, root } = openCheckpoint(readBytes(join(dir, "checkpoint"), NOTE_BYTES), origin, keys);
  const before = o.earlier === undefined ? undefined : earlierOf(o.earlier, origin, keys);
  if (before !== undefined && before.size > size)
    throw damaged(
      `has ${size} entries, but ${before.size} were signed: it was cut, or an older copy was put back`,
    );
  const writer = new TileWriter();
  const tree = Frontier.empty();
  const reached = () => {
    if (before !== undefined && tree.size === before.size && !tree.root().equals(before.root))
      throw damaged(
        `is not the one of the earlier checkpoint: among its first ${before.size} entries one was changed`,
      );
  };
  reached();
  for (let from = 0; from < size; from += TILE_WIDTH) {
    const width = Math.min(TILE_WIDTH, size - from);
    const path = entriesPath(from / TILE_WIDTH, width);
    const entries = parseEntriesBundle(readBytes(join(dir, path), BUNDLE_BYTES));
    if (entries.length !== width) throw damaged(`has ${entries.length} entries in ${path}, not ${width}`);
    for (const entry of entries) {
      parsed(entry, tree.size);
      tree.append(leafHash(entry));
      reached();
    }
    for (const file of writer.add(entries)) compare(dir, file);
  }
  for (const file of writer.end()) compare(dir, file);
  if (!tree.root().equals(root))
    throw damaged(
      `does not give the signed root over its ${size} entries: one was changed, dropped, inserted or swapped`,
    );
  return { size, root: root.toString("base64"), origin, vkey: keys[0] ?? "" };
}

/** The hash tile that was exported against the one that follows from the entries. */
function compare(dir: string, { path, bytes }: { path: string; bytes: Buffer }): void {
  if (path.startsWith("tile/entries/")) return;
  const found = readBytes(join(dir, path), TILE_BYTES);
  if (found.equals(bytes)) return;
  const at = Array.from({ length: TILE_WIDTH }, (_, i) => i).find(
    (i) => !found.subarray(i * 32, i * 32 + 32).equals(bytes.subarray(i * 32, i * 32 + 32)),
  );
  throw damaged(`differs from its entries in ${path}, hash ${at ?? found.length / 32}`);
}

function earlierOf(note: string, origin: string, keys: readonly string[]): { size: number; root: Buffer } {
  const { text, verified } = verifyNote(note, keys);
  if (!verified.includes(origin)) throw damaged("is not the one that signed the earlier checkpoint");
  return parseCheckpointText(text);
}

function parsed(entry: Uint8Array, index: number): void {
  try {
    parseEntry(entry);
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    throw new SallyportError("log_damaged", `Entry ${index}: ${error.detail}`, { cause: error });
  }
}

const damaged = (what: string): SallyportError => new SallyportError("log_damaged", `The export ${what}.`);

export function readBytes(file: string, most: number): Buffer {
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new SallyportError("log_damaged", `${file} is missing.`, { cause });
    throw new SallyportError("input_invalid", `${file} can't be read.`, { cause });
  }
  try {
    const { size } = fstatSync(fd);
    if (size > most) throw new SallyportError("log_damaged", `${file} has more than ${most} bytes.`);
    const bytes = Buffer.allocUnsafe(size);
    let length = 0;
    for (let got = -1; got !== 0 && length < size; length += got)
      got = readSync(fd, bytes, length, size - length, null);
    return bytes.subarray(0, length);
  } finally {
    closeSync(fd);
  }
}
