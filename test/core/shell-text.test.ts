import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import { parseManifest } from "../../src/core/manifest.ts";

const X = "\u0024{x}";
const N = "\u0024{n}";

function faultOf(run: string[]): string {
  const inputs = "inputs: {x: {type: string, required: true}, n: {type: integer, required: true}}";
  try {
    parseManifest(`op: a/b\nsummary: x\nrun: ${JSON.stringify(run)}\n${inputs}\n`);
    return "";
  } catch (error) {
    if (error instanceof SallyportError && error.code === "manifest_invalid") return error.detail;
    throw error;
  }
}

t.test("an input that a shell or another interpreter would read as code is refused", async (t) => {
  const cases: [string[], RegExp][] = [
    [
      ["sh", "-c", X],
      /^run\[2\]: sh would read .*as code; .*\["sh", "-c", "\.\.\. \\"\$1\\"", "sh", "\$\{x\}"\]/,
    ],
    ...[
      "bash",
      "/bin/bash",
      "dash",
      "ash",
      "ksh",
      "ksh93",
      "mksh",
      "zsh",
      "zsh-5.9",
      "rbash",
      "fish",
      "tcsh",
    ].map((shell): [string[], RegExp] => [[shell, "-c", X], /would read the value as code/]),
    [["./sh", "-c", X], /as code/],
    [["flock", "/tmp/l", "-c", X], /^run\[3\]: flock -c makes a command of text/],
    [["flock", "/tmp/l", "sh", "-c", X], /^run\[4\]/],
    [["taskset", "1", "sh", "-c", X], /^run\[4\]/],
    [["chroot", "/", "bash", "-xc", X], /^run\[4\]/],
    [["sudo", "sh", "-c", X], /^run\[3\]/],
    [["find", ".", "-exec", "sh", "-c", X, ";"], /^run\[5\]/],
    [["/lib64/ld-linux-x86-64.so.2", "/bin/sh", "-c", X], /^run\[3\]/],
    [["sh", X], /^run\[1\]: sh would read/],
    [["sh", "-e", X], /^run\[2\]/],
    [["sh", "-xc", X], /^run\[2\]/],
    [["sh", "-ec", X, "sh"], /^run\[2\]/],
    [["sh", "-c", "-e", X], /^run\[3\]/],
    [["sh", "-c", "--", X], /^run\[3\]/],
    [["sh", "-", X], /^run\[2\]/],
    [["bash", "-euo", "pipefail", "-c", X], /^run\[4\]/],
    [["bash", "-o", "pipefail", X], /^run\[3\]/],
    [["bash", "+x", X], /^run\[2\]/],
    [["bash", "--norc", "-c", X], /^run\[3\]/],
    [["bash", "--rcfile", X, "-i"], /^run\[2\]/],
    [["sh", "-c", N], /as code/],
    [["busybox", "sh", "-c", X], /^run\[3\]/],
    [["/usr/bin/env", "sh", "-c", X], /^run\[3\]/],
    [["env", "-i", "A=b", "-u", "C", "bash", "-c", X], /^run\[7\]/],
    [["env", "-S", "sh -c", X], /^run\[3\]: env -S makes a command of text/],
    [["env", "-iSsh -c", X], /^run\[2\]: env/],
    [["env", "--split-string=sh -c", X], /^run\[2\]: env/],
    [["env", X], /^run\[1\]: what runs can't be chosen by an input/],
    [["env", X, "./main.sh"], /^run\[1\]: what runs/],
    [["env", "-u", X, "./main.sh"], /^run\[2\]: an option of env/],
    [["timeout", "-k", "5", "10", "sh", "-c", X], /^run\[6\]/],
    [["timeout", N, "sh", "-c", X], /^run\[4\]/],
    [["timeout", N, X], /^run\[2\]: what runs/],
    [["nice", "-n", "5", "nohup", "setsid", "sh", X], /^run\[6\]/],
    [["xargs", "-n", "1", "sh", "-c", X], /^run\[5\]/],
    [["python3", "-c", X], /^run\[2\]: python3 .*sys\.argv/],
    [["python3.11", X], /^run\[1\]/],
    [["python", "-m", X], /^run\[2\]/],
    [["python3", "-W", "ignore", "-Bc", X], /^run\[4\]/],
    [["perl", "-e", X], /^run\[2\]: perl/],
    [["perl", "-lane", X], /^run\[2\]/],
    [["perl", "-i.e", X], /^run\[2\]/],
    [["perl", X], /^run\[1\]/],
    [["perl", "--", X], /^run\[2\]/],
    // perl -e '...' -e 'system(...)' runs both.
    [["perl", "-e", "print 1", X], /^run\[3\]: perl may read the value as an option.*"--"/],
    [["ruby", "-e", X], /^run\[2\]: ruby/],
    [["ruby", "-r", X, "x.rb"], /^run\[2\]/],
    [["ruby", "-rjson", X], /^run\[2\]/],
    [["node", "-e", X], /^run\[2\]: node/],
    [["node", "-pe", X], /^run\[2\]/],
    [["node", "--eval", X], /^run\[2\]/],
    [["node", "--require", "./a.js", X], /^run\[3\]/],
    [["node", "--import", X, "./a.js"], /^run\[2\]/],
    [["node", "-e", "1", X], /^run\[3\]: node may read/],
    [["php", "-r", X], /^run\[2\]/],
    [["lua5.4", "-e", X], /^run\[2\]/],
    [["awk", X], /^run\[1\]/],
    [["awk", "-F", ":", X], /^run\[3\]/],
    [["gawk", "-f", "a.awk", X], /^run\[3\]: gawk may read/],
    [["sed", X], /^run\[1\]/],
    [["sed", "-ne", X], /^run\[2\]/],
    // GNU sed looks for options everywhere: -e1e...
    [["sed", "s/a/b/", X], /^run\[2\]: sed may read/],
    [["ssh", "bastion", "restart", X], /^run\[3\]: ssh hands its arguments to a shell/],
    [["su", "-c", X], /^run\[2\]: su hands/],
  ];
  for (const [run, expected] of cases) t.match(faultOf(run), expected, run.join(" "));
});

t.test("where it arrives as a value it is taken", async (t) => {
  const cases = [
    ["./main.sh", X],
    ["./main.sh", "sh", "-c", X],
    ["sh", "-c", 'echo "$1"', "sh", X],
    ["sh", "-ec", 'echo "$1"', "sh", X],
    ["sh", "./main.sh", X],
    ["sh", "-s", "--", X],
    ["bash", "-euo", "pipefail", "-c", 'echo "$1"', "bash", X],
    ["bash", "-o", X, "./main.sh"],
    ["busybox", "sh", "-c", 'echo "$1"', "sh", X],
    ["busybox", "ls", X],
    ["env", "-i", "A=b", "./main.sh", X],
    ["env", "-", "sh", "./main.sh", X],
    ["env", "-S", "./main.sh --fast"],
    ["timeout", N, "./main.sh", X],
    ["timeout", "-k", N, "5", "./main.sh", X],
    ["nice", "-n", N, "./main.sh", X],
    ["python3", "-c", "import sys", X],
    ["python3", "-u", "main.py", X],
    ["python3", "-m", "tool", X],
    ["perl", "-e", "print $ARGV[0]", "--", X],
    ["perl", "-I", "lib", "main.pl", X],
    ["ruby", "main.rb", X],
    ["node", "-e", "1", "--", X],
    ["node", "--require", "./a.js", "main.js", X],
    ["awk", "-v", X, "{print}"],
    ["awk", "{print}", X],
    ["sed", "-n", "-e", "p", "--", X],
    ["sed", "--", "p", X],
    ["ssh", "bastion", "restart", N],
    ["shred", X],
    ["pythonize", X],
  ];
  for (const run of cases) t.equal(faultOf(run), "", run.join(" "));
});
