import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { Secret } from "../../src/core/secret.ts";
import { keyCopy } from "../../src/keys/memory.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { begin, type PlainGrant, runOp, sh, startLauncher } from "./launcher.ts";

t.setTimeout(FILE_TIMEOUT);

const started = startLauncher();
const { launcher } = started;
t.teardown(() => started.stop());
const op = (of: PlainGrant, more?: Parameters<typeof runOp>[2]) => runOp(launcher, of, more);

t.test("exit status, both streams, the environment, the folder", async (t) => {
  const seen = await op({ argv: sh("pwd; env | cut -d= -f1 | sort | tr '\\n' ' '; echo oops >&2; exit 7") });
  t.equal(seen.stdout, "/op\nHOME LANG PATH PWD SALLYPORT_OP SALLYPORT_RUN ");
  t.equal(seen.stderr, "oops\n");
  t.match(seen.result, { outcome: "exited", exit: 7, signal: null, truncated: false, detail: null });
  t.equal(seen.result.outputBytes, seen.stdout.length + seen.stderr.length);
  t.ok(seen.result.durationMs > 0 && seen.result.peakMemoryBytes > 0);
});

t.test("an argument stays one argument", async (t) => {
  const nasty = ["$(id)", "a b", "", "; rm -rf /", "--", "'\"", "ünï", "-n"];
  const seen = await op({ argv: ["/usr/bin/printf", "[%s]", ...nasty] });
  t.equal(seen.stdout, nasty.map((a) => `[${a}]`).join(""));
});

t.test("a signal is told by its name", async (t) => {
  const seen = await op({ argv: sh("kill -SEGV $$") });
  t.match(seen.result, { outcome: "signaled", exit: null, signal: "SIGSEGV" });
});

t.test("what can't be executed is said with its reason", async (t) => {
  const file = (path: string, mode: number, text: string) => ({
    tree: "op" as const,
    path,
    mode,
    bytes: Buffer.from(text),
  });
  const cases: [PlainGrant, RegExp][] = [
    [{ argv: ["./nothing"] }, /ENOENT.*no such file/],
    [{ argv: ["nothing-in-path"] }, /ENOENT/],
    [{ argv: ["./x"], files: [file("x", 0o444, "#!/bin/sh\n")] }, /EACCES.*not executable/],
    [{ argv: ["./x"], files: [file("x", 0o555, "echo no first line\n")] }, /ENOEXEC.*first line/],
    [{ argv: ["./x"], files: [file("x", 0o555, "#!/no/such/sh\n")] }, /ENOENT.*interpreter/],
  ];
  for (const [grant, why] of cases) {
    const { result } = await op(grant);
    t.equal(result.outcome, "launch_failed", String(why));
    t.match(result.detail, why);
  }
});

t.test("a grant beyond the launcher's bounds starts nothing", async (t) => {
  const { result } = await op({ argv: ["/bin/true", "x".repeat(70_000)] });
  t.match(result, { outcome: "launch_failed", detail: /at most 65536/ });
  const many = await op({ argv: ["/bin/true", ...Array(300).fill("x")] });
  t.match(many.result, { outcome: "launch_failed", detail: /at most 256/ });
  t.match((await op({ argv: ["/bin/echo", "a\0b"] })).result, { detail: /NUL/ });
});

t.test("output: bounded, the rest drained and counted", async (t) => {
  const seen = await op({
    argv: sh("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2; exit 4"),
    outputBytes: 100_000,
  });
  t.match(seen.result, { outcome: "exited", exit: 4, truncated: true, outputBytes: 3_000_004 });
  t.equal(seen.stdout.length + seen.stderr.length, 100_000);
  t.ok(seen.chunks.every((c) => c.length <= 65536 && c.length > 0));
});

t.test("a fast Op gives one chunk; UTF-8 is not cut", async (t) => {
  const one = await op({ argv: ["/usr/bin/printf", "line %d\\n", "1", "2", "3", "4", "5"] });
  t.equal(one.chunks.length, 1);
  const many = await op({ argv: sh("i=0; while [ $i -lt 60000 ]; do echo ä€😀x; i=$((i+1)); done") });
  t.ok(many.chunks.length > 5);
  for (const chunk of many.chunks) t.notOk(chunk.toString("utf8").includes("\ufffd"));
  t.equal(many.stdout, "ä€😀x\n".repeat(60000));
});

t.test("output comes while the Op runs", async (t) => {
  const first = Promise.withResolvers<void>();
  const { run, seen } = begin(
    launcher,
    { argv: sh("trap 'echo b; exit' TERM; echo a; sleep 60 & wait") },
    { onOutput: () => first.resolve() },
  );
  await first.promise;
  run.cancel(false);
  t.strictSame((await seen).chunks.map(String), ["a\n", "b\n"]);
});

t.test("a reader that takes nothing holds its own Op back, no other, and memory does not grow", async (t) => {
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  let taken = 0;
  const flood = op(
    { argv: sh("head -c 20000000 /dev/zero"), outputBytes: 1 << 30 },
    { onOutput: (_s, bytes) => (taken += bytes.length), ready: () => gate },
  );
  await sleep(300);
  const other = await op({ argv: ["/bin/echo", "meanwhile"] });
  t.equal(other.stdout, "meanwhile\n");
  t.ok(taken <= 512 * 1024, `${taken} bytes were taken`);
  const before = process.memoryUsage().rss;
  await sleep(300);
  t.ok(process.memoryUsage().rss - before < 20 << 20);
  open();
  const { result } = await flood;
  t.match(result, { outcome: "exited", exit: 0, outputBytes: 20_000_000 });
  t.equal(taken, 20_000_000);
});

