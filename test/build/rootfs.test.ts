import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { EXE, neededBy, notBuilt, ROOT } from "./packaged.ts";

t.setTimeout(FILE_TIMEOUT);

/** All that a host must have: glibc's loader and libraries (README says so too). */
const GLIBC = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"];

/** A root file system with the executable and glibc's libraries, nothing else: no shell, no Node, no libstdc++. */
function makeRoot(dir: string): string {
  const root = join(dir, "root");
  const folders = [
    "lib64",
    "lib/x86_64-linux-gnu",
    "app",
    "proc",
    "tmp",
    "run",
    "var/tmp",
    "state",
    "etc",
    "dev/shm",
  ];
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
  for (const device of ["null", "zero", "urandom", "random", "full"])
    writeFileSync(join(root, "dev", device), "");
  copyFileSync(realpathSync("/lib64/ld-linux-x86-64.so.2"), join(root, "lib64/ld-linux-x86-64.so.2"));
  for (const library of GLIBC) {
    const path = execFileSync("gcc", [`-print-file-name=${library}`], { encoding: "utf8" }).trim();
    copyFileSync(realpathSync(path), join(root, "lib/x86_64-linux-gnu", library));
  }
  writeFileSync(
    join(root, "etc/passwd"),
    `tester:x:${process.getuid?.()}:${process.getgid?.()}::/state:/none\n`,
  );
  chmodSync(join(root, "state"), 0o700);
  copyFileSync(EXE, join(root, "app/sallyport"));
  chmodSync(join(root, "app/sallyport"), 0o755);
  return root;
}

t.test("alone on a host with glibc and nothing else", { skip: notBuilt }, async (t) => {
  const dir = t.testdir();
  const enter = join(dir, "enter-root");
  execFileSync("gcc", [
    "-O1",
    "-Wall",
    "-Werror",
    "-static",
    "-o",
    enter,
    join(ROOT, "test/build/enter-root.c"),
  ]);
  const root = makeRoot(dir);
  const run = (...args: string[]) =>
    spawnSync(enter, [root, "/app/sallyport", ...args], { encoding: "utf8", timeout: 60_000 });

  const version = run("--version");
  if (/^enter-root: unshare/.test(version.stderr)) {
    t.pass("no namespaces", { skip: "an ordinary user may not make namespaces here; run this test as root" });
    return;
  }
  const { version: expected } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  t.match(version, { status: 0, stdout: `${expected}\n`, stderr: "" }, "--version");

  const check = run("self-check");
  t.equal(check.status, 0, check.stderr);
  const parts = JSON.parse(check.stdout || "{}");
  t.match(parts, { packaged: true, argon2: "$argon2id", cedar: /^4\./, uid: process.getuid?.() ?? -1 });
  t.match(String(parts.sqlcipher), /^4\.14/, "SQLCipher's addon runs");
  t.equal(parts.cipherProvider.split(" ")[1], parts.openssl, "on Node's own OpenSSL");

  await t.test("it initializes, serves, unlocks, ends", async (t) => {
    const passphrase = "correct horse battery staple";
    const dirs = ["--state-dir", "/state/db", "--run-dir", "/state/run", "--log-dir", "/state/log"];
    const ask = (...args: string[]) =>
      spawnSync(enter, [root, "/app/sallyport", ...args, ...dirs], {
        encoding: "utf8",
        input: passphrase,
        timeout: 60_000,
      });
    const init = ask("init", "--passphrase-fd", "0", "--admin", "ada", "--argon2", "65536,3,4");
    t.equal(init.status, 0, init.stderr);
    t.equal(ask("status").status, 5, "not running");

    const serve = spawn(enter, [root, "/app/sallyport", "serve", ...dirs], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    t.teardown(() => serve.kill("SIGKILL"));
    let said = "";
    for (const stream of [serve.stdout, serve.stderr]) stream.on("data", (chunk) => (said += chunk));
    const state = () => JSON.parse(ask("status", "--json").stdout || "{}").state;
    for (let i = 0; i < 100 && state() !== "sealed"; i++) await sleep(100);
    t.equal(state(), "sealed", said);
    const unlock = ask("unlock", "--passphrase-fd", "0");
    t.equal(unlock.status, 0, unlock.stderr + said);
    t.equal(state(), "unlocked");
    const closed = once(serve, "close");
    const from = performance.now();
    serve.kill("SIGTERM");
    t.same(await closed, [0, null], said);
    t.ok(performance.now() - from < 10_000, "and ends when told");
    t.equal(ask("status").status, 5);
  });

  t.same(readdirSync(join(root, "app")), ["sallyport"], "nothing is unpacked beside it");
});

t.test("the native parts name no library but glibc's", { skip: notBuilt }, async (t) => {
  const glibc = [...GLIBC, "ld-linux-x86-64.so.2"];
  for (const name of ["harden", "sqlcipher", "argon2"]) {
    const needed = neededBy(join(ROOT, `build/${name}.node`));
    t.same(
      needed.filter((library) => !glibc.includes(library)),
      [],
      `${name}.node: ${needed}`,
    );
  }
  const carried = ["libstdc++.so.6", "libgcc_s.so.1", "libatomic.so.1"];
  t.same(
    neededBy(EXE).filter((library) => !glibc.includes(library) && !carried.includes(library)),
    [],
    "the executable needs glibc and what it carries",
  );
});

t.test("no part needs a glibc newer than README promises", { skip: notBuilt }, async (t) => {
  const promised = /glibc ([0-9]+)\.([0-9]+)/.exec(readFileSync(join(ROOT, "README.md"), "utf8"));
  t.ok(promised, "README states the oldest glibc");
  const carried = ["libstdc++.so.6", "libgcc_s.so.1", "libatomic.so.1"].map((name) =>
    execFileSync("gcc", [`-print-file-name=${name}`], { encoding: "utf8" }).trim(),
  );
  const parts = ["harden", "sqlcipher", "argon2"].map((name) => join(ROOT, `build/${name}.node`));
  for (const file of [EXE, ...carried, ...parts]) {
    const versions = execFileSync("readelf", ["-VW", file], { encoding: "utf8" });
    const newest = Math.max(...[...versions.matchAll(/GLIBC_2\.([0-9]+)/g)].map((match) => Number(match[1])));
    t.ok(newest <= Number(promised?.[2]), `${file} needs glibc 2.${newest}`);
  }
});
