import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { ENGINES } from "../../src/core/engines.ts";
import { repoPath } from "../../src/host/self.ts";
import { TestAppliance, until } from "./appliance.ts";
import { caughtUp, logged, opFolder } from "./slack-rig.ts";

/** What an Op may ask for, all of it at once, under each engine: given whole, with each fence, or refused in one sentence. */

t.setTimeout(300_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const host = (name: string): string => join(appliance.dir, "host", name);
for (const dir of ["logs", "spool"]) mkdirSync(host(dir), { recursive: true });
chmodSync(host("spool"), 0o777);
writeFileSync(host("logs/app.log"), "of the host\n", { mode: 0o644 });
const server = createServer((socket) => socket.end("said by the daemon"));
await new Promise<void>((resolve) => server.listen(host("daemon.sock"), resolve));
t.teardown(() => server.close());
chmodSync(host("daemon.sock"), 0o666);
appliance.configure(`limits: best-effort
resources:
  logs: {path: ${host("logs")}}
  spool: {path: ${host("spool")}, mode: rw}
  daemon: {socket: ${host("daemon.sock")}}
`);
await appliance.ready();
type Found = { engine: string; path: string | null; ok: boolean };
const engines = async () =>
  ((await appliance.ok(["status", "--json"])).json() as { engines: { found: Found[] } | null }).engines;
await until(async () => (await engines()) !== null, 60_000);
const { found } = (await engines())!;

type Profile = { syscalls: { names: string[]; action: string; errnoRet?: number }[] };
const profile = JSON.parse(readFileSync(repoPath("policies/seccomp/default.json"), "utf8")) as Profile;
for (const rule of profile.syscalls)
  rule.names = rule.names.filter((name) => !["mkdir", "mkdirat"].includes(name));
profile.syscalls.push({ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 });

const MAIN = `
import { connect } from "node:net";
import { appendFileSync, chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
const tried = (what: string, call: () => unknown): void => {
  try { console.log(what, String(call() ?? "done").trim()); }
  catch (error) { console.log(what, (error as NodeJS.ErrnoException).code); }
};
const at = "/run/resources";
tried("read", () => readFileSync(at + "/logs/app.log", "utf8"));
tried("append", () => appendFileSync(at + "/logs/app.log", "x"));
tried("keep", () => writeFileSync(at + "/spool/" + process.env.INPUT_WHO, "kept"));
tried("setuid", () => chmodSync(at + "/spool/" + process.env.INPUT_WHO, 0o4755));
tried("mkdir", () => mkdirSync("/tmp/made"));
tried("shadow", () => readFileSync(at + "/logs/../../../etc/shadow"));
const socket = connect(at + "/daemon");
socket.on("data", (bytes) => console.log("daemon", bytes.toString()));
socket.on("error", (error: NodeJS.ErrnoException) => console.log("daemon", error.code));
`;

/** For gVisor, where our own Node can't run. */
const SHELL = `#!/bin/sh
at=/run/resources
echo "read $(cat $at/logs/app.log)"
echo x 2>/dev/null >> $at/logs/app.log && echo append done || echo append EROFS
echo kept > "$at/spool/$INPUT_WHO" && echo keep done
chmod 4755 "$at/spool/$INPUT_WHO" 2>/dev/null && echo setuid done || echo setuid EPERM
mkdir /tmp/made 2>/dev/null && echo mkdir done || echo mkdir EPERM
cat $at/logs/../../../etc/shadow 2>/dev/null || echo shadow ENOENT
`.replace("kept >", "kept | tr -d '\\n' >");

for (const engine of ENGINES.filter((name) => name !== "kata")) {
  const missing = engine !== "native" && found.find((f) => f.engine === engine)?.path === null;
  t.test(engine, { skip: missing ? `${engine} is not installed here` : false }, async (t) => {
    const start = engine === "gvisor" ? 'run: ["./main.sh"]' : "runtime: node\nentry: main.ts";
    const op = `op: demo/${engine}
summary: x
${start}
inputs: {who: {type: string, required: true}}
engine: ${engine}
resources: [logs, spool${engine === "gvisor" ? "" : ", daemon"}]
seccomp: own.json
limits: {memory: 512MiB, pids: 128}
`;
    await appliance.publish(
      opFolder(appliance, op, { "main.ts": MAIN, "main.sh": SHELL, "own.json": JSON.stringify(profile) }),
    );
    const run = await appliance.cli(["run", `demo/${engine}`, "--who", engine]);
    t.equal(run.status, 0, run.stderr);
    t.match(run.stdout, /^read of the host$/m);
    t.match(run.stdout, /^append (EROFS|EACCES)$/m);
    t.match(run.stdout, /^keep done$/m);
    t.equal(readFileSync(host(`spool/${engine}`), "utf8"), "kept");
    t.match(run.stdout, /^setuid EPERM$/m);
    t.equal(statSync(host(`spool/${engine}`)).mode & 0o6000, 0);
    t.match(run.stdout, /^shadow ENOENT$/m);
    t.equal(readFileSync(host("logs/app.log"), "utf8"), "of the host\n");
    t.match(run.stdout, /^mkdir EPERM$/m, "the bundle's own profile holds");
    // Its kernel is its own: it has sockets of its own, and tells of no refusal (SECURITY.md).
    if (engine === "gvisor") return;
    t.match(run.stdout, /^daemon said by the daemon$/m);
    await caughtUp(appliance);
    const [denied] = logged(appliance, "sandbox.denied").slice(-1);
    t.match(
      JSON.stringify(denied),
      `demo/${engine}`.replace("demo/", ""),
      "and what it refused is in the log",
    );
    t.match(JSON.stringify(denied), /mkdir/);
  });
}

t.test("what does not go together is refused before anything is recorded", async (t) => {
  const before = (await appliance.ok(["runs", "list", "--json"])).stdout;
  const cases: [string, string, string, RegExp][] = [
    ["on-gvisor", "gvisor", "runtime: node\nentry: main.ts\n", /MFD_NOEXEC_SEAL/],
    ["on-gvisor-too", "gvisor", 'run: ["/run/runtime/node", "main.ts"]\n', /MFD_NOEXEC_SEAL/],
    ["talks", "gvisor", 'run: ["/bin/true"]\nresources: [daemon]\n', /gVisor does not connect/],
    ["rooted", "crun", 'run: ["/bin/true"]\nroot: image\n', /engine: native alone/],
  ];
  for (const [name, engine, start, why] of cases) {
    if (found.find((f) => f.engine === engine)?.path === null) continue;
    const folder = opFolder(appliance, `op: demo/${name}\nsummary: x\n${start}engine: ${engine}\n`, {
      "main.ts": "",
    });
    const published = await appliance.cli(["op", "publish", folder]);
    if (name === "rooted") {
      t.match(published.stderr, /image/, "the image is not there either");
      continue;
    }
    if (name !== "talks") t.match(published.stdout, why);
    t.match((await appliance.cli(["run", `demo/${name}`])).stderr, why);
  }
  t.equal((await appliance.ok(["runs", "list", "--json"])).stdout, before);
});
