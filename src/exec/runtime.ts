import { lstatSync } from "node:fs";
import { SallyportError } from "../core/errors.ts";
import { NODE_PATH } from "../core/manifest-command.ts";
import { runtimePath } from "../host/runtimes.ts";
import type { Grant, RunOrder } from "./grant.ts";

/**
 * Adds what the order asks for instead of the host's programs: the imported root file system of exactly its digest, beneath
 * `runtimes`, and for `runtime: node` our own executable, which there is plain Node. Throws `launch_failed`.
 */
export function withRuntime(grant: Grant, order: Pick<RunOrder, "argv" | "root">, runtimes: string): Grant {
  const isNode = order.argv[0] === NODE_PATH;
  if (!isNode && order.root === undefined) return grant;
  const { spec } = grant;
  // Last, so that a program of the same name on the host or in the image comes first.
  const env = isNode
    ? { ...spec.env, PATH: `${spec.env.PATH}:${NODE_PATH.replace(/\/node$/, "")}` }
    : spec.env;
  return {
    ...grant,
    spec: {
      ...spec,
      env,
      ...(order.root === undefined ? {} : { root: rootOf(runtimes, order.root) }),
      ...(isNode ? { node: process.execPath } : {}),
    },
  };
}

function rootOf(runtimes: string, digest: string): string {
  const path = runtimePath(runtimes, digest);
  // Landlock keeps the runner from opening it, not from looking whether it is there.
  if (runtimes !== "" && lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return path;
  throw new SallyportError(
    "launch_failed",
    `The root file system ${digest} is not in ${runtimes || "any directory"}: import it again.`,
  );
}
