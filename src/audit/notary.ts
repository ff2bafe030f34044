import { EMPTY_ROOT, type Hash, verifyConsistency } from "./merkle.ts";

/** The last state of the log that the notary signed; size 0 before the first. */
export type SignedState = { size: number; root: Hash };
export type SignRequest = { fromSize: number; size: number; root: Hash; consistency: readonly Hash[] };

export const NOTHING_SIGNED: SignedState = { size: 0, root: EMPTY_ROOT };

/**
 * The notary's whole judgement: why a state must not be signed, or null. It signs only what extends what it signed, so
 * that nobody who took over the keeper can show one log to one person and another to the next.
 */
export function signRefusal(last: SignedState, request: SignRequest): string | null {
  const { fromSize, size, root, consistency } = request;
  if (size < last.size)
    return `The log has ${size} entries, but ${last.size} were signed: it was cut or an older copy was put back.`;
  if (fromSize !== last.size)
    return `The proof starts at ${fromSize} entries, but ${last.size} were signed last.`;
  if (size === last.size && !root.equals(last.root))
    return `The log's ${size} entries are not those that were signed: entries were changed.`;
  if (
    !verifyConsistency({ from: last.size, to: size, fromRoot: last.root, toRoot: root, proof: consistency })
  )
    return `The proof does not show that the log's ${size} entries extend the ${last.size} that were signed.`;
  return null;
}
