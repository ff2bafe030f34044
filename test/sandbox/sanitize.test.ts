import { execFileSync, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { launch } from "./support/once.ts";
import { compile } from "./support/probe.ts";
import { COMPLAINT, sanitized } from "./support/sanitized.ts";
import { frame, harden, KIND, Launcher } from "./support/serve.ts";
import { confineSpec, ROOT, type RunSpec, runSpec, script } from "./support/spec.ts";

t.setTimeout(FILE_TIMEOUT);

const made = sanitized();
const skip = made === false ? "gcc has no ASan runtime here (libasan)" : false;
const { launcher, compiler } = made === false ? { launcher: "", compiler: "" } : made;
const env = { ...process.env, ASAN_OPTIONS: "detect_leaks=1" };
const POLICIES = join(ROOT, "policies/seccomp");
const profiles = readdirSync(POLICIES).map((name) => join(POLICIES, name));

const file = (path: string, content = "x") => ({ tree: "op" as const, path, content });
const RUNS: [string, RunSpec, number][] = [
  ["an Op", script("id; ls -la /op /tmp /run/secrets; exit 3"), 3],
  [
    "all kinds of files",
    script("cat a/b/c; cat /run/secrets/S; readlink /etc/l", {
      files: [
        file("a/b/c"),
        { tree: "op", path: "d", kind: "directory" },
        { tree: "secrets", path: "S", content: "s" },
        { tree: "etc", path: "l", kind: "symlink", content: "/x" },
      ],
      loopback: true,
      hostname: "host",
      ids: [1234, 1234],
    }),
    0,
  ],
  [
    "a resource of the host",
    script("ls /run/resources/docs", { binds: [{ name: "docs", path: "/usr/share" }] }),
    0,
  ],
  [
    "a way out that nobody takes",
    script("true", { egress: { token: Buffer.alloc(16, 7), socket: "/nobody" } }),
    125,
  ],
  ["a file twice", script("true", { files: [file("x"), file("x")] }), 125],
  [
    "refused calls",
    script("i=0; while [ $i -lt 40 ]; do unshare -U true; i=$((i+1)); done 2>/dev/null; true"),
    0,
  ],
  ["no such program", { argv: ["/nothing"] }, 126],
  ["no such program in PATH", { argv: ["nothing"], env: ["PATH=/usr/bin:/bin"] }, 126],
  ["no such folder", script("true", { cwd: "/nowhere" }), 125],
  ["a signal", script("kill -SEGV $$"), 139],
  ["its time limit", script('trap "" TERM; sleep 60', { limits: { wallMs: 300, graceMs: 200 } }), 124],
  ["what it leaves behind", script("setsid sleep 60 & setsid sleep 60 & exit 0"), 0],
];

t.test("runs of the launcher under ASan and UBSan", { skip }, async (t) => {
  for (const [what, spec, code] of RUNS) {
    const r = await launch("once", runSpec(spec), { launcher, env });
    t.equal(r.code, code, `${what}: ${r.stderr.slice(-300)}`);
    t.notMatch(r.stderr, COMPLAINT, what);
  }
  const role = confineSpec({
    argv: ["true"],
    execPath: "/bin/true",
    cwd: "/",
    paths: [{ rights: 5, path: "/" }],
    net: 3,
    ports: [{ rights: 2, port: 443 }],
    scope: 3,
    rlimits: [{ resource: 7, value: 64 }],
  });
  const confined = await launch("confine", role, { launcher, env });
  t.equal(confined.code, 0, confined.stderr);
  t.notMatch(confined.stderr, COMPLAINT);
});

/** A random number below n, the same at each run of the test. */
let seed = 88172645;
function random(n: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % n;
}
const randomBytes = (n: number) => Buffer.from(Array.from({ length: n }, () => random(256)));

/** One frame that the launcher answers or ignores, and goes on: what it is about is wrong, its form is not. */
function oddFrame(one: Launcher): void {
  const handle = random(200_000) + 1000;
  const kind = random(4);
  if (kind === 0) {
    harden.sendFds(one.fd, frame(KIND.ping, handle, randomBytes(random(65))), []);
    return;
  }
  if (kind === 1) {
    const signal = Buffer.alloc(4);
    signal.writeUInt32LE(1 + random(64));
    harden.sendFds(one.fd, frame(KIND.kill, handle, signal), []);
    return;
  }
  let bytes = kind === 2 ? randomBytes(1 + random(300)) : runSpec(script("true"));
  // The version and its length stay, so that it is looked at further.
  if (kind === 3) for (let i = 0; i < 3; i++) bytes[12 + random(bytes.length - 12)] = random(256);
  if (random(4) === 0) bytes = bytes.subarray(0, 1 + random(bytes.length));
  const spec = harden.memfd("spec", bytes, false);
  const [read, write] = harden.pipe();
  try {
    harden.sendFds(one.fd, frame(KIND.run, handle, Buffer.from([2])), [spec, write]);
  } finally {
    for (const fd of [spec, read, write]) harden.closeFd(fd);
  }
}

/** What ends the connection: no frame, a frame of the wrong size, one with too few or too many descriptors. */
function brokenFrame(one: Launcher): void {
  const payload = randomBytes(random(80));
  const kinds = [KIND.run, KIND.kill, KIND.ping, KIND.hello, random(256)];
  const bytes =
    random(2) === 0 ? randomBytes(20 + random(200)) : frame(kinds[random(5)]!, random(5), payload);
  const fds = Array.from({ length: random(3) }, () => openSync("/dev/null", "r"));
  try {
    harden.sendFds(one.fd, bytes, fds);
  } catch {
    // It has hung up already.
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

t.test("frames over its socket, odd and broken ones, between real runs", { skip }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-frames-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const stderr = openSync(join(dir, "stderr"), "a+");
  t.teardown(() => closeSync(stderr));
  const until = Date.now() + 20_000;
  let odd = 0;
  let broken = 0;
  let ran = 0;
  while (Date.now() < until && broken < 60) {
    const one = new Launcher({ launcher, env, stderr });
    await one.wait((f) => f.kind === KIND.hello);
    for (let batch = 0; batch < 8 && !one.closed; batch++) {
      for (let i = 0; i < 25; i++) oddFrame(one);
      odd += 25;
      const id = 1_000_000 + batch;
      harden.sendFds(one.fd, frame(KIND.ping, id), []);
      if ((await one.wait((f) => f.kind === KIND.pong && f.handle === id)) === undefined)
        t.fail(`it ended at odd frames, ${odd}`);
    }
    if ((await one.run(script("echo fine"))).stdout === "fine\n") ran++;
    broken++;
    brokenFrame(one);
    await one.end();
    if (one.child.exitCode !== 0) t.fail(`it ended with ${one.child.exitCode ?? one.child.signalCode}`);
  }
  t.equal(ran, broken, "each still ran an Op after all of them");
  t.ok(broken > 0);
  t.comment(`${odd} odd frames, ${broken} broken ones`);
  t.notMatch(readFileSync(join(dir, "stderr"), "utf8"), COMPLAINT);
});

t.test("the profiles' reader, on truncated and mutated profiles", { skip }, (t) => {
  const program = compile(
    ["test/sandbox/support/fuzz_json.c", "sandbox/json.c"].map((path) => join(ROOT, path)),
    { sanitize: true },
  );
  const out = execFileSync(program, [process.env.FUZZ_ROUNDS ?? "5000", ...profiles], { encoding: "utf8" });
  const [taken, refused] = out.match(/\d+/g)!.map(Number);
  t.ok(taken! > 100 && refused! > 1000, out);
  t.comment(out.trim());
  t.end();
});

t.test("the seccomp compiler, on real, mutated and odd profiles", { skip }, (t) => {
  // It reads what it is given and ends: what an error leaves behind goes with it.
  const once = { ...env, ASAN_OPTIONS: "detect_leaks=0" };
  const run = (input: string | Buffer) => spawnSync(compiler, { input, env: once });
  const dir = mkdtempSync(join(tmpdir(), "sallyport-profile-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const own = join(dir, "own.json");
  for (const profile of profiles) t.equal(run(readFileSync(profile)).status, 0, profile);
  const odd = [
    "",
    "{",
    "[]",
    '{"defaultAction":1}',
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[1]}]}',
  ];
  for (const text of odd) t.equal(run(text).status, 1, text);
  const original = readFileSync(join(POLICIES, "default.json"));
  for (let i = 0; i < 60; i++) {
    const bytes = Buffer.from(original);
    for (let k = 0; k < 3; k++) bytes[random(bytes.length)] = 32 + random(90);
    const { status, stderr } = run(bytes);
    t.ok(status === 0 || status === 1, `${status}: ${stderr}`);
    t.notMatch(stderr.toString(), COMPLAINT);
    // As a bundle's, behind the ceiling.
    writeFileSync(own, bytes);
    const bundle = spawnSync(compiler, ["--ceiling", join(POLICIES, "ceiling.json"), own], { env: once });
    t.ok(bundle.status === 0 || bundle.status === 1, `${bundle.status}: ${bundle.stderr}`);
    t.notMatch(bundle.stderr.toString(), COMPLAINT);
  }
  t.end();
});