t.test("a secret: a file for the Op, never in its output, however it is written", async (t) => {
  const value = Buffer.from(`${randomBytes(12).toString("base64")}/+ $`);
  const seen = await op({
    secrets: [{ name: "KEY", value: new Secret(keyCopy(value)) }],
    files: [{ tree: "secrets", path: "KEY", mode: 0o400, bytes: value }],
    argv: sh(`
      stat -c '%a %U' /run/secrets/KEY; wc -c < /run/secrets/KEY
      s=/run/secrets/KEY
      cat $s; echo; base64 $s; od -An -tx1 $s; head -c 5 $s; sleep 0.2; tail -c +6 $s; echo
      cat $s >&2
      printf '{"progress": "using %s"}\\n' "$(cat $s)" >&3`),
  });
  t.match(seen.stdout, /^400 op\n\d+\n\[secret KEY\]\n\[secret KEY\]/);
  t.equal(seen.stdout.match(/\[secret KEY\]/g)?.length, 4, seen.stdout);
  t.equal(seen.stderr, "[secret KEY]");
  t.strictSame(seen.progress, [{ text: "using [secret KEY]", percent: null }]);
  const all = seen.stdout + seen.stderr;
  t.notOk(all.includes(value.toString().slice(0, 8)) || all.includes(value.toString("base64").slice(0, 10)));
});

t.test("control channel: progress arrives, the rest is answered and noted", async (t) => {
  const seen = await op({
    argv: sh(
      `echo '{"progress":"half","percent":50}' >&3; echo '{"ask":"sure?"}' >&3; read -r answer <&3; echo "$answer"`,
    ),
  });
  t.strictSame(seen.progress, [{ text: "half", percent: 50 }]);
  t.match(seen.stdout, /not supported yet/);
  t.match(seen.result.detail, /1 of the Op's lines.*not supported/);
  const lines = `yes '{"progress":"x"}' | head -c 30000 >&3; sleep 0.01`;
  const flood = await op({ argv: sh(`i=0; while [ $i -lt 60 ]; do ${lines}; i=$((i+1)); done`) });
  t.match(flood.result.detail, /closed/);
  t.ok(flood.progress.length < 20);
});

t.test("control channel: an answer that is not there yet is waited for", async (t) => {
  const seen = await op({
    argv: sh(`(sleep 0.3; echo '{"ask":"sure?"}' >&3) & read -r answer <&3; echo "$? $answer"`),
  });
  t.match(seen.stdout, /^0 .*not supported yet/);
});

t.test("refused calls are told by name and counted", async (t) => {
  const seen = await op({ argv: ["./probe", "call:mount", "call:mount", "call:bpf", "ptrace:1"] });
  t.match(seen.stdout, /^call:mount\tEPERM\ncall:mount\tEPERM\ncall:bpf\tEPERM\nptrace:1\tEPERM\n$/);
  t.match([...seen.denied].sort(), [/^bpf\(/, "mount", "mount", /^ptrace\(PTRACE_/]);
  t.match(seen.result.denied, [
    { call: "mount", count: 2 },
    { call: /^bpf\(/, count: 1 },
    { call: /^ptrace\(/, count: 1 },
  ]);
});

t.test("a refused call is told with its process, as the run numbers it", async (t) => {
  const told: { call: string; process: { pid: number; name: string } | null }[] = [];
  await op(
    { argv: sh("unshare -U true; perl -e '$0 = \"a\\x1b[2J\"; syscall(272, 0x40000000)'; exit 0") },
    { onDenied: (call, process) => told.push({ call, process }) },
  );
  t.match(told, [
    { call: "unshare(CLONE_NEWUSER)", process: { name: "unshare" } },
    // What a process calls itself is its own choice, so it is made safe to show.
    { call: "unshare(CLONE_NEWNET)", process: { name: "a?[2J" } },
  ]);
  for (const { process } of told) t.ok(process!.pid > 1 && process!.pid < 100, "not the host's number");
});

t.test("whatever a refused call is given, the answer is an error", async (t) => {
  const program = `
    my @calls = (165, 155, 161, 272, 308, 321, 323, 298, 101, 175, 246, 310, 438, 428, 429, 442, 304, 167);
    srand(7);
    my $odd = 0;
    for (1 .. 600) {
      my $rc = syscall($calls[rand @calls], map { int(rand(2 ** (int rand 63))) } 1 .. 5);
      $odd++ if $rc != -1 || $! != 1;
    }
    print "$odd\n";`;
  const seen = await op({ argv: ["/usr/bin/perl", "-e", program] });
  t.equal(seen.stdout, "0\n", seen.stderr);
  t.equal(
    seen.result.denied.reduce((sum, d) => sum + d.count, 0),
    600,
    "and all are counted",
  );
});

t.test("many at once, nothing leaks", async (t) => {
  const { readdirSync } = await import("node:fs");
  const count = () => readdirSync("/proc/self/fd").length;
  await op({ argv: ["/bin/true"] });
  const before = count();
  for (let round = 0; round < 5; round++) {
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => op({ argv: ["/bin/echo", `${i}`] })));
    t.strictSame(
      all.map((s) => s.stdout.trim()),
      all.map((_, i) => `${i}`),
    );
  }
  await op({ argv: ["./nothing"] });
  await sleep(100);
  t.ok(count() <= before + 1, `${before} -> ${count()} descriptors`);
});
