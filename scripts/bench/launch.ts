// Start-to-exit of /bin/true: bare fork+exec (by a C loop), the launcher alone (`once`, the process's own start included),
// and the persistent launcher asked over its socket, one run after the other (serve) and after a pause (quiet: as runs come
// in fact); interleaved, medians and p99, and the ratios to the bare start. Prints one JSON line at the end.
// SAMPLES=n changes the number of samples (default 200). BEFORE=/path/of/another/launcher measures that one too.
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KIND, Launcher } from "../../test/sandbox/support/serve.ts";
import { LAUNCHER, runSpec } from "../../test/sandbox/support/spec.ts";

const SAMPLES = Number(process.env.SAMPLES ?? 200);
const spec = runSpec({ argv: ["/bin/true"], limits: { memory: 256 << 20, pids: 64, wallMs: 10_000 } });

// A small C parent: a Node parent's own fork would be most of what is measured.
const SOURCE = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
int main(int argc, char **argv) {
  int samples = atoi(argv[1]);
  for (int i = 0; i < samples * 2; i++) {
    double start = now();
    pid_t pid = fork();
    if (pid == 0) {
      if (i % 2 == 0) execl("/bin/true", "true", (char *)NULL);
      dup2(open(argv[3], O_RDONLY), 9);
      execl(argv[2], "launcher", "once", "9", (char *)NULL);
      _exit(99);
    }
    int status;
    waitpid(pid, &status, 0);
    if (status) return 1;
    printf("%d %f\\n", i % 2, now() - start);
  }
}`;

const median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;
const p99 = (list: number[]): number => list.toSorted((a, b) => a - b)[Math.floor(list.length * 0.99)] ?? 0;

const folder = mkdtempSync(join(tmpdir(), "sallyport-bench-"));
writeFileSync(join(folder, "bench.c"), SOURCE);
writeFileSync(join(folder, "spec"), spec);
execFileSync("gcc", ["-O2", "-o", join(folder, "bench"), join(folder, "bench.c")]);
const results: Record<string, number[]> = { bare: [], once: [] };
const launchers: Record<string, Launcher> = { serve: new Launcher() };
if (process.env.BEFORE) launchers.before = new Launcher({ launcher: process.env.BEFORE });
for (const [name, launcher] of Object.entries(launchers)) {
  await launcher.wait((f) => f.kind === KIND.hello);
  results[name] = [];
  results[`${name} quiet`] = [];
}
const ROUND = 20;
for (let done = 0; done < SAMPLES; done += ROUND) {
  for (const line of execFileSync(join(folder, "bench"), [String(ROUND), LAUNCHER, join(folder, "spec")], {
    encoding: "utf8",
  })
    .trim()
    .split("\n")) {
    const [which, us] = line.split(" ");
    results[which === "0" ? "bare" : "once"]!.push(Number(us));
  }
  for (const [name, launcher] of Object.entries(launchers)) {
    for (let i = 0; i < 2 * ROUND; i++) {
      const quiet = i >= ROUND;
      if (quiet) await sleep(60);
      const r = await launcher.run(spec);
      if (r.exited?.code !== 0) throw new Error(JSON.stringify(r));
      results[quiet ? `${name} quiet` : name]!.push(launcher.lastUs);
    }
  }
}
for (const launcher of Object.values(launchers)) await launcher.end();
const bare = median(results.bare!);
const summary: Record<string, { median_us: number; p99_us: number; ratio: number }> = {};
for (const [name, list] of Object.entries(results)) {
  summary[name] = {
    median_us: Math.round(median(list)),
    p99_us: Math.round(p99(list)),
    ratio: Number((median(list) / bare).toFixed(2)),
  };
  console.log(name.padEnd(13), JSON.stringify(summary[name]));
}
console.log(JSON.stringify({ bench: "launch", samples: SAMPLES, ...summary }));
