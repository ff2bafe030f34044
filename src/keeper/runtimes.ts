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
