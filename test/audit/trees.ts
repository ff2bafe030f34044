import { checkpointText } from "../../src/audit/checkpoint.ts";
import { makeEntry } from "../../src/audit/event.ts";
import {
  EMPTY_ROOT,
  Frontier,
  type Hash,
  leafHash,
  type NodeId,
  type NodeSource,
  nodeHash,
  rootAt,
} from "../../src/audit/merkle.ts";
import { signerFromSeed, signNote } from "../../src/audit/note.ts";

/** RFC 6962's definition of the Merkle tree hash, written down as it stands there: the yardstick for everything else. */
export function definition(leaves: readonly Hash[]): Hash {
  if (leaves.length === 0) return EMPTY_ROOT;
  if (leaves.length === 1) return leaves[0]!;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(definition(leaves.slice(0, k)), definition(leaves.slice(k)));
}

/** A stored tree, as a database would keep it. */
export class StoredTree {
  readonly frontier = Frontier.empty();
  readonly hashes = new Map<string, Hash>();
  readonly leaves: Hash[] = [];
  reads = 0;

  static of(entries: Iterable<Uint8Array>): StoredTree {
    const tree = new StoredTree();
    for (const entry of entries) tree.add(entry);
    return tree;
  }

  add(entry: Uint8Array): void {
    const leaf = leafHash(entry);
    this.leaves.push(leaf);
    for (const node of this.frontier.append(leaf)) this.hashes.set(`${node.level}/${node.index}`, node.hash);
  }

  readonly source: NodeSource = async (nodes: readonly NodeId[]) => {
    this.reads += nodes.length;
    return nodes.map(({ level, index }) => {
      const hash = this.hashes.get(`${level}/${index}`);
      if (hash === undefined) throw new Error(`node ${level}/${index} is not stored`);
      return hash;
    });
  };
}

export const flipped = (bytes: Uint8Array, at = 0): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 1;
  return copy;
};

export const signer = signerFromSeed("sallyport.example/log", Buffer.alloc(32, 1));

/** An entry's bytes, of a request named q-<i>. */
export const entryOf = (i: number | string): Buffer =>
  Buffer.from(
    makeEntry({
      type: "request.received",
      outcome: "success",
      actor: { kind: "system" },
      data: { request: `q-${i}` },
    }).bytes,
  );

/** The tree's first `size` entries, as a checkpoint that `by` signed. */
export const noteOf = async (tree: StoredTree, size: number, by = signer): Promise<string> =>
  signNote(checkpointText({ origin: signer.name, size, root: await rootAt(size, tree.source) }), [by]);
