import { accessSync, closeSync, constants, fchmodSync, openSync, writeFileSync } from "node:fs";
import { SallyportError } from "../core/errors.ts";
import { asset } from "./asset.ts";
import { harden } from "./harden.ts";
import { numberedFrom } from "./numbered.ts";

/**
 * A descriptor, of at least this number, through which a carried program can be executed: a sealed memfd, or where the host
 * lets no memfd be executed (vm.memfd_noexec=2) an unnamed file in the first of `dirs` that allows it. Throws `no_exec_mount`.
 */
export function openProgram(name: string, lowest: number, dirs: readonly string[]): number {
  const bytes = asset(name);
  try {
    return numberedFrom(lowest, () => harden().memfd(`sallyport-${name}`, bytes, true));
  } catch (error) {
    if (!["EACCES", "EPERM"].includes(codeOf(error))) throw error;
  }
  const tried: string[] = [];
  for (const dir of dirs) {
    try {
      return unnamedProgram(bytes, lowest, dir);
    } catch (error) {
      tried.push(`${dir} (${WHY[codeOf(error)] ?? codeOf(error)})`);
    }
  }
  throw new SallyportError(
    "no_exec_mount",
    `The host lets no memfd be executed (vm.memfd_noexec=2), and a file can't be executed in any of: ${tried.join(", ")}. Mount one of them without noexec, or set vm.memfd_noexec=1.`,
  );
}

const WHY: Readonly<Record<string, string>> = {
  EACCES: "mounted noexec, or not ours to write to",
  ENOENT: "not there",
  EROFS: "read-only",
  ENOSPC: "full",
  EOPNOTSUPP: "its file system has no unnamed files",
};

function unnamedProgram(bytes: Uint8Array, lowest: number, dir: string): number {
  const written = harden().openTmpFile(dir);
  try {
    writeFileSync(written, bytes);
    fchmodSync(written, 0o500);
    const path = `/proc/self/fd/${written}`;
    // The only one of access(2)'s answers that minds the mount: X_OK on a file of a noexec one is EACCES.
    accessSync(path, constants.X_OK);
    // Opened anew for reading alone: the kernel executes nothing that somebody can still write to.
    return numberedFrom(lowest, () => openSync(path, constants.O_RDONLY));
  } finally {
    closeSync(written);
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "error";
}
