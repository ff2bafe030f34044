import type { Command as Program } from "commander";
import { SallyportError } from "../../core/errors.ts";
import { checkName } from "../../core/identity.ts";
import { readConfig } from "../../host/config.ts";
import { runtimesDir } from "../../host/runtimes.ts";
import { holdRuntimes, importImage, removeRuntime, storedDigests } from "../image/import.ts";
import { printData, table } from "../print.ts";
import { common, dirsOf, type Globals, globalsOf } from "../program.ts";
import type { Admin } from "./context.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const MAX_BYTES = 4 * GIB;
const MAX_ENTRIES = 500_000;

type Listed = { runtimes: { name: string; digest: string; imported: string; ops: string[] }[] };
type Unused = { unused: string | null };

/** runtime import | list | remove */
export function addRuntimes(program: Program, admin: Admin): void {
  const runtime = program.command("runtime").description("root file systems for Ops, instead of the host's");
  common(runtime.command("import <name> <path>"))
    .description("unpack an OCI image layout (a directory, or a tar of one) and give it a name")
    .option("--max-size <size>", "most bytes that its files may have, like 8GiB (default 4GiB)")
    .action(async (name: string, path: string, options: { maxSize?: string }, command: Program) => {
      checkName("runtime", name);
      const limits = { bytes: sizeOf(options.maxSize), entries: MAX_ENTRIES };
      // Before the work: whether this person may, and whether anybody is there to be told of it.
      await admin.call(command, "runtime.list", {});
      const dir = dirOf(globalsOf(command));
      const release = holdRuntimes(dir);
      try {
        const { digest, bytes, files, known } = await importImage(path, dir, limits);
        const { unused } = (await admin.call(command, "runtime.set", {
          name,
          digest,
          bytes,
          files,
        })) as Unused;
        if (unused !== null) removeRuntime(dir, unused);
        printData({ name, digest, bytes, files, known }, globalsOf(command).json, () => [
          known
            ? `${name} is ${digest}, which was imported already.`
            : `Imported ${name}: ${files} files, ${Math.ceil(bytes / MIB)} MiB, ${digest}`,
        ]);
      } finally {
        release();
      }
    });
  common(runtime.command("list")).action(async (_: object, command: Program) => {
    const { runtimes } = (await admin.call(command, "runtime.list", {})) as Listed;
    const named = new Set(runtimes.map(({ digest }) => digest));
    const stored = storedDigests(dirOf(globalsOf(command)));
    const unnamed = stored.filter((digest) => !named.has(digest));
    const rows = runtimes.map((r) => ({ ...r, present: stored.includes(r.digest) }));
    printData({ runtimes: rows, unnamed }, globalsOf(command).json, () => [
      ...table(
        ["NAME", "IMPORTED", "DIGEST", "OPS"],
        rows.map((r) => [
          r.name,
          r.imported,
          r.present ? r.digest : `${r.digest} (its files are missing: import it again)`,
          r.ops.join(",") || "-",
        ]),
      ),
      ...unnamed.map(
        (digest) => `without a name: ${digest} (remove it with: sallyport runtime remove ${digest})`,
      ),
    ]);
  });
  common(runtime.command("remove <name>"))
    .description("take a root file system's name away, and its files where nothing else uses them")
    .action(async (name: string, _: object, command: Program) => {
      const dir = dirOf(globalsOf(command));
      const release = holdRuntimes(dir);
      try {
        const removed = name.startsWith("sha256:")
          ? await unnamedOnly(admin, command, name)
          : ((await admin.call(command, "runtime.remove", { name })) as Unused).unused;
        if (removed !== null) removeRuntime(dir, removed);
        printData({ name, filesRemoved: removed !== null }, globalsOf(command).json, () => [
          removed === null ? `${name} is removed; its files stay, as they are used.` : `${name} is removed.`,
        ]);
      } finally {
        release();
      }
    });
}

/** What an import that was killed at its very end, or a run of that time, left behind. */
async function unnamedOnly(admin: Admin, command: Program, digest: string): Promise<string> {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new SallyportError("usage", "That is no digest.");
  const { unused } = (await admin.call(command, "runtime.unused", { digest })) as Unused;
  if (unused === null)
    throw new SallyportError(
      "conflict",
      `${digest} has a name, or a run lives in it; see: sallyport runtime list`,
    );
  return unused;
}

function dirOf(globals: Globals): string {
  return runtimesDir(readConfig(globals.config ?? process.env.SALLYPORT_CONFIG), dirsOf(globals).state);
}

function sizeOf(text: string | undefined): number {
  if (text === undefined) return MAX_BYTES;
  const [, digits, unit] = /^([1-9][0-9]{0,5})(MiB|GiB)$/.exec(text) ?? [];
  if (digits === undefined) throw new SallyportError("usage", "--max-size is written like 512MiB or 8GiB.");
  return Number(digits) * (unit === "GiB" ? GIB : MIB);
}
