import { spawn, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";
import { compile } from "../sandbox/support/probe.ts";
import { EXE, notBuilt } from "./packaged.ts";

t.setTimeout(FILE_TIMEOUT);

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

t.test("a kernel that can't seal a memfd at once is asked again", { skip: notBuilt }, async (t) => {
  const busy = compile([join(import.meta.dirname, "support/busy.c")]);
  t.match(spawnSync(busy, ["3", EXE, "self-check"], { encoding: "utf8" }), { status: 0, stderr: "" });
  t.match(spawnSync(busy, ["1000000", EXE, "--version"], { encoding: "utf8" }), {
    status: 1,
    stderr: "sallyport: a memfd can't be sealed (F_ADD_SEALS failed)\n",
  });
});

t.test("it works where memfds may not be executed", { skip: asRoot }, async (t) => {
  if (!existsSync("/proc/sys/vm/memfd_noexec")) {
    t.pass("no vm.memfd_noexec", { skip: "this kernel has no vm.memfd_noexec (Linux 6.3)" });
    return;
  }
  const box = new Box();
  t.teardown(() => box.stop());
  await box.init();
  for (const value of ["0", "1", "2"]) {
    const check = spawnSync("unshare", [...UNSHARE, settingThen(value), EXE, "self-check"], {
      encoding: "utf8",
    });
    t.match(check, { status: 0, stderr: "" }, `vm.memfd_noexec=${value}`);
    const serve = serveWith(t, box, settingThen(value));
    await until(async () => (await box.status().catch(() => null)) !== null, 30_000, serve.said);
    await box.unlock();
    await box.tested();
    t.match((await box.status()).sandbox, /^tested, limits by/, "serve runs, its self-test passes");
    t.equal(await serve.end(), 0, "and it ends when told");
  }

  const noexec = "mount --bind DIR DIR && mount -o remount,bind,noexec DIR";
  const dirs = [box.stateDir, "/var/tmp", "/tmp"];
  const mounts = dirs.map((dir) => noexec.replaceAll("DIR", dir)).join(" && ");
  // From a mount of its own: the checkout may lie below one of these directories.
  const elsewhere = `mount --bind "$(dirname "$0")" /mnt && ${mounts} && ${settingThen("2")}`;
  const refused = serveWith(t, box, elsewhere.replace('exec "$0"', "exec /mnt/sallyport"));
  t.equal(await refused.ended, 1, "and where no file may be executed either, it says so");
  for (const part of [/^sallyport: No place allows code to run/m, /vm\.memfd_noexec/, ...dirs])
    t.match(refused.said(), part);
  t.notMatch(refused.said(), /internal|\n {4}at /);
});

const UNSHARE = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"];
/** The setting belongs to the pid namespace. */
const settingThen = (value: string) => `echo ${value} > /proc/sys/vm/memfd_noexec && exec "$0" "$@"`;

function serveWith(t: Test, box: Box, script: string) {
  const args = [...UNSHARE, script, EXE, "serve", "--end-with-stdin"];
  const child = spawn("unshare", args, { env: box.env, stdio: ["pipe", "pipe", "pipe"] });
  t.teardown(() => child.kill("SIGKILL"));
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (said += chunk));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const end = () => {
    child.stdin.end();
    return ended;
  };
  return { said: () => said, ended, end };
}

t.test("without /proc it says so", { skip: asRoot }, async (t) => {
  const script = 'mount -t tmpfs none /proc && exec "$0" --version';
  const run = spawnSync("unshare", ["--mount", "sh", "-c", script, EXE], { encoding: "utf8" });
  t.match(run, { status: 1, stdout: "", stderr: /^sallyport: \/proc is not mounted here; mount it: .*\n$/ });
});

t.test("with raised privileges it does not start", { skip: asRoot }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  chmodSync(dir, 0o755);
  const options = spawnSync("findmnt", ["-no", "OPTIONS", "--target", dir], { encoding: "utf8" }).stdout;
  if (options.split(",").includes("nosuid")) {
    t.pass("no set-user-id here", { skip: `${dir} is on a nosuid mount; name another one with TMPDIR` });
    return;
  }
  const copy = join(dir, "sallyport");
  copyFileSync(EXE, copy);
  chmodSync(copy, 0o4755);
  const run = spawnSync(copy, ["--version"], { uid: 65534, gid: 65534, encoding: "utf8", cwd: "/" });
  t.match(run, { status: 1, stdout: "", stderr: /^sallyport: not with set-user-id/ });
});
