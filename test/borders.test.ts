import { readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, normalize } from "node:path";
import t from "tap";

const ROOT = join(import.meta.dirname, "..");
const SRC = join(ROOT, "src");

/** Room to the rooms that it may import (itself always). DESIGN section 3. */
const ROOMS: Record<string, readonly string[]> = {
  core: [],
  host: ["core"],
  wire: ["core", "host"],
  audit: ["core", "host"],
  keys: ["core", "host"],
  slack: ["core", "host"],
  exec: ["core", "host"],
  siem: ["core", "host"],
  egress: ["core", "host"],
  courier: ["core", "host"],
  store: ["core", "audit", "keys", "host"],
  keeper: ["core", "host", "wire", "audit", "keys", "store"],
  workspace: ["core"],
  roles: [
    "core",
    "host",
    "wire",
    "audit",
    "keys",
    "slack",
    "exec",
    "siem",
    "egress",
    "courier",
    "store",
    "keeper",
  ],
  cli: [
    "core",
    "host",
    "wire",
    "audit",
    "keys",
    "slack",
    "exec",
    "siem",
    "egress",
    "courier",
    "store",
    "keeper",
    "roles",
    "workspace",
  ],
  "": ["core", "host", "cli"],
};

/** Packages that only these rooms may use; any other package is free. */
const PACKAGES: Record<string, readonly string[]> = {
  "@slack/socket-mode": ["slack"],
  "@slack/web-api": ["slack"],
  "@journeyapps/sqlcipher": ["store", "cli/self-check.ts"],
  argon2: ["keys", "cli/self-check.ts"],
  "@cedar-policy/cedar-wasm": ["core", "cli/self-check.ts"],
  otpauth: ["core"],
  "qrcode-generator": ["cli"],
};

/** What core may take from outside: rules need no input or output. */
const CORE_OUTSIDE = [
  "zod",
  "yaml",
  "otpauth",
  "@cedar-policy/cedar-wasm",
  "node:crypto",
  "node:util",
  "node:buffer",
];

/** Every module named by an import, an export-from, an import() or a require(). */
export function importsOf(source: string): string[] {
  const statements = /(?:^|[;\s}])(?:import|export)(?:[\s{*][^'"`;]*?from)?\s*["']([^"']+)["']/g;
  const calls = /\b(?:import|require)\(\s*["'`]([^"'`]+)["'`]/g;
  const code = source.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  return [...code.matchAll(statements), ...code.matchAll(calls)].map((match) => match[1] ?? "");
}

const roomOf = (file: string): string => (file.includes("/") ? (file.split("/")[0] ?? "") : "");

function packageOf(id: string): string {
  return id
    .split("/")
    .slice(0, id.startsWith("@") ? 2 : 1)
    .join("/");
}

/** What is wrong with this file's imports; `file` is relative to src/. */
export function violations(file: string, source: string): string[] {
  const room = roomOf(file);
  const allowed = ROOMS[room];
  if (!allowed) return [`src/${file}: no such room; name it in test/borders.test.ts`];
  // isIP and its like are pure functions, though they live in node:net.
  const pure =
    room === "core" ? source.replace(/import { (?:isIP\w*(?:, )?)+ } from "node:net";/, "") : source;
  return importsOf(pure).flatMap((id) => {
    if (id.startsWith(".")) {
      const target = normalize(join(dirname(file), id));
      if (target.startsWith("..")) return [`src/${file} imports ${id}, outside src/`];
      const to = roomOf(target);
      if (to === "workspace" && room === "cli" && !file.startsWith("cli/demo")) {
        return [`src/${file} imports ${id}: only the demo may use the simulated workspace`];
      }
      if (room === "workspace" && to === "core" && target !== "core/errors.ts") {
        return [
          `src/${file} imports ${id}: the workspace is no part of the product and takes only core/errors.ts`,
        ];
      }
      return to === room || allowed.includes(to)
        ? []
        : [`src/${file} imports ${id}: ${room} may not use ${to}`];
    }
    const owners = PACKAGES[packageOf(id)];
    if (owners && !owners.includes(room) && !owners.includes(file))
      return [`src/${file} imports ${id}: only ${owners} may`];
    const outside = id.startsWith("node:") ? id : packageOf(id);
    if (room === "core" && !CORE_OUTSIDE.includes(outside))
      return [`src/${file} imports ${id}: core has no input or output`];
    return [];
  });
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

t.test("no import crosses a border", async (t) => {
  t.ok(files.length > 20, "the source files are found");
  for (const file of files)
    t.same(violations(file, readFileSync(join(SRC, file), "utf8")), [], `src/${file}`);
});

t.test("a planted import is found", async (t) => {
  const bad: [string, string][] = [
    ["slack/x.ts", `import { openStore } from "../store/store.ts";`],
    ["exec/x.ts", `import type { Envelope } from '../slack/envelope.ts';`],
    ["store/x.ts", `export * from "../exec/launch.ts";`],
    ["store/x.ts", `const x = await import("../slack/parse.ts");`],
    ["core/x.ts", `import { loadAddon } from "../host/addon.ts";`],
    ["core/x.ts", `import { readFileSync } from "node:fs";`],
    ["core/x.ts", `import pino from "pino";`],
    ["roles/gateway.ts", `import { start } from "../workspace/index.ts";`],
    ["cli/serve.ts", `import { start } from "../workspace/index.ts";`],
    ["workspace/x.ts", `import { parse } from "../core/manifest.ts";`],
    ["wire/x.ts", `import {\n  a,\n  b,\n} from "../audit/event.ts";`],
    ["keeper/x.ts", `import "../slack/socket.ts";`],
    ["slack/x.ts", `import sqlite3 from "@journeyapps/sqlcipher";`],
    ["cli/x.ts", `import argon2 from "argon2";`],
    ["host/x.ts", `import x from "../../test/help.ts";`],
    ["attic/x.ts", ""],
  ];
  for (const [file, source] of bad) t.equal(violations(file, source).length, 1, `${file}: ${source}`);
  t.same(violations("cli/demo.ts", `import { start } from "../workspace/index.ts";`), []);
  t.same(violations("core/x.ts", `// import { a } from "../store/store.ts";\nimport { z } from "zod";`), []);
});

t.test("what is imported is named in package.json, with its one version", async (t) => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const named = { ...dependencies, ...devDependencies } as Record<string, string>;
  for (const [name, version] of Object.entries(named)) t.match(version, /^[0-9]+\.[0-9]+\.[0-9]+$/, name);
  const used = ["src", "scripts", "test"].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .flatMap((file) => importsOf(readFileSync(join(ROOT, folder, file), "utf8")))
      .filter((id) => /^[@a-z]/.test(id) && !isBuiltin(id))
      .map(packageOf),
  );
  t.ok(used.length > 100);
  t.same(
    [...new Set(used)].filter((name) => !Object.hasOwn(named, name)),
    [],
  );
});

t.test("files stay short", async (t) => {
  for (const file of files) {
    const lines = readFileSync(join(SRC, file), "utf8").split("\n").length - 1;
    if (lines > 350) t.comment(`src/${file} has ${lines} lines`);
    t.ok(lines <= 500, `src/${file}: ${lines} lines`);
  }
});
