import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { EXE, notBuilt } from "./packaged.ts";

/** scripts/lib/start.c: what runs before the dynamic loader. */
const asRoot =
  notBuilt || (process.getuid?.() === 0 ? false : "needs root: it makes a pid namespace or a setuid file");

t.test("the command line and the environment arrive whole", { skip: notBuilt }, async (t) => {
  const many = Array.from({ length: 5000 }, (_, i) => `argument-${i}`);
  t.equal(spawnSync(EXE, ["self-check", ...many]).status, 0, "5000 arguments");
  const env = Object.fromEntries(Array.from({ length: 4000 }, (_, i) => [`VARIABLE_${i}`, "x".repeat(100)]));
  t.equal(spawnSync(EXE, ["self-check"], { env }).status, 0, "4000 variables");
  t.equal(spawnSync(EXE, ["--version"], { env: {} }).status, 0, "no variable");
  t.equal(spawnSync(EXE, ["--version"], { argv0: "x".repeat(5000) }).status, 0, "a long name");

  const more = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`VARIABLE_${i}`, "x"]));
  const refused = spawnSync(EXE, ["--version"], { env: more, encoding: "utf8" });
  t.match(refused, {
    status: 1,
    stderr: "sallyport: the environment has more than 4096 variables\n",
    stdout: "",
  });
});

t.test("it works where memfds may not be executed", { skip: asRoot }, async (t) => {
  if (!existsSync("/proc/sys/vm/memfd_noexec")) {
    t.pass("no vm.memfd_noexec", { skip: "this kernel has no vm.memfd_noexec (Linux 6.3)" });
    return;
  }
  for (const value of ["0", "1", "2"]) {
    // The setting belongs to the pid namespace.
    const script = `echo ${value} > /proc/sys/vm/memfd_noexec && exec "$0" self-check`;
    const run = spawnSync("unshare", ["--pid", "--fork", "--mount-proc", "sh", "-c", script, EXE], {
      encoding: "utf8",
    });
    t.match(run, { status: 0, stderr: "" }, `vm.memfd_noexec=${value}`);
  }
});

t.test("without /proc it says so", { skip: asRoot }, async (t) => {
  const script = 'mount -t tmpfs none /proc && exec "$0" --version';
  const run = spawnSync("unshare", ["--mount", "sh", "-c", script, EXE], { encoding: "utf8" });
  t.match(run, { status: 1, stdout: "", stderr: /^sallyport: \/proc is not mounted here; mount it: .*\n$/ });
});

t.test("with raised privileges it does not start", { skip: asRoot }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  chmodSync(dir, 0o755);
  const copy = join(dir, "sallyport");
  copyFileSync(EXE, copy);
  chmodSync(copy, 0o4755);
  const run = spawnSync(copy, ["--version"], { uid: 65534, gid: 65534, encoding: "utf8", cwd: "/" });
  t.match(run, { status: 1, stdout: "", stderr: /^sallyport: not with set-user-id/ });
});
