import { existsSync } from "node:fs";
import t from "tap";
import { readBundleFolder } from "../../src/cli/bundle-folder.ts";
import { checkArgs, toArgv, toEnv, toInputJson } from "../../src/core/args.ts";
import { encodeBundle, openBundle } from "../../src/core/bundle.ts";
import { makeGrant } from "../../src/exec/grant.ts";
import { withRuntime } from "../../src/exec/runtime.ts";
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
  const argv = toArgv(manifest, args);
  const grant = makeGrant(
    {
      run: "r-example",
      op: manifest.op,
      digest,
      argv,
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
  const run = started.launcher.run(withRuntime(grant, { argv }, ""), {
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

t.test("load: TypeScript, without an interpreter of the host's", async (t) => {
  const seen = await runExample("load", { samples: 2 });
  t.match(seen, { stderr: "", result: { outcome: "exited", exit: 0 } });
  t.match(seen.stdout, /^(load \d+\.\d\d \S+ \S+ {2}memory \[#*\.*\] \d+ %\n){2}$/);
  t.strictSame(seen.progress, [
    { text: "sample 1 of 2", percent: 50 },
    { text: "sample 2 of 2", percent: 100 },
  ]);
});

const noPython = existsSync("/usr/bin/python3") ? false : "no python3 on this host";
t.test("subnet: Python", { skip: noPython }, async (t) => {
  const seen = await runExample("subnet", { network: "10.1.0.0/22", address: "10.1.4.1" });
  t.equal(seen.stdout, "10.1.0.0/22: 1024 addresses, 10.1.0.0 to 10.1.3.255\n10.1.4.1 is not in it.\n");
  t.match(seen.result, { outcome: "exited", exit: 1 });
  t.match((await runExample("subnet", { network: "__import__('os')" })).stderr, /^That is none: /);
});
