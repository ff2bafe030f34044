import { existsSync } from "node:fs";
import t from "tap";
import { checkArgs, toArgv, toEnv, toInputJson } from "../../src/core/args.ts";
import { encodeBundle, openBundle } from "../../src/core/bundle.ts";
import { makeGrant } from "../../src/exec/grant.ts";
import { withRuntime } from "../../src/exec/runtime.ts";
import { repoPath } from "../../src/host/self.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { type Seen, startLauncher } from "./launcher.ts";

/** `runtime: node|python|shell`, from the folder to the result. */

t.setTimeout(FILE_TIMEOUT);

const started = startLauncher();
t.teardown(() => started.stop());
const EXE = repoPath("dist/sallyport");
const isBuilt = existsSync(EXE);
t.comment(isBuilt ? "node is dist/sallyport" : "node is the tests' own: dist/sallyport is not built");
const noPython = existsSync("/usr/bin/python3") ? false : "no python3 on this host";

type Ran = Pick<Seen, "stdout" | "stderr" | "progress" | "denied" | "result">;

async function run(
  runtime: string,
  files: Readonly<Record<string, string>>,
  values: Record<string, string> = {},
): Promise<Ran> {
  const manifest = `op: demo/it\nsummary: It\nruntime: ${runtime}\nentry: ${Object.keys(files)[0]}\ninputs: {who: {type: string}}\n`;
  const all = Object.entries({ ...files, "op.yaml": manifest });
  const bundle = encodeBundle(
    all.map(([path, text]) => ({ path, mode: 0o644 as const, bytes: Buffer.from(text) })),
  );
  const opened = openBundle(bundle);
  const args = checkArgs(opened.manifest, values);
  const order = {
    run: "r-runtime",
    op: opened.manifest.op,
    digest: opened.digest,
    argv: toArgv(opened.manifest, args),
    env: toEnv(opened.manifest, args),
    input: toInputJson(opened.manifest, args),
    limits: opened.manifest.limits,
    seccomp: "default" as const,
    network: [],
    secrets: [],
  };
  const grant = withRuntime(makeGrant(order, bundle, [], false), order, "");
  // The tests' own Node is packaged nowhere; what people run is.
  const { node } = grant.spec;
  Object.assign(grant.spec, node !== undefined && isBuilt ? { node: EXE } : {});
  const out = { stdout: "", stderr: "" };
  const progress: Seen["progress"] = [];
  const denied: string[] = [];
  const live = started.launcher.run(grant, {
    onStarted: () => {},
    onOutput: (stream, bytes) => (out[stream] += bytes.toString()),
    ready: () => null,
    onProgress: (text, percent) => progress.push({ text, percent }),
    onDenied: (call) => denied.push(call),
  });
  return { result: await live.finished, ...out, progress, denied };
}

const EXITED = { outcome: "exited", exit: 0 };

t.test("node: a module of TypeScript, with everything that an author is used to", async (t) => {
  const seen = await run(
    "node",
    {
      "main.ts": `
import { strictEqual } from "node:assert";
import { readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { fork, execFileSync } from "node:child_process";
import { Worker } from "node:worker_threads";
import { greet, type Name } from "./lib/greet.ts";
const name: Name = process.env.INPUT_WHO ?? "nobody";
strictEqual(JSON.parse(readFileSync("/op/input.json", "utf8")).who, name);
const later = await import("./later.mjs");
const old = createRequire(import.meta.url)("./old.cjs");
writeSync(3, JSON.stringify({ progress: "half", percent: 50 }) + "\\n");
console.log(greet(name), later.default, old.kind, process.argv.slice(1).join(" "), import.meta.filename);
console.log(await new Promise((done) => fork("./child.mjs").once("message", done)));
console.log(await new Promise((done) => new Worker(new URL("./worker.mjs", import.meta.url)).once("message", done)));
console.log(execFileSync("/bin/sh", ["-c", "env | grep -c -e LD_ -e GLIBC; node -p 40+2"]).toString().trim());
`,
      "lib/greet.ts": `export type Name = string;\nexport function greet(name: Name): string { return \`Hello, \${name}!\`; }\n`,
      "later.mjs": "export default 'later';\n",
      "old.cjs": "exports.kind = require('node:path').basename(__filename);\n",
      "child.mjs": "process.send('from a child');\n",
      "worker.mjs":
        "import { parentPort } from 'node:worker_threads';\nparentPort.postMessage('from a thread');\n",
    },
    { who: "Ada" },
  );
  t.match(seen, { stderr: "", result: EXITED });
  t.equal(
    seen.stdout,
    "Hello, Ada! later old.cjs /op/main.ts /op/main.ts\nfrom a child\nfrom a thread\n0\n42\n",
  );
  t.strictSame(seen.progress, [{ text: "half", percent: 50 }]);
  t.comment(`peak ${seen.result.peakMemoryBytes}, ${seen.result.durationMs} ms, denied ${seen.denied}`);
});

