import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Script } from "node:vm";
import { build, type Metafile, type Plugin } from "esbuild";
import { COMMANDS } from "../../src/cli/commands.ts";
import { BUILD, filesUnder, MODULES, ROOT } from "./run.ts";

const ROLES = ["keeper", "gateway", "runner", "notary", "egress", "courier"];

/** Lets the packages that look for files on disk take them from the executable instead. */
const packaged: Plugin = {
  name: "packaged",
  setup(builder) {
    const addon = (name: string) => ({
      contents: `module.exports = require("./src/host/addon.ts").loadAddon(${JSON.stringify(name)});`,
      resolveDir: ROOT,
    });
    builder.onLoad({ filter: /@journeyapps\/sqlcipher\/lib\/sqlite3-binding\.js$/ }, () =>
      addon("sqlcipher"),
    );
    builder.onLoad({ filter: /\/node-gyp-build\/index\.js$/ }, () => ({
      contents: `module.exports = () => require("./src/host/addon.ts").loadAddon("argon2");`,
      resolveDir: ROOT,
    }));
    // Zod's messages in some sixty languages, of which English is used: a third of a bundle.
    builder.onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: `export { default as en } from "./en.js";`,
      resolveDir: join(MODULES, "zod/v4/locales"),
    }));
    builder.onLoad({ filter: /\/cedar-wasm\/nodejs\/cedar_wasm\.js$/ }, ({ path }) => {
      const source = readFileSync(path, "utf8");
      const from = /const wasmPath = .*\nconst wasmBytes = .*\n/;
      if (!from.test(source))
        throw new Error("cedar-wasm loads its wasm in a new way; mend scripts/lib/bundle.ts");
      const to = `const wasmBytes = require(${JSON.stringify(join(ROOT, "src/host/asset.ts"))}).asset("cedar.wasm");\n`;
      return { contents: source.replace(from, to) };
    });
  },
};

/** Bundle name ("roles/keeper", "cli/init") to source file. */
function bundleNames(): string[] {
  const files = [...new Set(["help", "self-check", ...Object.values(COMMANDS)])].sort();
  return [...ROLES.map((role) => `roles/${role}`), ...files.map((file) => `cli/${file}`)];
}

async function bundle(entry: string, outfile: string, version: string, wrap: boolean): Promise<Metafile> {
  const result = await build({
    entryPoints: [join(ROOT, entry)],
    outfile,
    absWorkingDir: ROOT,
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node26",
    metafile: true,
    legalComments: "none",
    logLevel: "warning",
    logOverride: { "empty-import-meta": "silent" },
    // Optional native helpers of ws; it does without.
    external: ["bufferutil", "utf-8-validate"],
    supported: { "dynamic-import": false },
    define: { SALLYPORT_VERSION: JSON.stringify(version), __dirname: '"/"', __filename: '"/sallyport"' },
    ...(wrap && { banner: { js: "(function (exports, require, module) {" }, footer: { js: "})" } }),
    plugins: [packaged],
  });
  return result.metafile;
}

/** Makes build/bundle/** and build/main.cjs; returns what each bundle holds, for the tests (build/bundle.json). */
export async function buildBundles(version: string): Promise<void> {
  rmSync(join(BUILD, "bundle"), { recursive: true, force: true });
  const contents: Record<string, string[]> = {};
  for (const name of bundleNames()) {
    const file = join(BUILD, "bundle", `${name}.cjs`);
    mkdirSync(dirname(file), { recursive: true });
    const made = await bundle(`src/${name}.ts`, file, version, true);
    contents[name] = Object.keys(made.inputs).sort();
    const script = new Script(readFileSync(file, "utf8"), { filename: `${name}.cjs` });
    writeFileSync(file.replace(/\.cjs$/, ".cache"), script.createCachedData());
  }
  contents.main = Object.keys(
    (await bundle("src/main.ts", join(BUILD, "main.cjs"), version, false)).inputs,
  ).sort();
  writeFileSync(join(BUILD, "bundle.json"), JSON.stringify(contents, null, 1));
}

/** Asset name to file. */
export function assets(): Record<string, string> {
  const built = filesUnder(["build/bundle", "build/seccomp"]).map((file) => [
    file.slice("build/".length),
    file,
  ]);
  const trees = filesUnder(["policies", "examples"]).map((file) => [file, file]);
  const single = ["harden.node", "sqlcipher.node", "argon2.node", "launcher", "probe", "seccomp-compile"].map(
    (name) => [name, `build/${name}`],
  );
  const wasm = [
    "cedar.wasm",
    join(MODULES, "@cedar-policy/cedar-wasm/nodejs/cedar_wasm_bg.wasm").slice(ROOT.length + 1),
  ];
  return Object.fromEntries(
    [...built, ...trees, ...single, wasm].map(([name, file]) => [name, join(ROOT, file ?? "")]),
  );
}
