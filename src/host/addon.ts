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
 * Loads a native addon, once. Packaged, its code comes from the executable alone, through a sealed memfd: the start code's
 * for harden, harden's own for the others. So neither a file nor the environment can put other code in its place.
 */
export function loadAddon(name: AddonName): unknown {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const exports = isPackaged ? loadPackaged(name) : dlopen(repoPath(`build/${name}.node`));
  loaded.set(name, exports);
  return exports;
}

function loadPackaged(name: AddonName): unknown {
  const fd = name === "harden" ? startCodesFd() : memfdOf(name);
  // The descriptor stays open: the loader knows objects by path, and a number used again would give this addon back.
  return dlopen(`/proc/self/fd/${fd}`);
}

/** scripts/lib/start.c lets no such variable in from outside, and always sets its own. */
function startCodesFd(): string {
  const fd = process.env.SALLYPORT_HARDEN_FD;
  delete process.env.SALLYPORT_HARDEN_FD;
  if (fd === undefined) throw new SallyportError("internal", "The start code handed over no harden addon.");
  return fd;
}

function memfdOf(name: AddonName): number {
  return (loadAddon("harden") as Sealer).memfd(`sallyport-${name}`, asset(`${name}.node`), false);
}

function dlopen(path: string): unknown {
  const module = { exports: {} };
  try {
    process.dlopen(module, path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (!isPackaged) throw new SallyportError("internal", `${reason}. Run scripts/build first.`, { cause });
    throw new SallyportError(
      "no_exec_mount",
      `The kernel refused to map ${path} (a memfd) as code, which a rule of SELinux or of another security module can do: ${reason}.`,
      { cause },
    );
  }
  return module.exports;
}
