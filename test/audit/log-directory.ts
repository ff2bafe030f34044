import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../src/audit/checkpoint.ts";
import { Frontier, type Hash } from "../../src/audit/merkle.ts";
import { tileNodes, tilePath, tilesBetween } from "../../src/audit/tiles.ts";

const HASH_BYTES = 32;

export type LogDirectoryReport = { size: number; wrong: string[]; surplus: string[] };

/**
 * Reads a log directory as an outsider would: the tree is made anew from the leaf hashes in the tiles, and the signed root
 * and every other tile are held against it; `surplus` are files that the tree has no use for. Throws where there is no checkpoint that this log's key signed.
 */
export function checkLogDirectory(dir: string, origin: string, vkeys: readonly string[]): LogDirectoryReport {
  const { size, root } = openCheckpoint(readFileSync(join(dir, "checkpoint")), origin, vkeys);
  const tree = Frontier.empty();
  const hashes = new Map<string, Hash>();
  const wrong: string[] = [];
  const expected = new Set<string>();
  for (const tile of tilesBetween(0, size)) {
    const path = tilePath(tile.level, tile.index, tile.width);
    expected.add(path);
    const bytes = read(join(dir, path));
    if (bytes?.length !== tile.width * HASH_BYTES) {
      wrong.push(`${path}: ${bytes === undefined ? "missing" : `${bytes.length} bytes`}`);
      continue;
    }
    for (const [i, { level, index }] of tileNodes(tile).entries()) {
      const hash = bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES);
      if (level === 0)
        for (const node of tree.append(hash)) hashes.set(`${node.level}/${node.index}`, node.hash);
      else if (hashes.get(`${level}/${index}`)?.equals(hash) !== true)
        wrong.push(`${path}: hash ${i} is not the tree's`);
    }
  }
  if (!tree.root().equals(root)) wrong.push("the leaf hashes do not give the signed root");
  const surplus = filesBelow(dir, "tile").filter((path) => !expected.has(path));
  return { size, wrong, surplus };
}

function read(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

function filesBelow(dir: string, path: string): string[] {
  return readdirSync(join(dir, path), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? filesBelow(dir, `${path}/${entry.name}`) : [`${path}/${entry.name}`],
  );
}
