import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { repoPath } from "../../src/host/self.ts";
import { asAccount, needsRoot, OTHER_ACCOUNT, program, programForOthers } from "../e2e/appliance.ts";

/** `op test` without an appliance: as whoever runs the tests, and where that is root as an ordinary user too. */

t.setTimeout(240_000);
const dir = mkdtempSync(join(tmpdir(), "op-test-"));
chmodSync(dir, 0o777);
t.teardown(() => rmSync(dir, { recursive: true }));

type Said = { status: number | null; stdout: string; stderr: string };

function cli(...args: string[]): Promise<Said> {
  return as(program(), args);
}

function as([file = "", ...before]: string[], args: string[]): Promise<Said> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...before, ...args], { stdio: ["ignore", "pipe", "pipe"], cwd: dir });
    const said = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].on("data", (data) => {
        said[name] += data;
      });
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, ...said }));
  });
}

let folders = 0;
function folder(main: string, manifest = ""): string {
  const made = join(dir, `op-${++folders}`);
  mkdirSync(made);
  writeFileSync(join(made, "op.yaml"), `op: demo/tried\nsummary: x\nrun: ["./main.sh"]\n${manifest}`);
  writeFileSync(join(made, "main.sh"), `#!/bin/sh\n${main}\n`, { mode: 0o755 });
  return made;
}
const use = (op: string): void =>
  writeFileSync(
    join(op, "op.yaml"),
    `${readFileSync(join(op, "op.yaml"), "utf8")}seccomp: seccomp-learned.json\n`,
  );
const change = (op: string, more: string): void =>
  writeFileSync(join(op, "main.sh"), `${readFileSync(join(op, "main.sh"), "utf8")}${more}\n`, {
    mode: 0o755,
  });

