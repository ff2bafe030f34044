import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { until } from "../e2e/appliance.ts";
import { FILE_TIMEOUT, type Status } from "../faults/support.ts";
import { EXE, listening, notBuilt, traps } from "./packaged.ts";

t.setTimeout(FILE_TIMEOUT);

const ROLES = ["keeper", "gateway", "runner", "notary", "egress"] as const;

/** This process and all its descendants: pid to command line. */
function family(pid: number): Map<number, string> {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc").filter((entry) => /^[0-9]+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 4).split(" ")[0]));
    } catch {
      // Gone meanwhile.
    }
  }
  const members = new Map<number, string>();
  const descends = (one: number): boolean =>
    one === pid || (parents.has(one) && descends(parents.get(one) ?? 0));
  for (const one of parents.keys()) {
    if (one === 0 || !descends(one)) continue;
    try {
      members.set(one, readFileSync(`/proc/${one}/cmdline`, "utf8").replaceAll("\0", " "));
    } catch {
      // Gone meanwhile: the launcher keeps spares, and the self-test starts and ends its own.
    }
  }
  return members;
}

t.test("no role takes code or a debugger from outside", { skip: notBuilt }, async (t) => {
  // Not t.testdir: a Unix socket's path has at most 107 bytes.
  const dir = mkdtempSync(join(tmpdir(), "sallyport-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  for (const folder of ["traps", "work"]) mkdirSync(join(dir, folder));
  const { env: bait, marks } = traps(join(dir, "traps"));
  const work = join(dir, "work");
  const env = {
    ...bait,
    PATH: process.env.PATH ?? "",
    SALLYPORT_STATE_DIR: join(work, "state"),
    SALLYPORT_RUN_DIR: join(work, "run"),
    SALLYPORT_LOG_DIR: join(work, "log"),
    // The gateway connects only once unlocked and given tokens; this address answers nothing.
    SALLYPORT_SLACK_API_URL: "http://127.0.0.1:9/api/",
  };
  const passphrase = "correct horse battery staple";
  const ask = (...args: string[]) =>
    spawnSync(EXE, args, { encoding: "utf8", env, cwd: dir, input: passphrase });
  t.equal(ask("init", "--passphrase-fd", "0", "--admin", "ada", "--argon2", "65536,3,4").status, 0);

  // In a network namespace of its own, so that every listening socket there is its own: whoever is no root can't look into
  // the roles' descriptors, for they are not dumpable.
  const alone = process.getuid?.() === 0 ? ["--net"] : ["--user", "--map-current-user", "--net"];
  if (spawnSync("unshare", [...alone, "true"]).status !== 0) {
    t.pass("no namespaces", { skip: "an ordinary user may not make namespaces here; run this test as root" });
    return;
  }
  // env(1) hands the bait over, so that unshare itself does not swallow it.
  const baited = ["env", ...Object.entries(env).map(([name, value]) => `${name}=${value}`), EXE, "serve"];
  const serve = spawn("unshare", [...alone, ...baited], {
    env: { PATH: env.PATH },
    cwd: dir,
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.teardown(() => serve.kill("SIGKILL"));
  let said = "";
  for (const stream of [serve.stdout, serve.stderr]) {
    stream.on("data", (chunk) => {
      said += chunk;
    });
  }
  const status = (): Partial<Status> => JSON.parse(ask("status", "--json").stdout || "{}");
  const state = () => status().state;
  await until(
    () => state() === "sealed",
    30_000,
    () => said,
  );
  const unlock = ask("unlock", "--passphrase-fd", "0");
  t.equal(unlock.status, 0, unlock.stderr);
  const isReady = ({ roles, sandbox }: Partial<Status>) =>
    roles !== undefined && ROLES.every((role) => roles[role]) && !/not tested/.test(sandbox ?? "not tested");
  await until(
    () => isReady(status()),
    60_000,
    () => said,
  );
  t.notMatch(JSON.stringify(status()), "abi=99", "what the launcher says of a role, only the launcher says");

  const rolesNow = () => [...family(serve.pid ?? 0)].filter(([, line]) => / role /.test(line));
  await until(() => rolesNow().length >= ROLES.length, 15_000);
  const roles = rolesNow();
  t.same(
    roles.map(([, line]) => / role ([a-z]+)/.exec(line)?.[1]).sort(),
    [...ROLES].sort(),
    "each role runs once",
  );
  for (const [pid] of [...roles, [serve.pid ?? 0]] as [number][]) process.kill(pid, "SIGUSR1");
  await sleep(300);
  const network = (pid: number): string => readlinkSync(`/proc/${pid}/ns/net`);
  t.not(network(serve.pid ?? 0), network(process.pid));
  for (const [pid, line] of [...roles, [serve.pid ?? 0, "serve"] as const]) {
    t.same(listening(pid, "namespace"), [], `no listening socket: ${line}`);
  }
  t.equal(state(), "unlocked", "SIGUSR1 ended nothing");
  t.same(rolesNow().sort(), roles.sort(), "the same processes as before");
  t.equal(serve.exitCode, null);
  t.same(marks(), [], "nothing from the environment was loaded");
  t.notMatch(said, /[Dd]ebugger/);

  for (const [pid, line] of roles) {
    t.notMatch(readFileSync(`/proc/${pid}/cmdline`, "utf8") + line, passphrase, "no passphrase in argv");
    const limits = /Max core file size\s+(\S+)\s+(\S+)/.exec(readFileSync(`/proc/${pid}/limits`, "utf8"));
    t.same(limits?.slice(1), ["1", "1"], `core dumps are off: ${line}`);
  }

  const closed = once(serve, "close");
  serve.kill("SIGTERM");
  t.same(await closed, [0, null], said);
  t.same(
    readdirSync(dir, { recursive: true, encoding: "utf8" }).filter(
      (file) => /\.(node|so|cjs)$/.test(file) && !file.startsWith("traps"),
    ),
    [],
    "no code was left in the state, run or log directory",
  );
});
