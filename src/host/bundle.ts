import { Script } from "node:vm";
import { asset, assetNames } from "./asset.ts";

/** The only modules outside a bundle are Node's own: no path, so no file can be loaded as code. */
function requireBuiltin(id: string): unknown {
  const found = process.getBuiltinModule(id);
  if (found === undefined) throw new Error(`the bundle asks for ${id}, which is not part of Node`);
  return found;
}

/**
 * Runs one of the bundles that scripts/build put into the executable ("roles/keeper", "cli/init") and returns its
 * exports. V8's code cache, made at build time, saves compiling it; a cache that V8 does not take is ignored.
 */
export function loadBundle(name: string): unknown {
  const source = asset(`bundle/${name}.cjs`).toString("utf8");
  const cacheName = `bundle/${name}.cache`;
  const cachedData = assetNames("bundle/").includes(cacheName) ? asset(cacheName) : undefined;
  const script = new Script(source, { filename: `${name}.cjs`, ...(cachedData && { cachedData }) });
  const module = { exports: {} };
  script.runInThisContext()(module.exports, requireBuiltin, module);
  return module.exports;
}
