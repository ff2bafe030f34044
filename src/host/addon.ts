import { closeSync, readFileSync, readlinkSync } from "node:fs";
import { SallyportError } from "../core/errors.ts";
import { asset } from "./asset.ts";
import { isPackaged, repoPath } from "./self.ts";

export type AddonName = "harden" | "sqlcipher" | "argon2";

/** What addon.ts itself needs of the harden addon; the whole is typed in harden.ts. */
interface Sealer {
  memfd(name: string, bytes: Uint8Array, exec: boolean): number;
}

const loaded = new Map<AddonName, unknown>();

/**
 * Loads a native addon, once. Packaged, its code comes from the executable alone: from a descriptor that the start code
 * or the parent left open (SALLYPORT_ADDONS), after its bytes were compared with the ones carried inside, or from a
 * sealed memfd of our own. So neither a file nor the environment can put other code in its place.
 */
export function loadAddon(name: AddonName): unknown {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const exports = isPackaged ? loadPackaged(name) : dlopen(repoPath(`build/${name}.node`));
  loaded.set(name, exports);
  return exports;
}

/** The bytes of an addon, for a parent that hands it to its children as a sealed memfd. */
export function addonBytes(name: AddonName): Buffer {
  return asset(`${name}.node`);
}

function loadPackaged(name: AddonName): unknown {
  const fd = inherited().get(name) ?? memfdOf(name);
  // The descriptor stays open: the loader knows objects by path, and a number used again would give this addon back.
  return dlopen(`/proc/self/fd/${fd}`);
}

function memfdOf(name: AddonName): number {
  // The start code hands harden over, unless SALLYPORT_ADDONS says that the parent did.
  if (name === "harden")
    throw new SallyportError("internal", "SALLYPORT_ADDONS names no harden addon; unset it.");
  return (loadAddon("harden") as Sealer).memfd(`sallyport-${name}`, addonBytes(name), false);
}

let inheritedFds: Map<AddonName, number> | undefined;

function inherited(): Map<AddonName, number> {
  if (inheritedFds === undefined) {
    inheritedFds = parseInherited(process.env.SALLYPORT_ADDONS ?? "");
    delete process.env.SALLYPORT_ADDONS;
    for (const [name, fd] of inheritedFds) checkInherited(name, fd);
  }
  return inheritedFds;
}

/** Parses `harden=7,sqlcipher=8`; anything else is refused. */
export function parseInherited(text: string): Map<AddonName, number> {
  const fds = new Map<AddonName, number>();
  for (const item of text === "" ? [] : text.split(",")) {
    const match = /^(harden|sqlcipher|argon2)=([0-9]{1,7})$/.exec(item);
    if (!match)
      throw new SallyportError("internal", `SALLYPORT_ADDONS holds ${JSON.stringify(item)}; unset it.`);
    fds.set(match[1] as AddonName, Number(match[2]));
  }
  return fds;
}

/** An inherited descriptor must be a memfd with exactly the bytes that this executable carries. */
export function checkInherited(name: AddonName, fd: number): void {
  let target = "nothing";
  let same = false;
  try {
    target = readlinkSync(`/proc/self/fd/${fd}`);
    same = target.startsWith("/memfd:") && readFileSync(`/proc/self/fd/${fd}`).equals(addonBytes(name));
    if (!same) closeSync(fd);
  } catch (cause) {
    throw new SallyportError("internal", `Descriptor ${fd}, named for the ${name} addon, can't be read.`, {
      cause,
    });
  }
  if (!same) {
    const detail = `Descriptor ${fd} (${target}) is not this executable's ${name} addon; unset SALLYPORT_ADDONS.`;
    throw new SallyportError("internal", detail);
  }
}

function dlopen(path: string): unknown {
  const module = { exports: {} };
  try {
    process.dlopen(module, path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (!isPackaged) throw new SallyportError("internal", `${reason}. Run scripts/build first.`, { cause });
    throw new SallyportError("no_exec_mount", `The kernel refused to map ${path} (a memfd): ${reason}.`, {
      cause,
    });
  }
  return module.exports;
}
