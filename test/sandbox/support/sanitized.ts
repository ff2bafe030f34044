import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { BUILD, ROOT } from "./spec.ts";

/** The launcher and the seccomp compiler under ASan and UBSan, made where it is missing or old; false: no such runtime here. */
export function sanitized(): { launcher: string; compiler: string } | false {
  const out = join(BUILD, "asan");
  const names = ["launcher", "seccomp-compile"];
  try {
    execFileSync("gcc", ["-fsanitize=address,undefined", "-x", "c", "-", "-o", "/dev/null"], {
      input: "int main(void) { return 0; }",
      stdio: ["pipe", "ignore", "ignore"],
    });
  } catch {
    return false;
  }
  // Two test files may ask at once.
  execFileSync(
    "flock",
    [
      join(BUILD, "asan.lock"),
      "make",
      "-s",
      "-C",
      "sandbox",
      "SANITIZE=1",
      "OUT=../build/asan",
      ...names.map((n) => `../build/asan/${n}`),
    ],
    { cwd: ROOT, stdio: ["ignore", "ignore", "inherit"] },
  );
  return { launcher: join(out, "launcher"), compiler: join(out, "seccomp-compile") };
}

/** What the sanitizers say on stderr, the launcher's or its run's. (A note that they can't tell a thread's stack is none.) */
export const COMPLAINT = /ERROR: (Address|Leak)Sanitizer|runtime error:/;
