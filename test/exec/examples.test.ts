import t from "tap";
import { readBundleFolder } from "../../src/cli/bundle-folder.ts";
import { checkArgs, toArgv, toEnv, toInputJson } from "../../src/core/args.ts";
import { encodeBundle, openBundle } from "../../src/core/bundle.ts";
import { makeGrant } from "../../src/exec/grant.ts";
import { repoPath } from "../../src/host/self.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { type Seen, startLauncher } from "./launcher.ts";

t.setTimeout(FILE_TIMEOUT);

const started = startLauncher();
t.teardown(() => started.stop());

/** From the folder to the result, as publish and run do it. */
async function runExample(name: string, values: Record<string, unknown>): Promise<Omit<Seen, "chunks">> {
  const bundle = encodeBundle(readBundleFolder(repoPath(`examples/${name}`)));
  const { manifest, digest } = openBundle(bundle);
  const args = checkArgs(manifest, values);
  const grant = makeGrant(
    {
      run: "r-example",
      op: manifest.op,
      digest,
      argv: toArgv(manifest, args),
      env: toEnv(manifest, args),
      input: toInputJson(manifest, args),
      limits: manifest.limits,
      seccomp: "default",
      network: [],
      secrets: [],
    },
    bundle,
    [],
    false,
  );
  const out = { stdout: "", stderr: "" };
  const progress: Seen["progress"] = [];
  const denied: string[] = [];
  const run = started.launcher.run(grant, {
    onStarted: () => {},
    onOutput: (stream, bytes) => (out[stream] += bytes.toString()),
    ready: () => null,
    onProgress: (text, percent) => progress.push({ text, percent }),
    onDenied: (call) => denied.push(call),
  });
  return { result: await run.finished, ...out, progress, denied };
}

t.test("hello", async (t) => {
  const seen = await runExample("hello", { name: "Ada $(id) `id` \"'" });
  t.equal(
    seen.stdout,
    "Hello, Ada $(id) `id` \"'!\nI am demo/hello, run r-example, alone on a host that calls itself op.\n",
  );
  t.match(seen.result, { outcome: "exited", exit: 0 });
  t.match((await runExample("hello", {})).stdout, /^Hello, world!/);
});

t.test("disk-report", async (t) => {
  const seen = await runExample("disk-report", { mounts: true });
  t.match(seen.result, { outcome: "exited", exit: 0 });
  t.equal(seen.stderr, "");
  t.match(seen.stdout, /\/tmp/);
  t.match(seen.stdout, /\/usr \S+ ro,/);
  t.comment(seen.stdout);
});

t.test("slow: progress and output, step by step", async (t) => {
  const seen = await runExample("slow", { count: 3, pause: 0.3 });
  t.equal(seen.stdout, "step 1 of 3\nstep 2 of 3\nstep 3 of 3\ndone\n");
  t.strictSame(seen.progress, [
    { text: "step 1 of 3", percent: 33 },
    { text: "step 2 of 3", percent: 66 },
    { text: "step 3 of 3", percent: 100 },
  ]);
});

t.test("misbehave: every attempt is stopped, and the refused calls are told", async (t) => {
  const seen = await runExample("misbehave", {});
  t.comment(seen.stdout + seen.stderr);
  t.notMatch(seen.stdout, /WORKED/);
  t.match(seen.result, { outcome: "exited", exit: 0 });
  t.ok((seen.stdout.match(/stopped: /g) ?? []).length >= 12);
  t.match(seen.stdout, /read the password hashes +stopped: No such file or directory/);
  t.match(seen.stdout, /Network devices: lo/);
  t.ok(seen.denied.length > 0, `${seen.denied}`);
  t.comment(JSON.stringify(seen.result.denied));
});
