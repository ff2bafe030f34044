import { join } from "node:path";
import { isSea } from "node:sea";

/** True in dist/sallyport, false when plain Node runs the .ts files (development, tests). */
export const isPackaged: boolean = isSea();

/** Replaced at build time by package.json's version and the commit; see scripts/build. */
declare const SALLYPORT_VERSION: string | undefined;
export const VERSION: string = typeof SALLYPORT_VERSION === "string" ? SALLYPORT_VERSION : "0.0.0-dev";

/** What to exec to start this program again with other arguments: `[file, ...args, ...yours]`. */
export function selfExec(): { file: string; args: string[] } {
  if (isPackaged) return { file: "/proc/self/exe", args: [] };
  return { file: process.execPath, args: ["--disable-sigusr1", repoPath("src/main.ts")] };
}

/** A path inside the source tree; development only. */
export function repoPath(path: string): string {
  if (isPackaged) throw new Error(`there is no source tree beside the executable (${path})`);
  return join(import.meta.dirname, "../..", path);
}
