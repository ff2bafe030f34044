import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { openCheckpoint } from "../audit/checkpoint.ts";
import { TILE_WIDTH, type TileId, tileBytes, tilePath, tilesBetween } from "../audit/tiles.ts";
import { readBounded } from "../keys/file.ts";
import type { Log } from "../store/log.ts";

const CHECKPOINT_BYTES = 4096;
const RETRY_MS = 2000;
const STOP_MS = 500;

type Shown = { size: number; note: string };
type Options = {
  dir: string;
  log: Log;
  origin: string;
  /** Every key that the log was ever signed with. */
  vkeys: () => readonly string[];
  failed: (error: unknown) => void;
};

/**
 * The log directory: `checkpoint` and the hash tiles below it (C2SP tlog-tiles), in clear, for they tell nothing but that
 * the log only grew. It follows the signed checkpoints at its own pace: a full or missing disk delays no signature, and
 * what a failure or a kill kept from it is made good later, for its own `checkpoint` says how far it came.
 */
export class LogDirectory {
  readonly #o: Options;
  #written: number | undefined;
  #wanted: Shown | undefined;
  #running: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isFailing = false;
  #stopped = false;

  constructor(o: Options) {
    this.#o = o;
  }

  /** Puts this checkpoint there, and every tile that it covers and that is not there yet. A newer one overtakes it. */
  show(checkpoint: Shown): void {
    if (this.#stopped || checkpoint.size === this.#written) return;
    this.#wanted = checkpoint;
    this.#start();
  }

  /** Resolves when it is not at work: all that was shown is there, or could not be written. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Ends what is under way within the time that a stop has; the next start goes on from there. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.abandon(), STOP_MS);
    await this.#running;
    clearTimeout(timer);
    this.abandon();
  }

  abandon(): void {
    this.#stopped = true;
    clearTimeout(this.#retry);
  }

  /** One at a time; without work there is nothing to wait for. */
  #start(): void {
    if (this.#running !== undefined || this.#wanted === undefined || this.#stopped) return;
    clearTimeout(this.#retry);
    this.#running = this.#work().then(
      () => {
        this.#running = undefined;
        // What was shown after the last look, and before this.
        this.#start();
      },
      (error: unknown) => {
        this.#running = undefined;
        this.#couldNot(error);
      },
    );
  }

  async #work(): Promise<void> {
    while (this.#wanted !== undefined && !this.#stopped) {
      const next = this.#wanted;
      await this.#write(next);
      this.#isFailing = false;
      if (this.#wanted === next) this.#wanted = undefined;
    }
  }

  #couldNot(cause: unknown): void {
    if (this.#stopped) return;
    // Once, not every two seconds for as long as a disk is full.
    if (!this.#isFailing) {
      const what = `Checkpoints and hash tiles can't be written to ${this.#o.dir}: ${(cause as Error).message}.`;
      const todo =
        "The log itself goes on. Make room or let the keeper write there; what is missing follows.";
      this.#o.failed(new Error(`${what} ${todo}`, { cause }));
    }
    this.#isFailing = true;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#start(), RETRY_MS).unref();
  }

  /** Tiles first: whoever reads the checkpoint finds all that it covers. */
  async #write({ size, note }: Shown): Promise<void> {
    this.#written ??= await this.#found();
    if (size <= this.#written) return;
    const tiles = tilesBetween(this.#written, size);
    for (const tile of tiles) {
      if (this.#stopped) return;
      await replace(this.#path(tile), await tileBytes(tile, this.#o.log.nodes));
      // C2SP tlog-tiles: who misses a partial tile takes the full one.
      if (tile.width === TILE_WIDTH) await rm(partials(this.#path(tile)), { recursive: true, force: true });
    }
    await replace(join(this.#o.dir, "checkpoint"), Buffer.from(note));
    this.#written = size;
    // Only now: the checkpoint that was there until here spoke of the older partial tiles.
    for (const tile of tiles) if (tile.width < TILE_WIDTH) await removeOthers(this.#path(tile));
  }

  #path({ level, index, width }: TileId): string {
    return join(this.#o.dir, tilePath(level, index, width));
  }

  /** How far an earlier session came. A checkpoint that is absent, damaged or of another history: from the start. */
  async #found(): Promise<number> {
    const { dir, log, origin, vkeys } = this.#o;
    try {
      const bytes = readBounded(join(dir, "checkpoint"), CHECKPOINT_BYTES);
      if (bytes === null) return 0;
      const { size, root } = openCheckpoint(bytes, origin, vkeys());
      return (await log.rootAt(size)).equals(root) ? size : 0;
    } catch {
      return 0;
    }
  }
}

const partials = (full: string): string => `${full}.p`;

async function removeOthers(file: string): Promise<void> {
  const dir = dirname(file);
  for (const name of await readdir(dir)) if (name !== basename(file)) await rm(join(dir, name));
}

/** On the disk, name and content, when it resolves. */
async function replace(file: string, bytes: Uint8Array): Promise<void> {
  const dir = dirname(file);
  const made = await mkdir(dir, { recursive: true, mode: 0o755 });
  const temp = `${file}.new`;
  const handle = await open(temp, "w", 0o644);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temp, file);
  await syncDirectory(dir);
  for (let at = dir; made !== undefined && at.length >= made.length; at = dirname(at))
    await syncDirectory(dirname(at));
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
