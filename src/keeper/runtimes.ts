import { existsSync } from "node:fs";
import { SallyportError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { getRuntime } from "../store/runtimes.ts";
import type { Reader } from "../store/tx.ts";

/** The digest of the root file system that an Op asks for; undefined: the host's own. Throws `not_found` naming the command. */
export async function rootOf(reader: Reader, manifest: Manifest): Promise<string | undefined> {
  if (manifest.root === undefined) return undefined;
  const row = await getRuntime(reader, manifest.root);
  if (row !== undefined) return row.digest;
  throw new SallyportError(
    "not_found",
    `${manifest.op} asks for the root file system ${manifest.root}, which is not imported. Import it with: sallyport runtime import ${manifest.root} PATH`,
  );
}

/** Where an Op's PATH leads on the host. */
const PYTHON = ["/usr/local/bin/python3", "/usr/bin/python3"];

/** What an Op would be missing here; it may be installed before it runs, so that nothing is refused. */
export function interpreterWarnings({ command, root }: Manifest): string[] {
  if (command.kind !== "runtime" || command.runtime !== "python" || root !== undefined) return [];
  // Landlock keeps the keeper from opening them, not from looking whether they are there.
  if (PYTHON.some((path) => existsSync(path))) return [];
  return [
    "runtime: this host has no python3, so that the Op can't run: install it, or name an imported root file system that has one (root: NAME).",
  ];
}