t.test("an Op runs in its sandbox, with its inputs; its status is ours", async (t) => {
  const op = folder(
    'echo "$INPUT_NAME"; cat /op/input.json; id -u; ls /home; exit 9',
    "inputs: {name: {type: string}}\n",
  );
  const said = await cli("op", "test", op, "--name", "a b");
  t.equal(said.status, 9, said.stderr);
  t.equal(said.stdout, 'a b\n{"name":"a b"}1000\n');
  t.match(said.stderr, /No such file/);
  t.match(await cli("op", "test", op, "--nome", "x"), { status: 2, stderr: /no input "nome"/ });
  const json = JSON.parse((await cli("op", "test", "--json", op)).stdout);
  t.match(json, { outcome: "exited", exit: 9, denied: [], output: /"?1000/ });
});

t.test("what it may not is said", async (t) => {
  const said = await cli("op", "test", folder("unshare -n true; kill -9 $$"));
  t.equal(said.status, 128 + 9);
  t.match(said.stderr, /^refused: unshare\(CLONE_NEWNET\), by unshare \(process \d+\)$/m);
  t.match(await cli("op", "test", folder("true", "secrets: [KEY]\n")), { status: 3, stderr: /secrets/ });
  t.match(await cli("op", "test", folder("true", "limits: {time: 1s}\n").replace("op-", "none-")), {
    status: 2,
  });
  t.match(await cli("op", "test", folder("sleep 60", "limits: {time: 1s}\n")), {
    status: 128 + 15,
    stderr: /timed_out/,
  });
});

t.test("what its engine can't run is refused in one sentence", async (t) => {
  const op = folder("true");
  const yaml = "op: demo/tried\nsummary: x\nruntime: node\nentry: main.sh\nengine: gvisor\n";
  writeFileSync(join(op, "op.yaml"), yaml);
  t.match(await cli("op", "test", op), {
    status: 1,
    stdout: "",
    stderr:
      /demo\/tried asks for gvisor: runtime: node needs .*\(MFD_NOEXEC_SEAL\), which gVisor does not know/,
  });
});

t.test("learned, it runs; what it does anew is refused and said", async (t) => {
  const op = join(dir, "hello");
  mkdirSync(op);
  for (const file of ["op.yaml", "main.sh"])
    writeFileSync(join(op, file), readFileSync(repoPath(`examples/hello/${file}`)), { mode: 0o755 });
  const said = await cli("op", "test", "--learn", op);
  t.equal(said.status, 0, said.stderr);
  t.match(said.stdout, /seccomp-learned\.json: \d+ system calls, learned from 1 run\./);
  const profile = JSON.parse(readFileSync(join(op, "seccomp-learned.json"), "utf8"));
  t.match(profile, { defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 1 });
  const names = (profile.syscalls as { names: string[] }[]).flatMap((rule) => rule.names);
  t.ok(names.includes("execve") && names.includes("write"));
  for (const call of ["connect", "listen", "setsid", "umask"]) t.notOk(names.includes(call), call);
  use(op);
  t.match(await cli("op", "validate", op), { status: 0 });
  const again = await cli("op", "test", op);
  t.match(again, { status: 0, stdout: /Hello, world/ });
  t.notMatch(again.stderr, /refused/);
  change(op, "umask 77");
  const more = await cli("op", "test", op);
  t.match(more.stdout, /Hello, world/);
  t.match(more.stderr, /^refused: umask, by main\.sh/m);
});

t.test("samples add up: each value of an enum, files, words", async (t) => {
  const main = `case "$INPUT_HOW" in mask) umask 77;; link) ln -s a /tmp/l;; *) true;; esac`;
  const op = folder(main, "inputs: {how: {type: string, enum: [mask, link]}, loud: {type: boolean}}\n");
  const names = (file: string): string[] =>
    JSON.parse(readFileSync(file, "utf8")).syscalls.flatMap((rule: { names: string[] }) => rule.names);
  const json = JSON.parse((await cli("op", "test", "--learn", "--json", op)).stdout);
  t.same(
    json.samples.map((s: { args: object }) => s.args),
    [
      { how: "mask", loud: false },
      { how: "link", loud: false },
      { how: "mask", loud: true },
    ],
  );
  const all = names(join(op, "seccomp-learned.json"));
  t.ok(all.includes("umask") && all.some((name) => /^symlink/.test(name)));
  writeFileSync(join(dir, "one.json"), '{"how": "mask"}');
  const out = join(dir, "out.json");
  t.match(await cli("op", "test", "--learn", "--sample", join(dir, "one.json"), "-o", out, op), {
    status: 0,
  });
  t.ok(names(out).includes("umask") && !names(out).some((name) => /^symlink/.test(name)));
  t.match(await cli("op", "test", "--learn", "-o", out, op, "--how", "link"), { status: 0 });
  t.ok(!names(out).includes("umask") && names(out).some((name) => /^symlink/.test(name)));
  const needs = folder("true", "inputs: {x: {type: integer, required: true}}\n");
  t.match(await cli("op", "test", "--learn", needs), { status: 2, stderr: /--sample FILE or --x VALUE/ });
  writeFileSync(join(dir, "bad.json"), "[1]");
  t.match(await cli("op", "test", "--learn", "--sample", join(dir, "bad.json"), op), { status: 2 });
  t.match(await cli("op", "test", "-o", out, op), { status: 2, stderr: /go with --learn/ });
});

t.test("what the ceiling refuses is not learned", async (t) => {
  const op = folder("unshare -U true; ls /tmp >/dev/null; exit 0");
  t.match(await cli("op", "test", "--learn", op), { status: 0, stderr: /Operation not permitted/ });
  t.notMatch(readFileSync(join(op, "seccomp-learned.json"), "utf8"), /unshare"/);
  t.match(await cli("op", "test", "--learn", folder("x").concat("/../none")), { status: 2 });
  const lost = folder("true");
  writeFileSync(join(lost, "main.sh"), "#!/nowhere\n", { mode: 0o755 });
  t.match(await cli("op", "test", "--learn", lost), { status: 1, stderr: /interpreter/ });
  t.notOk(existsSync(join(lost, "seccomp-learned.json")));
});

t.test("as an account of no rights, from its own folder", { skip: needsRoot }, async (t) => {
  const op = folder("uname -s; unshare -U true; exit 0");
  chmodSync(op, 0o777);
  const other = [...asAccount(OTHER_ACCOUNT), ...programForOthers()];
  t.match(await as(other, ["op", "test", op]), { status: 0, stdout: "Linux\n", stderr: /refused: unshare/ });
  t.match(await as(other, ["op", "test", "--learn", op]), { status: 0, stdout: /system calls, learned/ });
  use(op);
  const said = await as(other, ["op", "test", op]);
  t.match(said, { status: 0, stdout: "Linux\n", stderr: /refused: unshare\(CLONE_NEWUSER\)/ });
  t.equal(said.stderr.match(/^refused/gm)?.length, 1, said.stderr);
});
