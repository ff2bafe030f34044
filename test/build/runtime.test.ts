import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { harden } from "../../src/host/harden.ts";
import { EXE, listening, notBuilt, ROOT, temporary, traps } from "./packaged.ts";

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

interface Running {
  child: Child;
  pid: number;
  stderr: () => string;
  end: () => Promise<number | null>;
}

/** Starts the executable's self-check, which loads everything and stays until stdin ends. */
async function start(
  env: Record<string, string>,
  cwd: string,
  before: string[] = [],
  fd3: number | "ignore" = "ignore",
): Promise<Running> {
  const child = spawn(EXE, [...before, "self-check", "--wait"], {
    env: { PATH: process.env.PATH ?? "", TMPDIR: cwd, HOME: cwd, ...env },
    cwd,
    stdio: ["pipe", "pipe", "pipe", fd3],
  }) as Child;
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
  // A port of its own: with the default one, 9229, another debugger on this host would be in the way.
  const child = spawn(process.execPath, [
    "--inspect-port=127.0.0.1:0",
    "-e",
    "console.log(1); setTimeout(() => {}, 60000)",
  ]);
  t.teardown(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  child.kill("SIGUSR1");
  await once(child.stderr, "data");
  t.not(listening(child.pid ?? 0).length, 0, "so the test above can see a debugger");
});

t.test("the environment loads no code and opens no debugger", { skip: notBuilt }, async (t) => {
  const dir = temporary(t);
  const { env, marks } = traps(dir);
  const it = await start(env, dir);
  t.same(listening(it.pid), []);
  t.equal(await it.end(), 0);
  t.equal(it.stderr(), "");
  t.same(marks(), []);
});

t.test("the control: the same environment does load code into plain Node", { skip: notBuilt }, async (t) => {
  const dir = temporary(t);
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

t.test("no descriptor of a caller's becomes code", { skip: notBuilt }, async (t) => {
  const dir = temporary(t);
  const { env, marks } = traps(dir);
  // Its very own bytes too: between a comparison and the mapping, whoever holds the memfd could change them.
  for (const [what, file] of [
    ["foreign code", env.LD_PRELOAD ?? ""],
    ["its own addon", join(ROOT, "build/harden.node")],
  ] as const) {
    const fd = harden().memfd("of-the-caller", readFileSync(file), false);
    const it = await start({ SALLYPORT_HARDEN_FD: "3" }, dir, [], fd);
    const maps = readFileSync(`/proc/${it.pid}/maps`, "utf8");
    t.notMatch(maps, "of-the-caller", what);
    t.match(maps, "/memfd:sallyport-harden", "its own copy is what it maps");
    t.match([await it.end(), it.stderr()], [0, ""], what);
    closeSync(fd);
  }
  t.same(marks(), []);
});

t.test("a wrong number there is ignored as well", { skip: notBuilt }, async (t) => {
  for (const value of ["", "99", "nonsense"]) {
    const env = { SALLYPORT_HARDEN_FD: value };
    t.match(spawnSync(EXE, ["self-check"], { env, encoding: "utf8" }), { status: 0, stderr: "" }, value);
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
