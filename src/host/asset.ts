import { existsSync, readdirSync, readFileSync } from "node:fs";
import { getAssetKeys, getRawAsset } from "node:sea";
import { SallyportError } from "../core/errors.ts";
import { isPackaged, repoPath } from "./self.ts";

/** Folders of the source tree whose files are assets under their own path. */
const TREES = ["policies/", "examples/"];

function devPath(name: string): string {
  return repoPath(TREES.some((tree) => name.startsWith(tree)) ? name : `build/${name}`);
}

/**
 * A file carried inside the executable, as a copy of its own. Names are the path in the source tree for policies/ and
 * examples/, else the path under build/ ("launcher", "seccomp/default.bpf").
 */
export function asset(name: string): Buffer {
  try {
    return isPackaged ? Buffer.from(new Uint8Array(getRawAsset(name))) : readFileSync(devPath(name));
  } catch (cause) {
    const hint = isPackaged ? "" : " Run scripts/build first.";
    throw new SallyportError("internal", `The executable carries nothing named ${name}.${hint}`, { cause });
  }
}

/** As `asset`, decoded as UTF-8. */
export function assetText(name: string): string {
  return asset(name).toString("utf8");
}

/** The names of all assets that begin with `prefix`, sorted; `prefix` ends in a slash ("policies/seccomp/"). */
export function assetNames(prefix: string): string[] {
  if (isPackaged) {
    return getAssetKeys()
      .filter((name) => name.startsWith(prefix))
      .sort();
  }
  const folder = devPath(prefix);
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => prefix + `${entry.parentPath}/${entry.name}`.slice(folder.length).replace(/^\/+/, ""))
    .sort();
}
