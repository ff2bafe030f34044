import { randomBytes } from "node:crypto";

/** An id that is never used again, unlike a name: "u-" and 24 hex digits. */
export function newId(prefix: "u" | "g"): string {
  return `${prefix}-${randomBytes(12).toString("hex")}`;
}

/** Pages are bounded whatever a caller asks for. */
export function pageLimit(wanted: number | undefined, usual = 100, most = 1000): number {
  if (wanted === undefined || !Number.isInteger(wanted)) return usual;
  return Math.min(most, Math.max(1, wanted));
}
