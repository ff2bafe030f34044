import { Frontier, leafHash } from "./merkle.ts";
import { entriesBundle, entriesPath, TILE_WIDTH, tilePath } from "./tiles.ts";

type File = { path: string; bytes: Buffer };

/**
 * A C2SP tlog-tiles log from its entries alone, a bundle of 256 after the other; memory for one bundle and one tile a level.
 * Every hash is computed here, none taken over.
 */
export class TileWriter {
  readonly #frontier = Frontier.empty();
  /** Hashes of the tile of each level that is not full yet. */
  readonly #open: Buffer[][] = [];
  readonly #done: number[] = [];

  get size(): number {
    return this.#frontier.size;
  }

  root(): Buffer {
    return this.#frontier.root();
  }

  /** At most 256, and fewer only at the end. Returns the files that are complete by them. */
  add(entries: readonly Uint8Array[]): File[] {
    const index = Math.floor(this.#frontier.size / TILE_WIDTH);
    const files: File[] = [{ path: entriesPath(index, entries.length), bytes: entriesBundle(entries) }];
    for (const entry of entries)
      for (const { level, hash } of this.#frontier.append(leafHash(entry)))
        if (level % 8 === 0) this.#put(level / 8, hash, files);
    return files;
  }

  /** The tiles that are not full: after the last entry. */
  end(): File[] {
    return this.#open.flatMap((hashes, level) =>
      hashes.length === 0
        ? []
        : [{ path: tilePath(level, this.#done[level] ?? 0, hashes.length), bytes: Buffer.concat(hashes) }],
    );
  }

  #put(level: number, hash: Buffer, files: File[]): void {
    this.#open[level] ??= [];
    const hashes = this.#open[level];
    hashes.push(hash);
    if (hashes.length < TILE_WIDTH) return;
    const index = this.#done[level] ?? 0;
    files.push({ path: tilePath(level, index), bytes: Buffer.concat(hashes) });
    this.#done[level] = index + 1;
    this.#open[level] = [];
  }
}
