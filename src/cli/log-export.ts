import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { openCheckpoint } from "../audit/checkpoint.ts";
import { TileWriter } from "../audit/tile-writer.ts";
import { parseEntriesBundle, TILE_WIDTH } from "../audit/tiles.ts";
import { SallyportError } from "../core/errors.ts";

export type Head = { size: number; checkpoint: string; origin: string; vkeys: string[] };
/** Entries [from, to) as a bundle. */
export type Fetch = (from: number, to: number) => Promise<Buffer>;

/** The entries of a log, a bundle at a time. */
export async function* bundles(size: number, fetch: Fetch): AsyncGenerator<Buffer[]> {
  for (let from = 0; from < size; from += TILE_WIDTH) {
    const to = Math.min(from + TILE_WIDTH, size);
    const entries = parseEntriesBundle(await fetch(from, to));
    if (entries.length !== to - from)
      throw new SallyportError("log_damaged", `Entries ${from} to ${to - 1} did not all come.`);
    yield entries;
  }
}

/**
 * Writes the log as C2SP tlog-tiles: `checkpoint`, `tile/...`, entries too, and `vkey`. The checkpoint comes last, after the root
 * that it signs was found again from the entries. Throws `conflict` where something else lies in the directory.
 */
export async function writeTiles(dir: string, head: Head, fetch: Fetch): Promise<{ files: number }> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const found = readdirSync(dir);
  if (found.length > 0 && !found.includes("vkey"))
    throw new SallyportError("conflict", `${dir} holds something else; name an empty or a new directory.`);
  const { root } = openCheckpoint(head.checkpoint, head.origin, head.vkeys);
  const writer = new TileWriter();
  let files = 0;
  const put = (path: string, bytes: Uint8Array | string): void => {
    replace(join(dir, path), bytes);
    files++;
  };
  put("vkey", head.vkeys.map((vkey) => `${vkey}\n`).join(""));
  for await (const entries of bundles(head.size, fetch))
    for (const { path, bytes } of writer.add(entries)) put(path, bytes);
  for (const { path, bytes } of writer.end()) put(path, bytes);
  if (!writer.root().equals(root))
    throw new SallyportError(
      "log_damaged",
      `The ${head.size} entries do not give the signed root; no checkpoint was written. See: sallyport audit verify`,
    );
  put("checkpoint", head.checkpoint);
  return { files };
}

function replace(file: string, bytes: Uint8Array | string): void {
  const dir = dirname(file);
  if (!existsSync(dir)) mkdirSync(dir, { recursive: true, mode: 0o700 });
  const temp = `${file}.new`;
  writeFileSync(temp, bytes, { mode: 0o600 });
  renameSync(temp, file);
}
