import { spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { encodeRole, roleConfinement } from "../../src/cli/role-confinement.ts";
import { harden } from "../../src/host/harden.ts";
import { repoPath } from "../../src/host/self.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { plainSite } from "./support/site.ts";
import { LAUNCHER } from "./support/spec.ts";

/** A runner that was taken over asks its launcher for what of the host it likes, and gets what serve listed for it. */

t.setTimeout(FILE_TIMEOUT);
const base = mkdtempSync(join(tmpdir(), "sallyport-allowed-"));
t.teardown(() => rmSync(base, { recursive: true, force: true }));

const runtimes = join(base, "runtimes");
const digest = `sha256-${"0".repeat(64)}`;
const state = join(base, "state");
const run = join(base, "run");
const logs = join(base, "logs");
for (const dir of [join(runtimes, digest, "etc"), join(runtimes, "other"), state, run, logs])
  mkdirSync(dir, { recursive: true });
for (const name of ["passwd", "group", "hosts", "nsswitch.conf", "resolv.conf"])
  writeFileSync(join(runtimes, digest, "etc", name), "");
const daemon = createServer().listen(join(base, "daemon.sock"));
t.teardown(() => daemon.close());

type Want = Record<string, unknown>;
type Told = { outcome: string; detail: string | null };

async function ask(wants: readonly Want[]): Promise<Told[]> {
  const { uid } = statSync(logs);
  const site = {
    ...plainSite({ state, run, log: join(base, "log") }),
    runtimes,
    resources: [{ name: "logs", path: logs, mode: "ro" as const, uid }],
  };
  const confinement = roleConfinement("runner", site);
  const [ours, theirs] = harden().socketpair();
  const exe = openSync(process.execPath, "r");
  const self = [repoPath("test/sandbox/support/lying-runner.ts"), JSON.stringify(wants)];
  const spec = harden().memfd("spec", encodeRole("runner", confinement, ["SALLYPORT_PEER_FD"], self));
  const child = spawn(LAUNCHER, [confinement.launcher, "3"], {
    stdio: ["ignore", "pipe", "inherit", spec, exe, theirs],
    env: {},
  });
  for (const fd of [spec, theirs]) harden().closeFd(fd);
  closeSync(exe);
  let stdout = "";
  child.stdout?.on("data", (chunk) => (stdout += chunk));
  const code = await new Promise((resolve) => child.once("close", resolve));
  harden().closeFd(ours);
  t.equal(code, 0);
  return JSON.parse(stdout) as Told[];
}

const of = (path: string) => {
  const { dev, ino } = statSync(path, { bigint: true });
  return { path, kind: "directory", writable: false, dev: `${dev}`, ino: `${ino}` };
};

t.test("what serve listed is given", async (t) => {
  const [resource, root] = await ask([
    { binds: [{ name: "logs", ...of(logs) }] },
    { root: join(runtimes, digest), node: process.execPath },
  ]);
  t.match(resource, { outcome: "exited" });
  // The root is empty: that its program is what is missing says that it was taken.
  t.match(root, { outcome: "launch_failed", detail: /true/ });
});

t.test("anything else is refused before anything of it is opened", async (t) => {
  const wants: Want[] = [
    { root: "/" },
    { root: base },
    { root: runtimes },
    { root: join(runtimes, "other") },
    { root: `${runtimes}/${digest}/etc` },
    { root: `${runtimes}/../runtimes/${digest}` },
    { root: `${runtimes}/${digest.slice(0, -1)}` },
    { node: "/etc/shadow" },
    { node: `${process.execPath}/` },
    { binds: [{ name: "logs", ...of(logs), writable: true }] },
    { binds: [{ name: "logs", ...of(state) }] },
    { binds: [{ name: "other", ...of(logs) }] },
    {
      binds: [
        { name: "logs", ...of(logs) },
        { name: "more", ...of("/etc") },
      ],
    },
    { binds: [{ name: "logs", ...of(join(base, "daemon.sock")), kind: "socket" }] },
    { egress: { socket: join(base, "daemon.sock") } },
  ];
  const told = await ask(wants);
  for (const [i, want] of wants.entries())
    t.match(told[i], { outcome: "launch_failed", detail: /"allowed"/ }, JSON.stringify(want).slice(0, 120));
});
