import { SallyportError } from "../core/errors.ts";

/** What is typed on a command line, read or refused: each throws `usage` with what is wrong about the words. */

/** Milliseconds since the epoch. */
export function timeOf(text: string): number {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new SallyportError("usage", `"${text}" is no ISO 8601 time.`);
  return ms;
}

/** `what` is what the sentence says it is not. */
export function wholeFrom(least: 0 | 1, text: string, what = "whole number"): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < least) throw new SallyportError("usage", `"${text}" is no ${what}.`);
  return n;
}

/** Which version of what an outside vault holds; null: whichever is the newest. */
export function vaultVersionOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (!/^[1-9][0-9]{0,9}$/.test(text))
    throw new SallyportError("usage", "--version is a whole number from 1.");
  return Number(text);
}
