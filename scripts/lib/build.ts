import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildBundles } from "./bundle.ts";
import { buildExecutable, carried } from "./exe.ts";
import { buildNative } from "./native.ts";
import { BUILD, cached, MODULES, ROOT } from "./run.ts";

mkdirSync(BUILD, { recursive: true });
await buildNative();

// Where the packages' own code looks when plain Node runs it, in tests and development.
for (const [name, path] of [
  ["sqlcipher", "@journeyapps/sqlcipher/build/Release/node_sqlite3.node"],
  ["argon2", "argon2/build/Release/argon2.node"],
]) {
  const to = join(MODULES, path ?? "");
  mkdirSync(dirname(to), { recursive: true });
  const from = join(BUILD, `${name}.node`);
  await cached(`dev-${name}`, {
    code: import.meta.filename,
    inputs: [`build/${name}.node`],
    also: [],
    outputs: [`node_modules/${path}`],
    make: async () => copyFileSync(from, to),
  });
}

if (!process.argv.includes("--native")) {
  const version = (JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string })
    .version;
  await cached("sallyport", {
    code: import.meta.filename,
    inputs: [
      ...["src", "policies", "examples", "package.json", "package-lock.json", "scripts/lib"],
      ...[
        "build/harden.node",
        "build/sqlcipher.node",
        "build/argon2.node",
        "build/launcher",
        "build/probe",
        "build/seccomp-compile",
        "build/seccomp",
      ],
    ],
    also: (await carried()).map(({ bytes }) => bytes.toString("latin1")),
    outputs: ["dist/sallyport", "build/bundle.json"],
    make: async () => {
      await buildBundles(version);
      await buildExecutable();
    },
  });
}
