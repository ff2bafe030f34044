import { join, resolve } from "node:path";
import { SallyportError } from "../core/errors.ts";
import type { Config } from "./config.ts";

/** Where imported root file systems are: `runtimes` of sallyport.yaml, else in the state directory. */
export function runtimesDir(config: Pick<Config, "runtimes">, stateDir: string): string {
  return config.runtimes === undefined ? join(stateDir, "runtimes") : resolve(config.runtimes);
}

/** The root file system of a digest ("sha256:<64 hex>"), whose directory is named after it. */
export function runtimePath(dir: string, digest: string): string {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new SallyportError("internal", "That is no digest.");
  return join(dir, digest.replace(":", "-"));
}
