import { execFileSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BUILD, ROOT } from "./spec.ts";

/** The launcher and the seccomp compiler under ASan and UBSan, made where it is missing or old; false: no such runtime here. */
export function sanitized(): { launcher: string; compiler: string } | false {
  const isOurs = isWritable(BUILD);
  // Relative, as the Makefile's own: a checkout's name may hold spaces.
  const out = isOurs ? "../build/asan" : temporary();
  const names = ["launcher", "seccomp-compile"];
  try {
    execFileSync("gcc", ["-fsanitize=address,undefined", "-x", "c", "-", "-o", "/dev/null"], {
      input: "int main(void) { return 0; }",
      stdio: ["pipe", "ignore", "ignore"],
    });
  } catch {
    return false;
  }
  const make = [
    "make",
    "-s",
    "-C",
    "sandbox",
    "SANITIZE=1",
    `OUT=${out}`,
    ...names.map((n) => `${out}/${n}`),
  ];
  // Two test files may ask at once.
  const [file = "", ...args] = isOurs ? ["flock", join(BUILD, "asan.lock"), ...make] : make;
  execFileSync(file, args, { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] });
  const at = isOurs ? join(BUILD, "asan") : out;
  return { launcher: join(at, "launcher"), compiler: join(at, "seccomp-compile") };
}

function isWritable(dir: string): boolean {
  try {
    accessSync(dir, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-asan-"));
  process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** What the sanitizers say on stderr, the launcher's or its run's. (A note that they can't tell a thread's stack is none.) */
export const COMPLAINT = /ERROR: (Address|Leak)Sanitizer|runtime error:/;
