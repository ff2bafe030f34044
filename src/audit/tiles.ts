import { SallyportError } from "../core/errors.ts";
import type { NodeId, NodeSource } from "./merkle.ts";

/** C2SP tlog-tiles: tiles of 256 hashes, eight levels of the tree a tile. */
export const TILE_WIDTH = 256;
export type TileId = { level: number; index: number; width: number };

/** `x001/x234/067`: three digits an element, all but the last behind an x. */
function indexPath(index: number): string {
  let path = String(index % 1000).padStart(3, "0");
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    path = `x${String(rest % 1000).padStart(3, "0")}/${path}`;
  return path;
}

const partial = (width: number): string => (width === TILE_WIDTH ? "" : `.p/${width}`);

/** Path of a hash tile below the log's directory. */
export function tilePath(level: number, index: number, width: number = TILE_WIDTH): string {
  return `tile/${level}/${indexPath(index)}${partial(width)}`;
}

/** Path of the bundle with the entries [index * 256, index * 256 + width). */
export function entriesPath(index: number, width: number = TILE_WIDTH): string {
  return `tile/entries/${indexPath(index)}${partial(width)}`;
}

/** The tiles that are new or wider when the tree grows from `from` to `to` leaves, lowest level first. */
export function tilesBetween(from: number, to: number): TileId[] {
  const tiles: TileId[] = [];
  for (let level = 0, before = from, now = to; now > 0; level++) {
    if (now > before)
      for (let index = Math.floor(before / TILE_WIDTH); index * TILE_WIDTH < now; index++)
        tiles.push({ level, index, width: Math.min(TILE_WIDTH, now - index * TILE_WIDTH) });
    before = Math.floor(before / TILE_WIDTH);
    now = Math.floor(now / TILE_WIDTH);
  }
  return tiles;
}

/** The nodes of the tree whose hashes make up a tile. */
export function tileNodes({ level, index, width }: TileId): NodeId[] {
  return Array.from({ length: width }, (_, i) => ({ level: level * 8, index: index * TILE_WIDTH + i }));
}

export async function tileBytes(tile: TileId, source: NodeSource): Promise<Buffer> {
  return Buffer.concat(await source(tileNodes(tile)));
}

/** The bundles of entries that are new or wider when the log grows. */
export function bundleRanges(from: number, to: number): { index: number; width: number }[] {
  return tilesBetween(from, to)
    .filter(({ level }) => level === 0)
    .map(({ index, width }) => ({ index, width }));
}

/** Entries as tlog-tiles wants them: a uint16 big-endian length before each. */
export function entriesBundle(entries: readonly Uint8Array[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    if (entry.length > 0xffff) throw new RangeError(`an entry of ${entry.length} bytes`);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(entry.length);
    parts.push(length, entry);
  }
  return Buffer.concat(parts);
}

/** The reverse; throws `log_damaged` when the bytes end inside an entry or hold more than 256. */
export function parseEntriesBundle(bytes: Buffer): Buffer[] {
  const entries: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 2 <= bytes.length ? at + 2 + bytes.readUInt16BE(at) : Number.POSITIVE_INFINITY;
    if (end > bytes.length) throw new SallyportError("log_damaged", "A bundle of entries is cut off.");
    if (entries.length === TILE_WIDTH)
      throw new SallyportError("log_damaged", "A bundle holds more than 256 entries.");
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries;
}
