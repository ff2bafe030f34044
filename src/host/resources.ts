import { type BigIntStats, lstatSync, readFileSync } from "node:fs";
import { z } from "zod";
import { SallyportError } from "../core/errors.ts";
import type { ResourceMode } from "../core/resources.ts";
import { forbiddenPlace, type Place } from "./resource-places.ts";
import type { ListedResources } from "./resource-shape.ts";

/** Something of the host that an Op may be given, as root listed it. */
export const HostResource = z.strictObject({
  name: z.string(),
  /** Absolute, without a link in it. */
  path: z.string(),
  mode: z.enum(["ro", "rw", "socket"]),
  /** Who must own it, whenever it is given to a run. */
  uid: z.int(),
});
export type HostResource = z.infer<typeof HostResource>;
export const HostResources = z.array(HostResource);

/** What was at the path a moment ago. */
export type Found = { kind: "directory" | "file" | "socket"; dev: bigint; ino: bigint; uid: number };

const STICKY = 0o1000n;
const OTHERS_WRITE = 0o022n;

const WHY: Readonly<Record<Place, string>> = {
  system: "is a path of the system, which no Op is given",
  control: "is how a daemon is told what to do as root, which no Op is given",
  own: "holds, or is part of, what is sallyport's own (its directories, its configuration or its executable)",
  wide: "holds what belongs to all of the host; list a directory below it",
};

/**
 * `resources` of sallyport.yaml, checked. `own`: see ownPlaces. Without `owner` it is whoever owns the path now; with one, the path
 * may come later, as a daemon's socket does. Throws `config_invalid`, naming the first resource at fault.
 */
export function readResources(listed: ListedResources, own: readonly string[]): HostResource[] {
  const writable = Object.entries(listed).flatMap(([name, entry]) =>
    "path" in entry && entry.mode === "rw" ? [{ name, path: entry.path }] : [],
  );
  return Object.entries(listed).map(([name, entry]) => {
    const path = "socket" in entry ? entry.socket : entry.path;
    const outer = writable.find((other) => path.startsWith(`${other.path}/`));
    // A run that may write to the one could put something else in the place of the other.
    if (outer !== undefined)
      throw refused(name, path, `is part of the resource ${outer.name}, which Ops may write to`);
    const mode: ResourceMode = "socket" in entry ? "socket" : entry.mode;
    const place = forbiddenPlace(path, own);
    if (place !== null) throw refused(name, path, WHY[place]);
    const uid = entry.owner === undefined ? undefined : uidOf(name, entry.owner);
    const found = look(path, mode);
    if (typeof found === "string") throw refused(name, path, found);
    if (found !== null && uid !== undefined && found.uid !== uid)
      throw refused(name, path, `belongs to uid ${found.uid}, not to ${entry.owner}`);
    if (found === null && uid === undefined)
      throw refused(
        name,
        path,
        "is not there, so its owner can't be noted. Make it, or name its owner: owner: LOGIN",
      );
    return { name, path, mode, uid: uid ?? found!.uid };
  });
}

/** What is there now, just before a run is given it; or why it is not given, as the end of a sentence on its path. */
export function checkResource({ path, mode, uid }: HostResource): Found | string {
  const found = look(path, mode);
  if (found === null) return "is not there";
  if (typeof found === "string" || found.uid === uid) return found;
  return `belongs to uid ${found.uid} now, not to uid ${uid} as when the configuration was read`;
}

/** Null: nothing there. No link anywhere, and on the way nobody but root and this account who could put something else there. */
function look(path: string, mode: ResourceMode): Found | string | null {
  const parts = path.split("/").slice(1);
  for (let i = 0; i <= parts.length; i++) {
    const at = i === 0 ? "/" : `/${parts.slice(0, i).join("/")}`;
    let st: BigIntStats;
    try {
      st = lstatSync(at, { bigint: true });
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? "unknown";
      return code === "ENOENT" ? null : `can't be looked at (${at}: ${code})`;
    }
    if (st.isSymbolicLink()) return `leads through a link, ${at}. Name the path that it leads to`;
    if (i === parts.length) return found(st, mode);
    if (!st.isDirectory()) return `leads through ${at}, which is no directory`;
    const trusted = st.uid === 0n || st.uid === BigInt(process.getuid?.() ?? 0);
    // In a directory like /tmp nobody can move what is another's.
    if (!trusted || ((st.mode & OTHERS_WRITE) !== 0n && (st.mode & STICKY) === 0n))
      return `could be put in place of by others: ${at} can be written to by others than root and sallyport's account`;
  }
  return null;
}

function found(st: BigIntStats, mode: ResourceMode): Found | string {
  const kind = st.isDirectory() ? "directory" : st.isFile() ? "file" : st.isSocket() ? "socket" : null;
  if (mode === "socket" ? kind !== "socket" : kind === "socket" || kind === null)
    return mode === "socket" ? "is no socket" : "is neither a directory nor a regular file";
  return { kind: kind!, dev: st.dev, ino: st.ino, uid: Number(st.uid) };
}

function uidOf(name: string, owner: string | number): number {
  if (typeof owner === "number") return owner;
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((text) => text.startsWith(`${owner}:`));
  const uid = line?.split(":")[2];
  if (uid !== undefined && /^[0-9]+$/.test(uid)) return Number(uid);
  throw new SallyportError(
    "config_invalid",
    `resources.${name}: no account ${owner} in /etc/passwd; write its uid instead.`,
  );
}

const refused = (name: string, path: string, why: string): SallyportError =>
  new SallyportError("config_invalid", `resources.${name}: ${path} ${why}.`);
