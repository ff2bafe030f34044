import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ROOT } from "./packaged.ts";

/** scripts/setup on a host that has these commands alone; each writes its arguments to `calls` first. */
function setup(
  t: Test,
  commands: Record<string, string>,
): { status: number | null; stderr: string; calls: string } {
  const dir = t.testdir({ scripts: {}, bin: {}, node_modules: {} });
  copyFileSync(join(ROOT, "scripts/setup"), join(dir, "scripts/setup"));
  writeFileSync(join(dir, "package-lock.json"), "{}");
  writeFileSync(join(dir, "node_modules/.package-lock.json"), "{}");
  const log = join(dir, "calls");
  for (const name of ["dirname", "mkdir", "env"]) symlinkSync(`/usr/bin/${name}`, join(dir, "bin", name));
  for (const [name, body] of Object.entries({ npm: "", make: "", "g++": "", ...commands })) {
    const file = join(dir, "bin", name);
    writeFileSync(file, `#!/bin/sh\necho "${name} $*" >> '${log}'\n${body}\n`);
    chmodSync(file, 0o755);
  }
  const { status, stderr } = spawnSync("/bin/sh", [join(dir, "scripts/setup")], {
    env: { PATH: join(dir, "bin") },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  return { status, stderr, calls: existsSync(log) ? readFileSync(log, "utf8") : "" };
}

const USER = { id: "echo 1000" };
/** A compiler that finds the C library's headers, and libseccomp's not. */
const GCC = `case $1 in -print-file-name=*) echo libseccomp.a;; *) read -r line; case $line in *seccomp*) exit 1;; esac;; esac`;
/** What sudo without a password does: runs the rest. */
const SUDO = `[ "$1" = -n ] && shift; [ "$1" = true ] && exit 0; exec "$@"`;

t.test(
  "with sudo: packages are installed with nobody to ask, and while another apt is at work",
  async (t) => {
    const said = setup(t, { ...USER, sudo: SUDO, "apt-get": "" });
    t.equal(said.status, 0, said.stderr);
    t.match(
      said.calls,
      /^sudo -n env DEBIAN_FRONTEND=noninteractive apt-get .*install .*gcc libc6-dev libseccomp-dev$/m,
    );
    t.match(said.calls, /^apt-get -qq -o DPkg::Lock::Timeout=120 install/m);
  },
);

t.test("apt's lists are fetched where nothing is found, and a failure names what to do", async (t) => {
  const said = setup(t, { id: "echo 0", "apt-get": 'case "$*" in *update*) exit 0;; esac; exit 100' });
  t.equal(said.status, 1);
  t.match(said.calls, /install[\s\S]*update[\s\S]*install/);
  t.match(
    said.stderr,
    /could not install .*sudo apt-get install --no-install-recommends gcc libc6-dev libseccomp-dev/,
  );
});

t.test("a sudo that wants a password, and no terminal: what to run is said", async (t) => {
  const said = setup(t, { ...USER, sudo: "exit 1" });
  t.equal(said.status, 1);
  t.match(said.stderr, /missing, .*can't install them.* sudo apt-get update && sudo apt-get install .*gcc/);
  t.notMatch(said.calls, "apt-get");
});

t.test("libseccomp that can't be downloaded is said by name", async (t) => {
  const said = setup(t, { ...USER, gcc: GCC, "apt-get": "exit 100" });
  t.equal(said.status, 1);
  t.match(said.calls, "apt-get download -qq libseccomp-dev");
  t.match(said.stderr, /libseccomp-dev can't be downloaded .*sudo apt-get install .*libseccomp-dev/);
});

t.test("development packages come whatever npm is told elsewhere", async (t) => {
  const omit = {
    PATH: process.env.PATH ?? "",
    HOME: t.testdir(),
    NODE_ENV: "production",
    npm_config_omit: "dev",
  };
  const get = spawnSync("npm", ["config", "get", "include"], { cwd: ROOT, env: omit, encoding: "utf8" });
  t.equal(get.stdout.trim(), "dev");
});
