import { SallyportError } from "./errors.ts";

/** Bounds of a published Op. Bytes, except for counts. */
export const BUNDLE_LIMITS = {
  files: 512,
  // With the files, what the launcher makes room for (sandbox/mounts.c: nr_inodes).
  folders: 512,
  total: 8 * 1024 * 1024,
  path: 255,
  depth: 16,
} as const;

/**
 * The one form of a path inside a bundle: relative, "/" between parts, no "." or ".." part, printable, well-formed.
 * Returns the sentence that says what is wrong, null when the path is good.
 */
export function bundlePathFault(path: string): string | null {
  if (path === "") return "it is empty";
  if (!path.isWellFormed()) return "it is not valid UTF-8";
  if (Buffer.byteLength(path) > BUNDLE_LIMITS.path) return `it is longer than ${BUNDLE_LIMITS.path} bytes`;
  // Invisible and reordering characters would let a reviewer see another name than the one that runs.
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]/u.test(path)) return "it holds a control or invisible character";
  if (path.includes("\\")) return "it holds a backslash";
  if (path.startsWith("/")) return "it is absolute; paths are relative to the Op's folder";
  const parts = path.split("/");
  if (parts.length > BUNDLE_LIMITS.depth) return `it is deeper than ${BUNDLE_LIMITS.depth} folders`;
  if (parts.includes("..")) return "it leaves the Op's folder by '..'";
  if (parts.includes("") || parts.includes(".")) return "it has an empty or '.' part";
  return null;
}

export function checkBundlePath(path: string): string {
  const fault = bundlePathFault(path);
  if (fault === null) return path;
  throw new SallyportError("bundle_invalid", `The path ${showPath(path)} can't be used: ${fault}.`);
}

export function showPath(path: string): string {
  const short = path.length > 80 ? `${path.slice(0, 80)}...` : path;
  return JSON.stringify(short).replace(/[^\x20-\x7e]/gu, (c) => `\\u{${c.codePointAt(0)?.toString(16)}}`);
}
