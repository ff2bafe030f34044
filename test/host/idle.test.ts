import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import t from "tap";
import { repoPath } from "../../src/host/self.ts";

const RISE = `
  const { getHeapStatistics } = await import("node:v8");
  const size = () => getHeapStatistics().total_heap_size / 2 ** 20;
  const burst = () => {
    const all = [];
    for (let i = 0; i < 300_000; i++) all.push({ i, text: "x" + i });
    return size();
  };
`;

function run(body: string): { stdout: string; stderr: string } {
  const idle = JSON.stringify(pathToFileURL(repoPath("src/host/idle.ts")).href);
  const code = `const { trimWhenIdle } = await import(${idle});${RISE}${body}`;
  const args = ["--input-type=module", "-e", code];
  return spawnSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
}

t.test(
  "what a burst left goes back once the process idles, and nothing else gets at the collector",
  async (t) => {
    const { stdout, stderr } = run(`
    trimWhenIdle(100);
    const full = burst();
    for (let i = 0; i < 200 && size() > full / 2; i++) await new Promise((r) => setTimeout(r, 100));
    console.log(JSON.stringify({ full, kept: size(), gc: typeof globalThis.gc }));
  `);
    t.equal(stderr, "");
    const { full, kept, gc } = JSON.parse(stdout) as { full: number; kept: number; gc: string };
    t.ok(full > 20, `a burst of ${full.toFixed(0)} MiB`);
    t.ok(kept < full / 2, `${kept.toFixed(0)} MiB kept`);
    t.equal(gc, "undefined");
  },
);

t.test("a process at work is left alone, and the timer keeps none alive", async (t) => {
  const { stdout } = run(`
    trimWhenIdle(100);
    const full = burst();
    const until = performance.now() + 1000;
    while (performance.now() < until) {
      const turn = performance.now() + 20;
      while (performance.now() < turn);
      await new Promise((r) => setImmediate(r));
    }
    console.log(JSON.stringify({ full, kept: size() }));
  `);
  const { full, kept } = JSON.parse(stdout) as { full: number; kept: number };
  t.ok(kept > full / 2, `${kept.toFixed(0)} of ${full.toFixed(0)} MiB kept`);
});
