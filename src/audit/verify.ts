import { SallyportError } from "../core/errors.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { parseEntry } from "./entry.ts";
import { Frontier, type Hash, leafHash, type NodeId, type NodeSource } from "./merkle.ts";
import { parseVkey } from "./note.ts";

type Stream<T> = AsyncIterable<T> | Iterable<T>;

export type VerifyInput = {
  /** Every entry's bytes, from the first. */
  entries: Stream<Uint8Array>;
  /** Signed checkpoints in order of their size. */
  checkpoints: Stream<string>;
  origin: string;
  /** Every key that the log was ever signed with. */
  vkeys: readonly string[];
  /** A state that the verifier knows from elsewhere (a checkpoint that a sink kept). */
  expect?: { size: number; root: Uint8Array } | undefined;
  /** Stored tree hashes; with them a changed entry is named exactly, without them as a range. */
  nodes?: NodeSource | undefined;
};

/** `entry`: the first that is wrong, or the first of those up to `upTo` one of which is. `checkpoint`: by its size. */
export type BadPlace = { entry?: number; upTo?: number; checkpoint?: number };

export type VerifyReport =
  | { ok: true; size: number; root: Hash; checkpoints: number; signedSize: number }
  | { ok: false; at: BadPlace; what: string; size: number };

class Bad extends Error {
  readonly at: BadPlace;
  constructor(at: BadPlace, what: string) {
    super(what);
    this.at = at;
  }
}

const BATCH = 256;

/**
 * Recomputes the tree from the entries, in memory for one batch, and holds it against every checkpoint. Stops at the
 * first thing that is wrong and names its place. Rejects only when a source can't be read.
 */
export async function verifyLog(input: VerifyInput): Promise<VerifyReport> {
  const walk = new Walk(input);
  try {
    return await walk.run();
  } catch (error) {
    if (!(error instanceof Bad)) throw error;
    return { ok: false, at: error.at, what: error.message, size: walk.size };
  }
}

class Walk {
  readonly #input: VerifyInput;
  readonly #frontier = Frontier.empty();
  readonly #checkpoints: AsyncIterator<string>;
  readonly #verifiers;
  #next: Checkpoint | undefined;
  #count = 0;
  #signed = 0;
  #unchecked: (NodeId & { hash: Hash })[] = [];

  constructor(input: VerifyInput) {
    this.#input = input;
    this.#verifiers = input.vkeys.map(parseVkey);
    this.#checkpoints = iterate(input.checkpoints);
  }

  get size(): number {
    return this.#frontier.size;
  }

  async run(): Promise<VerifyReport> {
    await this.#advance();
    await this.#settle();
    for await (const entry of this.#input.entries) {
      const index = this.#frontier.size;
      checkEntry(entry, index);
      this.#unchecked.push(...this.#frontier.append(leafHash(entry)));
      if (this.#unchecked.length >= BATCH) await this.#compareNodes();
      await this.#settle();
    }
    await this.#compareNodes();
    this.#refuseEarlyEnd();
    return {
      ok: true,
      size: this.size,
      root: this.#frontier.root(),
      checkpoints: this.#count,
      signedSize: this.#signed,
    };
  }

  /** Everything that is said of the tree at its present size. */
  async #settle(): Promise<void> {
    const { expect } = this.#input;
    if (expect?.size === this.size) await this.#compareRoot(expect.root, "the state known from elsewhere");
    while (this.#next?.size === this.size) {
      await this.#compareRoot(this.#next.root, "the signed checkpoint");
      this.#count++;
      this.#signed = this.size;
      await this.#advance();
    }
  }

  async #compareRoot(root: Uint8Array, whose: string): Promise<void> {
    if (this.#frontier.root().equals(root)) return;
    // The stored hashes may name the very entry.
    await this.#compareNodes();
    const what = `the entries do not give the root of ${whose} over ${this.size} entries: one was changed, dropped, inserted or swapped`;
    if (this.size === 0) throw new Bad({ checkpoint: 0 }, what);
    throw new Bad({ entry: this.#signed, upTo: this.size - 1, checkpoint: this.size }, what);
  }

  async #compareNodes(): Promise<void> {
    const nodes = this.#unchecked;
    this.#unchecked = [];
    if (this.#input.nodes === undefined || nodes.length === 0) return;
    const stored = await this.#input.nodes(nodes);
    for (const [i, node] of nodes.entries()) {
      if (node.hash.equals(stored[i]!)) continue;
      const first = node.index * 2 ** node.level;
      const what =
        node.level === 0
          ? "the entry is not the one whose hash was stored"
          : "a stored tree hash was changed";
      throw new Bad(
        node.level === 0 ? { entry: first } : { entry: first, upTo: first + 2 ** node.level - 1 },
        what,
      );
    }
  }

  async #advance(): Promise<void> {
    const before = this.#next;
    const { value, done } = await this.#checkpoints.next();
    if (done === true) {
      this.#next = undefined;
      return;
    }
    let next: Checkpoint;
    try {
      next = openCheckpoint(value, this.#input.origin, this.#verifiers);
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      throw new Bad(
        { checkpoint: claimedSize(value) ?? before?.size ?? 0 },
        `a checkpoint is not valid: ${error.detail}`,
      );
    }
    if (before !== undefined && next.size < before.size)
      throw new Bad(
        { checkpoint: next.size },
        `a checkpoint of ${next.size} entries came after one of ${before.size}`,
      );
    if (before !== undefined && next.size === before.size && !next.root.equals(before.root))
      throw new Bad(
        { checkpoint: next.size },
        "two checkpoints of one size have different roots: the log was forked",
      );
    this.#next = next;
  }

  #refuseEarlyEnd(): void {
    const { expect } = this.#input;
    const wanted =
      this.#next?.size ?? (expect !== undefined && expect.size > this.size ? expect.size : undefined);
    if (wanted === undefined) return;
    const what = `the log ends after ${this.size} entries, but ${wanted} were signed: it was cut or an older copy was put back`;
    throw new Bad({ entry: this.size, checkpoint: wanted }, what);
  }
}

function checkEntry(entry: Uint8Array, index: number): void {
  try {
    parseEntry(entry);
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    throw new Bad({ entry: index }, error.detail);
  }
}

/** The size that a checkpoint which does not verify says of itself, to name it by. */
function claimedSize(note: string): number | null {
  const line = note.split("\n", 2)[1] ?? "";
  return /^[0-9]{1,15}$/.test(line) ? Number(line) : null;
}

function iterate<T>(stream: Stream<T>): AsyncIterator<T> {
  if (Symbol.asyncIterator in stream) return stream[Symbol.asyncIterator]();
  const inner = stream[Symbol.iterator]();
  return { next: async () => inner.next() };
}
