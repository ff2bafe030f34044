import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { TestAppliance } from "./appliance.ts";
import { answer, caughtUp, logged, opFolder } from "./slack-rig.ts";

/** Resources of the host: listed by root in sallyport.yaml, asked for by name, seen by the Op and by the log. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const host = (name: string): string => join(appliance.dir, "host", name);
for (const dir of ["logs", "spool", "swapped", "elsewhere"]) mkdirSync(host(dir), { recursive: true });
// Under root each run is an account of its own: what it is to read or write must be open to others.
chmodSync(host("spool"), 0o777);
writeFileSync(host("logs/app.log"), "a line of the host\n", { mode: 0o666 });
chmodSync(host("logs/app.log"), 0o666);
writeFileSync(host("elsewhere/secret"), "not for Ops\n");
symlinkSync(host("elsewhere/secret"), host("logs/out"));
const server = createServer((socket) => socket.end("said by the daemon\n"));
await new Promise<void>((resolve) => server.listen(host("daemon.sock"), resolve));
t.teardown(() => server.close());
chmodSync(host("daemon.sock"), 0o666);
appliance.configure(`limits: best-effort
resources:
  app-logs: {path: ${host("logs")}, mode: ro}
  spool: {path: ${host("spool")}, mode: rw}
  swapped: {path: ${host("swapped")}}
  daemon: {socket: ${host("daemon.sock")}}
`);
const workspace = await appliance.ready();

async function publish(name: string, resources: string, script: string): Promise<string> {
  const folder = opFolder(
    appliance,
    `op: demo/${name}\nsummary: ${name}\nrun: ["./main.sh"]\nresources: ${resources}\n`,
    { "main.sh": `#!/bin/sh\n${script}\n` },
  );
  return (await appliance.ok(["op", "publish", folder])).stdout;
}

t.test("a directory to read, a directory to write, a socket", async (t) => {
  const said = await publish(
    "all",
    "[app-logs, spool, daemon]",
    `cd /run/resources; ls; cat app-logs/app.log app-logs/out; echo x >> app-logs/app.log; echo kept > spool/kept
ls app-logs/.. ; cat app-logs/../../../etc/shadow
python3 -c 'import socket
s = socket.socket(socket.AF_UNIX); s.connect("daemon"); print(s.recv(99).decode(), end="")'`,
  );
  t.notMatch(said, "warning");
  const run = await appliance.cli(["run", "demo/all"]);
  const out = run.stdout + run.stderr;
  t.match(out, "app-logs\ndaemon\nspool\na line of the host\n", out);
  t.match(out, /app-logs\/app\.log: Read-only file system/);
  t.match(out, "said by the daemon");
  t.notMatch(out, "not for Ops", "a link in it leads to nothing of the host");
  t.match(out, /out: No such file/);
  t.match(out, /\.\.\/etc\/shadow: No such file/);
  t.equal(readFileSync(host("spool/kept"), "utf8"), "kept\n");
  t.equal(readFileSync(host("logs/app.log"), "utf8"), "a line of the host\n");
  await caughtUp(appliance);
  const asked = logged(appliance, "run.requested").at(-1)!;
  t.match(JSON.stringify(asked), "app-logs:ro,spool:rw,daemon:socket");
  t.match((await appliance.ok(["op", "show", "demo/all"])).stdout, /resources.*app-logs/);
  const shown = await answer(workspace.command("alice", "ops", "/ops show demo/all"));
  t.match(shown, "Given of the host: app-logs:ro, spool:rw, daemon:socket");
});

t.test("another Op sees none of it", async (t) => {
  await publish("none", "[]", "ls -A /run /run/resources");
  const run = await appliance.cli(["run", "demo/none"]);
  t.notMatch(run.stdout, "app-logs");
  t.match(run.stdout + run.stderr, /resources.*No such file/);
});

t.test("a name that the host does not list: told at publish, refused at run, no run recorded", async (t) => {
  const said = await publish("unlisted", "[app-logs, other]", "echo ran");
  t.match(said, /warning: it can't run here: it asks for the resource other, which sallyport\.yaml/);
  const run = await appliance.cli(["run", "demo/unlisted"]);
  t.match(run, { status: 3, stderr: /the resource other, which sallyport\.yaml of this host does not list/ });
  const { runs } = (await appliance.ok(["runs", "list", "--json"])).json() as { runs: { op: string }[] };
  t.notMatch(JSON.stringify(runs), "unlisted");
});

t.test("what is put in its place is refused, and an event", async (t) => {
  await publish("swapped", "[swapped]", "cat /run/resources/swapped/secret; echo ran");
  t.match((await appliance.cli(["run", "demo/swapped"])).stdout, "ran");
  const refused = async (what: string, why: RegExp): Promise<void> => {
    const run = await appliance.cli(["run", "demo/swapped"]);
    t.not(run.status, 0, what);
    t.match(run.stdout + run.stderr, why, what);
    t.notMatch(run.stdout, "ran", what);
    await caughtUp(appliance);
    const event = logged(appliance, "resource.refused").at(-1);
    t.match(event, { event: { outcome: "failure", reason: why } }, what);
    t.match(JSON.stringify(event), '"swapped"', what);
  };
  renameSync(host("swapped"), host("was"));
  symlinkSync(host("elsewhere"), host("swapped"));
  await refused("a link", /The resource swapped is not given: .* leads through a link/);
  rmSync(host("swapped"));
  await refused("nothing", /The resource swapped is not given: .* is not there/);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(host("swapped"), resolve));
  await refused("a socket", /is neither a directory nor a regular file/);
  server.close();
  mkdirSync(host("swapped"));
  chmodSync(join(appliance.dir, "host"), 0o777);
  await refused("a way that others can write to", /could be put in place of by others/);
  chmodSync(join(appliance.dir, "host"), 0o755);
  t.match((await appliance.cli(["run", "demo/swapped"])).stdout, "ran", "as it was");
  if (process.getuid?.() !== 0) return t.comment("another owner: only root can give a directory away");
  chownSync(host("swapped"), 12_345, 12_345);
  await refused("another owner", /belongs to uid 12345 now/);
});

t.test("a configuration at fault is one sentence, and nothing starts", async (t) => {
  for (const [entry, why] of [
    [`{path: ${appliance.stateDir}}`, /resources\.bad: .* holds, or is part of, what is sallyport's own/],
    ["{socket: /run/docker.sock, owner: 0}", /resources\.bad: .* is how a daemon is told what to do as root/],
    ["{path: /etc}", /resources\.bad: \/etc is a path of the system/],
  ] as const) {
    appliance.configure(`resources: {bad: ${entry}}\n`);
    const said = await appliance.cli(["serve"]);
    t.equal(said.status, 2);
    t.match(said.stderr, why);
  }
});
