import type { Manifest } from "./manifest.ts";

/** How an Op is given something of the host: a path read-only or to write, or a Unix socket to connect to. */
export type ResourceMode = "ro" | "rw" | "socket";
/** What root listed in sallyport.yaml, by name. */
export type ResourceModes = ReadonlyMap<string, ResourceMode>;

/** "name:mode" of each resource that the manifest asks for, as policies and the log name them; "name:unlisted" where root lists none. */
export function resourceTags(manifest: Pick<Manifest, "resources">, listed: ResourceModes): string[] {
  return manifest.resources.map((name) => `${name}:${listed.get(name) ?? "unlisted"}`);
}

/** Sentences on what this host does not list, or the Op's profile keeps it from; such an Op can't run here. */
export function resourceFaults(
  { resources, seccomp }: Pick<Manifest, "resources" | "seccomp">,
  listed: ResourceModes,
): string[] {
  return resources.flatMap((name) => {
    const mode = listed.get(name);
    if (mode === undefined)
      return [
        `it asks for the resource ${name}, which sallyport.yaml of this host does not list under resources`,
      ];
    return mode === "socket" && seccomp === "strict"
      ? [`the resource ${name} is a socket, and seccomp: strict lets an Op connect to none; leave it out`]
      : [];
  });
}
