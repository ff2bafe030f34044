import { type Args, toArgv, toEnv, toInputJson } from "../core/args.ts";
import type { Engine } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import { sizeFault } from "../core/launch-size.ts";
import type { Manifest } from "../core/manifest.ts";
import { targetText } from "../core/manifest-shape.ts";
import { type ResourceModes, resourceFaults } from "../core/resources.ts";
import type { MessageOf } from "../wire/messages.ts";

/** Throws `input_invalid` before anything is recorded. */
export function checkArgsSize(manifest: Manifest, args: Args): void {
  const fault = sizeFault(manifest, args);
  if (fault !== null) throw new SallyportError("input_invalid", `The arguments ${fault}.`);
}

/** `listed`: what this host lists. Throws `unsupported`, before anything is recorded as requested. */
export function refuseUngrantable(manifest: Manifest, listed: ResourceModes): void {
  const faults = resourceFaults(manifest, listed);
  if (faults.length > 0)
    throw new SallyportError("unsupported", `${manifest.op} can't run here: ${faults.join("; ")}.`);
}

/** The order to the runner: its content, inputs and limits, and nothing else. */
export function orderOf(
  run: string,
  manifest: Manifest,
  digest: string,
  args: Args,
  { root, engine }: { root: string | undefined; engine: Engine },
): MessageOf<"run.order"> {
  return {
    type: "run.order",
    run,
    op: manifest.op,
    digest,
    argv: toArgv(manifest, args),
    env: toEnv(manifest, args),
    input: toInputJson(manifest, args),
    limits: manifest.limits,
    engine,
    seccomp: profileOf(manifest),
    network: manifest.network.map(targetText),
    ...(root === undefined ? {} : { root }),
    ...(manifest.resources.length === 0 ? {} : { resources: [...manifest.resources] }),
    secrets: manifest.secrets.map(({ name, as }) => ({ name, as })),
  };
}

/** Of the Op's own network namespace `network` allows internet sockets; apart from those it is `default`. */
function profileOf({ seccomp, network }: Manifest): string {
  return seccomp === "default" && network.length > 0 ? "network" : seccomp;
}
