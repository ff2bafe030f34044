import type { Manifest } from "./manifest.ts";

/** How an Op is given something of the host: a path read-only or to write, or a Unix socket to connect to. */
export type ResourceMode = "ro" | "rw" | "socket";
/** What root listed in sallyport.yaml, by name. */
export type ResourceModes = ReadonlyMap<string, ResourceMode>;

/** "name:mode" of each resource that the manifest asks for, as policies and the log name them; "name:unlisted" where root lists none. */
export function resourceTags(manifest: Pick<Manifest, "resources">, listed: ResourceModes): string[] {
  return manifest.resources.map((name) => `${name}:${listed.get(name) ?? "unlisted"}`);
}

/** Sentences on what this host does not list; such an Op can't run here. */
export function unlistedResources(manifest: Pick<Manifest, "resources">, listed: ResourceModes): string[] {
  return manifest.resources
    .filter((name) => !listed.has(name))
    .map(
      (name) =>
        `it asks for the resource ${name}, which sallyport.yaml of this host does not list under resources`,
    );
}
