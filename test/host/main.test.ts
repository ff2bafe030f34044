import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import t from "tap";
import { repoPath, selfExec } from "../../src/host/self.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const { file, args } = selfExec();

function run(argv: string[], env: Record<string, string> = {}) {
  return spawnSync(file, [...args, ...argv], {
    encoding: "utf8",
    env: { PATH: process.env.PATH ?? "", ...env },
  });
}

t.test("global flags count before and after the command, and win over the environment", async (t) => {
  const env = { SALLYPORT_RUN_DIR: "/from/environment" };
  for (const [argv, dir] of [
    [["status"], "/from/environment"],
    [["status", "--run-dir", "/from/flag"], "/from/flag"],
    [["--run-dir", "/from/flag", "status"], "/from/flag"],
    [["--state-dir=/x", "--run-dir=/from/flag", "status"], "/from/flag"],
    [["--json", "--run-dir", "/from/flag", "status"], "/from/flag"],
    [["--run-dir", "/early", "status", "--run-dir", "/late"], "/late"],
  ] as const) {
    t.match(run([...argv], env), { status: 5, stdout: "", stderr: `${dir}/admin.sock` }, argv.join(" "));
  }
});

t.test("an error that quotes what others wrote does not drive the terminal", async (t) => {
  const words = "a\u001b[2J\u202eb\u009b";
  for (const argv of [
    [words],
    ["status", words],
    ["status", `--${words}`],
    ["status", "--run-dir", `/${words}`],
    ["op", "validate", `/${words}`],
  ]) {
    const { stderr } = run(argv);
    t.notMatch(stderr, /[\u001b\u202e\u009b]/, argv.join(" "));
    t.match(stderr, /2J/, "it is quoted");
  }
});

t.test("what is no command is a usage error", async (t) => {
  for (const argv of [
    ["nonsense"],
    ["role", "nonsense"],
    ["--nonsense"],
    ["status", "--nonsense"],
    ["roles/keeper"],
    ["__proto__"],
  ]) {
    const { status, stdout, stderr } = run(argv);
    t.equal(status, 2, argv.join(" "));
    t.equal(stdout, "");
    t.ok(stderr.length > 0 && stderr.split("\n").length < 6, "one clear error");
  }
});

t.test("--version alone is the version", async (t) => {
  const { status, stdout } = run(["--version"]);
  t.same([status, stdout], [0, "0.0.0-dev\n"]);
  for (const argv of [
    ["--version", "--json"],
    ["--json", "--version"],
    ["--run-dir", "/x", "-V", "--json"],
  ])
    t.match(run(argv), { status: 0, stdout: '{\n  "version": "0.0.0-dev"\n}\n', stderr: "" }, argv.join(" "));
  t.equal(run(["--version", "--nonsense"]).status, 2);
  t.match(readFileSync(repoPath("package.json"), "utf8"), /"version": "[0-9]+\.[0-9]+\.[0-9]+"/);
});
