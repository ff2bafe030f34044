import { SallyportError } from "../core/errors.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint.ts";
import { leafHash, verifyInclusion } from "./merkle.ts";

/** C2SP tlog-proof: that an entry is in the tree of a signed checkpoint, to be checked with nothing but the verifier key. */
export type Proof = { index: number; hashes: readonly Uint8Array[]; checkpoint: string };

const HEAD = "c2sp.org/tlog-proof@v1";
/** A tree of 2^53 leaves has no more levels. */
const MAX_HASHES = 53;
/** Bytes of a proof with a checkpoint and the lines of many witnesses. */
export const PROOF_BYTES = 64 * 1024;

const bad = (what: string): SallyportError => new SallyportError("log_damaged", `The proof ${what}.`);

export function formatProof({ index, hashes, checkpoint }: Proof): string {
  const lines = hashes.map((hash) => Buffer.from(hash).toString("base64"));
  return [HEAD, `index ${index}`, ...lines, "", checkpoint].join("\n");
}

/** Throws `log_damaged`. Extra data, which means something to another application alone, is passed over. */
export function parseProof(text: string): Proof {
  if (text.length > PROOF_BYTES) throw bad(`has more than ${PROOF_BYTES} characters`);
  const end = text.indexOf("\n\n");
  if (end === -1) throw bad("has no blank line before its checkpoint");
  const [head, ...lines] = text.slice(0, end).split("\n");
  if (head !== HEAD) throw bad(`does not begin with ${HEAD}`);
  if (lines[0]?.startsWith("extra ")) lines.shift();
  const digits = /^index (0|[1-9][0-9]{0,15})$/.exec(lines.shift() ?? "")?.[1];
  const index = Number(digits);
  if (digits === undefined || !Number.isSafeInteger(index)) throw bad("has no index of an entry");
  if (lines.length > MAX_HASHES) throw bad(`has more than ${MAX_HASHES} hashes`);
  const hashes = lines.map((line) => {
    const hash = Buffer.from(line, "base64");
    if (hash.length !== 32 || hash.toString("base64") !== line) throw bad("has a line that is no hash");
    return hash;
  });
  return { index, hashes, checkpoint: text.slice(end + 2) };
}

/**
 * Whether these bytes are the entry at the proof's index, in a tree that the log's own key signed. Throws `log_damaged` that
 * says what does not hold.
 */
export function verifyProof(
  text: string,
  o: { entry: Uint8Array; origin: string; vkeys: readonly string[] },
): { index: number; checkpoint: Checkpoint } {
  const proof = parseProof(text);
  const checkpoint = openCheckpoint(proof.checkpoint, o.origin, o.vkeys);
  const { index, hashes } = proof;
  const { size, root } = checkpoint;
  if (!verifyInclusion({ index, size, leaf: leafHash(o.entry), root, proof: hashes }))
    throw bad(`does not lead from this entry to the signed root: it is not entry ${index} of that log`);
  return { index, checkpoint };
}
