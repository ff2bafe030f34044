import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { EXE, listening, notBuilt, traps } from "./packaged.ts";

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

interface Running {
  child: Child;
  pid: number;
  stderr: () => string;
  end: () => Promise<number | null>;
}

/** Starts the executable's self-check, which loads everything and stays until stdin ends. */
async function start(env: Record<string, string>, cwd: string, before: string[] = []): Promise<Running> {
  const child = spawn(EXE, [...before, "self-check", "--wait"], {
    env: { PATH: process.env.PATH ?? "", TMPDIR: cwd, HOME: cwd, ...env },
    cwd,
    stdio: ["pipe", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += chunk;
  });
  const closed = once(child, "close");
  await Promise.race([once(child.stdout, "data"), closed]);
  return {
    child,
    pid: child.pid ?? 0,
    stderr: () => stderr,
    end: async () => {
      child.stdin.end();
      return ((await closed) as [number | null])[0];
    },
  };
}

t.test("SIGUSR1 opens no debugger and ends nothing", { skip: notBuilt }, async (t) => {
  const it = await start({}, t.testdir());
  for (let i = 0; i < 3; i++) {
    process.kill(it.pid, "SIGUSR1");
    await sleep(100);
  }
  t.same(listening(it.pid), []);
  t.equal(await it.end(), 0);
  t.equal(it.stderr(), "");
});

t.test("the control: plain Node does open one", { skip: notBuilt }, async (t) => {
  const child = spawn(process.execPath, ["-e", "console.log(1); setTimeout(() => {}, 20000)"]);
  await once(child.stdout, "data");
  child.kill("SIGUSR1");
  await once(child.stderr, "data");
  t.not(listening(child.pid ?? 0).length, 0, "so the test above can see a debugger");
  child.kill("SIGKILL");
});

t.test("the environment loads no code and opens no debugger", { skip: notBuilt }, async (t) => {
  const dir = t.testdir();
  const { env, marks } = traps(dir);
  const it = await start(env, dir);
  t.same(listening(it.pid), []);
  t.equal(await it.end(), 0);
  t.equal(it.stderr(), "");
  t.same(marks(), []);
});

t.test("the control: the same environment does load code into plain Node", { skip: notBuilt }, async (t) => {
  const dir = t.testdir();
  const { env, marks } = traps(dir);
  const { NODE_OPTIONS: options = "", LD_PRELOAD: preload = "" } = env;
  const child = spawn(process.execPath, ["-e", "0"], { env: { NODE_OPTIONS: options, LD_PRELOAD: preload } });
  await once(child, "close");
  t.same(marks().sort(), ["mark-native", "mark-require"], "so the test above can see it");
});

t.test("the runtime takes no flag from argv", { skip: notBuilt }, async (t) => {
  for (const flags of [
    ["--inspect=127.0.0.1:0"],
    ["--inspect-brk=127.0.0.1:0"],
    ["--node-options=--inspect=127.0.0.1:0"],
    ["--require=/nonexistent.js"],
    ["--import=data:text/javascript,process.exit(9)"],
    ["--eval=process.exit(9)"],
    ["--allow-natives-syntax"],
  ]) {
    const it = await start({}, t.testdir(), flags);
    t.same(listening(it.pid), [], flags.join(" "));
    t.equal(await it.end(), 0, flags.join(" "));
    t.notMatch(it.stderr(), /[Dd]ebugger|nonexistent/);
  }
});

t.test(
  "an inherited descriptor is code only when it holds this executable's own",
  { skip: notBuilt },
  async (t) => {
    const dir = t.testdir();
    const { env, marks } = traps(dir);
    const fd = openSync(env.LD_PRELOAD ?? "", "r");
    const child = spawn(EXE, ["self-check"], {
      env: { SALLYPORT_ADDONS: "harden=3" },
      stdio: ["ignore", "pipe", "pipe", fd],
    });
    closeSync(fd);
    let stderr = "";
    child.stderr?.on("data", (chunk) => {
      stderr += chunk;
    });
    t.same(await once(child, "close"), [1, null]);
    t.match(stderr, /not this executable's harden addon/);
    t.same(marks(), []);
  },
);

t.test("a wrong list of inherited addons is one clear error", { skip: notBuilt }, async (t) => {
  for (const [list, said] of [
    ["", /names no harden addon/],
    ["sqlcipher=0", /can't be read|not this executable's/],
    ["harden=99", /can't be read/],
    ["evil=3", /holds "evil=3"/],
  ] as const) {
    const env = { SALLYPORT_ADDONS: list };
    const { status, stderr, stdout } = spawnSync(EXE, ["self-check"], {
      env,
      encoding: "utf8",
      timeout: 20_000,
    });
    t.same([status, stdout], [1, ""], list);
    t.match(stderr, said);
  }
});

t.test("what is unpacked is in memory and sealed", { skip: notBuilt }, async (t) => {
  const dir = t.testdir();
  const it = await start({}, dir);
  const maps = readFileSync(`/proc/${it.pid}/maps`, "utf8").trim().split("\n");
  const mapped = maps.map((line) => ({
    mode: line.split(" ")[1] ?? "",
    path: line.replace(/^(\S+\s+){5}/, ""),
  }));
  const code = new Set(
    mapped.filter(({ mode, path }) => mode.includes("x") && path.startsWith("/")).map((m) => m.path),
  );
  const glibc = dirname(/\S+libc\.so\.6/.exec(maps.join("\n"))?.[0] ?? "/lib");
  for (const path of code) {
    const known =
      path === EXE ||
      path.startsWith("/memfd:") ||
      path.startsWith(`${glibc}/lib`) ||
      path.includes("/ld-linux");
    t.ok(known, `code is mapped from ${path}`);
  }
  t.ok(
    [...code].some((path) => path.startsWith("/memfd:sallyport-sqlcipher")),
    "the addons come from memory",
  );
  t.ok(
    [...code].some((path) => path.startsWith("/memfd:libstdc++")),
    "so does the C++ runtime",
  );
  t.same(
    mapped.filter(({ mode, path }) => /w.*x/.test(mode) && path !== ""),
    [],
    "nothing of it is writable and executable",
  );

  let memfds = 0;
  for (const fd of readdirSync(`/proc/${it.pid}/fd`)) {
    const path = `/proc/${it.pid}/fd/${fd}`;
    if (!readlinkSync(path).startsWith("/memfd:")) continue;
    memfds++;
    t.throws(
      () => writeSync(openSync(path, "r+"), "x", 0),
      /EPERM|EACCES/,
      `${readlinkSync(path)} can't be changed`,
    );
  }
  t.ok(memfds >= 3, "the addons' memfds are there");
  t.equal(await it.end(), 0);
  t.same(readdirSync(dir), [], "nothing is written to the working or temporary directory");
  t.equal(statSync(EXE).mode & 0o022, 0, "the executable is writable by its owner alone");
});
