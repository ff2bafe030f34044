import { SallyportError } from "../core/errors.ts";
import type { Hash } from "./merkle.ts";
import { type Verifier, verifyNote } from "./note.ts";

/** C2SP tlog-checkpoint: origin, size, root; no extension lines. */
export type Checkpoint = { origin: string; size: number; root: Hash };

const ORIGIN = /^[^\s+]{1,200}$/u;
const FORM = /^([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n$/u;

const bad = (what: string): SallyportError => new SallyportError("log_damaged", `${what}.`);

/** A log's origin is its key's name too, so it may hold neither blanks nor plus signs. Throws `input_invalid`. */
export function checkOrigin(origin: string): string {
  if (!ORIGIN.test(origin) || !origin.isWellFormed())
    throw new SallyportError(
      "input_invalid",
      "A log's origin is 1 to 200 characters without blanks and plus signs.",
    );
  return origin;
}

/** The three lines that are signed. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  checkOrigin(origin);
  if (!Number.isSafeInteger(size) || size < 0 || root.length !== 32)
    throw new SallyportError("internal", "Not a checkpoint's size and root.");
  return `${origin}\n${size}\n${root.toString("base64")}\n`;
}

/** Parses a note's text. Throws `log_damaged`. Who signed it is not looked at: see openCheckpoint. */
export function parseCheckpointText(text: string): Checkpoint {
  const match = FORM.exec(text);
  if (match === null) throw bad("A checkpoint is not origin, size and root");
  const root = Buffer.from(match[3]!, "base64");
  const size = Number(match[2]);
  if (!Number.isSafeInteger(size) || root.toString("base64") !== match[3])
    throw bad("A checkpoint's size or root is malformed");
  return { origin: match[1]!, size, root };
}

/** A checkpoint of this log, signed by a known key and by the log's own name. Throws `log_damaged`. */
export function openCheckpoint(
  note: string | Uint8Array,
  origin: string,
  vkeys: readonly (string | Verifier)[],
): Checkpoint {
  const { text, verified } = verifyNote(note, vkeys);
  const checkpoint = parseCheckpointText(text);
  if (checkpoint.origin !== origin)
    throw bad(`A checkpoint is of another log (${JSON.stringify(checkpoint.origin)})`);
  if (!verified.includes(origin)) throw bad("A checkpoint is not signed by the log's own key");
  return checkpoint;
}
