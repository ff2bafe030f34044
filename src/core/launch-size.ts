import { type Args, toEnv, toInputJson } from "./args.ts";
import type { Manifest } from "./manifest.ts";
import { inputOf } from "./manifest-command.ts";

/** Bounds of one launch, in bytes; the launcher has the same ones (sandbox/spec.h). */
export const LAUNCH_BYTES = {
  /** Arguments, environment and settings, with a header each. */
  other: 64 * 1024,
  header: 8,
  /** Of `other`, for what every run is given besides its arguments: PATH and its like, limits, working directory. */
  own: 2 * 1024,
  /** All arguments of a run as JSON: /op/input.json, and what is stored of them. */
  json: 32 * 1024,
} as const;

/** Why these arguments do not fit a launch, as the end of a sentence; null: they do. An input not given takes no room. */
export function sizeFault(manifest: Manifest, args: Args): string | null {
  const json = Buffer.byteLength(toInputJson(manifest, args));
  if (json > LAUNCH_BYTES.json) return `take ${json} bytes as JSON; at most ${LAUNCH_BYTES.json} fit a run`;
  const { command } = manifest;
  const argv = command.kind === "runtime" ? [command.entry] : command.argv;
  let sum = 0;
  for (const element of argv) {
    const name = inputOf(element);
    sum += LAUNCH_BYTES.header + Buffer.byteLength(String(name === null ? element : (args[name] ?? "")));
  }
  for (const [name, value] of Object.entries(toEnv(manifest, args)))
    sum += LAUNCH_BYTES.header + Buffer.byteLength(`${name}=${value}`);
  const max = LAUNCH_BYTES.other - LAUNCH_BYTES.own;
  return sum <= max ? null : `take ${sum} bytes in argv and environment together; at most ${max} fit a run`;
}