t.test("node: CommonJS", async (t) => {
  const seen = await run("node", {
    "main.js": "console.log(typeof require, __filename, require('node:sea').isSea());\n",
  });
  t.match(seen, { stdout: "function /op/main.js false\n", stderr: "", result: EXITED });
});

t.test("node: an exit status, and an error with the Op's own lines alone", async (t) => {
  const status = await run("node", { "main.mjs": "process.exitCode = 7;\n" });
  t.match(status.result, { outcome: "exited", exit: 7 });
  const seen = await run("node", { "main.ts": "interface A { x: 1 }\n\nthrow new TypeError('mine');\n" });
  t.match(seen.result, { outcome: "exited", exit: 1 });
  t.match(seen.stderr, /\/op\/main\.ts:3\n[\s\S]*TypeError: mine\n\s+at [^\n]*\/op\/main\.ts:3:7/);
  t.notMatch(seen.stderr, /sallyport|bundle|main\.cjs/);
});

t.test("node: nothing opens a debugger, and its descriptors are the Op's", async (t) => {
  const seen = await run("node", {
    "main.cjs": `
const fs = require("node:fs");
process.kill(process.pid, "SIGUSR1");
setTimeout(() => {
  const links = fs.readdirSync("/proc/self/fd").map((fd) => { try { return fs.readlinkSync("/proc/self/fd/" + fd); } catch { return ""; } });
  console.log(require("node:inspector").url(), links.filter((link) => link.includes("memfd")).length);
  console.log(Object.keys(process.env).filter((name) => /^(LD|NODE|GLIBC|SALLYPORT_HARDEN)/.test(name)).length);
}, 200);
`,
  });
  t.match(seen, { stdout: "undefined 0\n0\n", stderr: "", result: EXITED });
});

t.test("node: the Node that it runs in can't be rewritten", async (t) => {
  const seen = await run("node", {
    "main.cjs": `
const fs = require("node:fs");
const tried = (what, call) => { try { call(); console.log(what, "DONE"); } catch (error) { console.log(what, error.code); } };
for (const path of ["/run/runtime/node", "/proc/self/exe", "/proc/1/exe"]) {
  tried("write", () => fs.openSync(path, "r+"));
  tried("empty", () => fs.truncateSync(path, 0));
  tried("mode", () => fs.chmodSync(path, 0o777));
  tried("times", () => fs.utimesSync(path, 1, 1));
}
tried("put aside", () => fs.renameSync("/run/runtime/node", "/run/runtime/old"));
tried("put away", () => fs.unlinkSync("/run/runtime/node"));
tried("put over", () => fs.symlinkSync("/op/main.cjs", "/run/runtime/other"));
tried("put under", () => fs.linkSync("/run/runtime/node", "/tmp/node"));
`,
  });
  const answers = seen.stdout.trim().split("\n");
  t.equal(answers.length, 16, seen.stderr);
  for (const answer of answers) t.match(answer, / (EROFS|EACCES|EPERM|ETXTBSY|EBUSY|EXDEV)$/);
});

t.test("python", { skip: noPython }, async (t) => {
  const seen = await run(
    "python",
    {
      "main.py":
        "import helper, json, os, sys\nprint(helper.greet(json.load(open('/op/input.json'))['who']), sys.argv[0])\nsys.exit(3)\n",
      "helper.py": "def greet(who):\n    return f'Hello, {who}!'\n",
    },
    { who: "Ada" },
  );
  t.match(seen, { stdout: "Hello, Ada! /op/main.py\n", stderr: "", result: { outcome: "exited", exit: 3 } });
});

t.test("shell: the entry need not be executable", async (t) => {
  const seen = await run("shell", { "main.sh": 'echo "Hello, $INPUT_WHO!" "$0"\n' }, { who: "$(id)" });
  t.match(seen, { stdout: "Hello, $(id)! /op/main.sh\n", stderr: "", result: EXITED });
});
