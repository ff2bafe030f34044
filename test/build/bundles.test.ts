import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { notBuilt, ROOT } from "./packaged.ts";

const KEYS_AND_STORE = [
  ...[
    "src/keys/",
    "src/store/",
    "src/audit/",
    "src/keeper/",
    "src/core/authorizer",
    "@journeyapps/sqlcipher",
  ],
  ...["node_modules/argon2", "@cedar-policy/"],
];
const SLACK = ["src/slack/", "@slack/", "node_modules/ws/"];

/** What must not be in a role's bundle (parts of a path). DESIGN section 2: what a role has not. */
const FORBIDDEN: Record<string, string[]> = {
  "roles/keeper": [...SLACK, "src/exec/"],
  "roles/gateway": [...KEYS_AND_STORE, "src/exec/"],
  "roles/runner": [...KEYS_AND_STORE, ...SLACK],
  "roles/egress": [...KEYS_AND_STORE, ...SLACK, "src/exec/", "src/courier/"],
  "roles/courier": [...KEYS_AND_STORE, ...SLACK, "src/exec/", "src/egress/"],
  "roles/notary": [
    ...SLACK,
    "src/exec/",
    "src/store/",
    "src/keeper/",
    "@journeyapps/sqlcipher",
    "@cedar-policy/",
  ],
};

/** Bundle name to the files in it, as esbuild's metafile lists them. */
type Contents = Record<string, string[]>;

function offences(contents: Contents): string[] {
  return Object.entries(contents).flatMap(([bundle, files]) => {
    const forbidden = [...(FORBIDDEN[bundle] ?? [])];
    if (!bundle.startsWith("cli/demo")) forbidden.push("src/workspace/");
    if (bundle.startsWith("roles/")) forbidden.push("src/cli/");
    if (bundle === "main") forbidden.push("src/roles/", "src/keeper/", "node_modules/");
    const others = ["keeper", "gateway", "runner", "notary", "egress", "courier"].map(
      (role) => `src/roles/${role}`,
    );
    if (bundle.startsWith("roles/")) forbidden.push(...others.filter((path) => path !== `src/${bundle}`));
    return files
      .filter((file) => forbidden.some((part) => file.includes(part)))
      .map((file) => `${bundle} holds ${file}`);
  });
}

t.test("a process holds its own role's code only", { skip: notBuilt }, async (t) => {
  const contents = JSON.parse(readFileSync(join(ROOT, "build/bundle.json"), "utf8")) as Contents;
  for (const [bundle, files] of Object.entries(contents)) {
    t.same(offences({ [bundle]: files }), [], `${bundle}: ${files.length} files`);
  }
  for (const role of ["keeper", "gateway", "runner", "notary", "egress", "courier"]) {
    if (existsSync(join(ROOT, `src/roles/${role}.ts`)))
      t.ok(contents[`roles/${role}`], `${role} has a bundle`);
  }
  t.notOk(existsSync(join(ROOT, "build/bundle/main.cjs")), "the main script is no bundle");
});

t.test("code that does not belong is found", async (t) => {
  for (const [bundle, file] of [
    ["roles/gateway", "src/keys/keyring.ts"],
    ["roles/gateway", "node_modules/@journeyapps/sqlcipher/lib/sqlite3.js"],
    ["roles/gateway", "node_modules/argon2/argon2.cjs"],
    ["roles/runner", "node_modules/@slack/web-api/dist/index.js"],
    ["roles/notary", "src/store/store.ts"],
    ["roles/keeper", "src/slack/session.ts"],
    ["roles/keeper", "src/roles/runner.ts"],
    ["roles/keeper", "src/workspace/index.ts"],
    ["cli/serve", "src/workspace/index.ts"],
    ["main", "src/roles/keeper.ts"],
  ] as const) {
    t.equal(offences({ [bundle]: [file] }).length, 1, `${file} in ${bundle}`);
  }
});
