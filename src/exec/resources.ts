import type { SpecBind } from "../host/bind.ts";
import { checkResource, type HostResource } from "../host/resources.ts";
import type { Grant } from "./grant.ts";
import { launchFailed, type RunResult } from "./result.ts";

/**
 * The grant with what root listed under these names; or the run's end, naming the one that it is not given. Each is looked at
 * again, and the launcher opens only what was found then.
 */
export function withResources(
  grant: Grant,
  names: readonly string[],
  listed: readonly HostResource[],
): Grant | RunResult {
  const binds: SpecBind[] = [];
  for (const name of names) {
    const resource = listed.find((r) => r.name === name);
    if (resource === undefined) return refused(name, "sallyport.yaml of this host does not list it");
    const found = checkResource(resource);
    if (typeof found === "string") return refused(name, `${resource.path} ${found}`);
    const { kind, dev, ino } = found;
    binds.push({ name, path: resource.path, kind, writable: resource.mode === "rw", dev, ino });
  }
  return binds.length === 0 ? grant : { ...grant, spec: { ...grant.spec, binds } };
}

function refused(resource: string, why: string): RunResult {
  return { ...launchFailed(`The resource ${resource} is not given: ${why}.`), resource };
}
