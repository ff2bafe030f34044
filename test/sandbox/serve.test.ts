import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { USERS } from "./support/once.ts";
import { probe } from "./support/probe.ts";
import { frame, harden, KIND, Launcher } from "./support/serve.ts";
import { ROOT, runSpec, script } from "./support/spec.ts";

const SYSCALLS: Record<string, string> = JSON.parse(
  readFileSync(`${ROOT}/build/seccomp/syscalls.json`, "utf8"),
);
const alive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");

/** Processes whose environment or command line carries the marker of a run. */
function marked(marker: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(marker);
      } catch {
        return false;
      }
    });
}

async function within(ms: number, what: () => boolean): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) if (what()) return true;
  return what();
}

for (const { name, user } of USERS) {
  const options = user === undefined ? {} : { user };

  t.test(`a launcher as ${name}`, async (t) => {
    const launcher = new Launcher(options);
    t.teardown(() => launcher.end());
    const hello = await launcher.wait((f) => f.kind === KIND.hello);
    t.equal(hello?.payload.readUInt32LE(0), 1, "says the protocol's version");
    t.equal(hello?.payload.length, 8, "and the kind of its cgroups, no more");

    const ok = await launcher.run(script("echo out; echo err >&2; exit 7"));
    t.match(ok, { stdout: "out\n", stderr: "err\n", exited: { code: 7, signal: 0, flags: 0, denied: 0 } });
    t.equal((ok.started?.flags ?? 1) & 1, 0, "with its own /proc");

    if (user === undefined) {
      // Elsewhere the pipes here belong to the test's own user, whom the launcher is not.
      const reopened = await launcher.run(script("echo again > /dev/stdout; echo > /proc/self/fd/2"));
      t.match(reopened, { stdout: "again\n", stderr: "\n" }, "its own pipes can be opened by name");
    }

    const signaled = await launcher.run(script("kill -ABRT $$"));
    t.match(signaled.exited, { code: 0, signal: 6 }, "the Op's own signal is told as such");

    const missing = await launcher.run({ argv: ["/nowhere"] });
    t.match(missing, { failed: { step: "exec", errno: 2 }, stdout: "" });
    t.notOk(missing.started, "a program that can't be executed was not started");
    const plain = await launcher.run({
      argv: ["./x"],
      files: [{ tree: "op", path: "x", content: "no program", mode: 0o555 }],
    });
    t.match(plain.failed, { step: "exec", errno: 8 });
    const notExecutable = await launcher.run({
      argv: ["./x"],
      files: [{ tree: "op", path: "x", content: "#!/bin/sh\n", mode: 0o444 }],
    });
    t.match(notExecutable.failed, { step: "exec", errno: 13 });

    const bad = await launcher.run(runSpec(script("true")).subarray(0, -3));
    t.match(bad.failed, { errno: 22 }, "a cut spec is refused");
    t.match(bad.failed?.step, /^spec/);

    const all = await Promise.all(Array.from({ length: 12 }, (_, i) => launcher.run(script(`echo ${i}`))));
    t.same(
      all.map((r) => r.stdout.trim()),
      Array.from({ length: 12 }, (_, i) => String(i)),
      "runs side by side",
    );

    harden.sendFds(launcher.fd, frame(KIND.ping, 77, Buffer.from("hi")), []);
    const pong = await launcher.wait((f) => f.kind === KIND.pong);
    t.match(pong, { handle: 77, payload: Buffer.from("hi") });
  });

  t.test(`refused calls are told, as ${name}`, async (t) => {
    const launcher = new Launcher(options);
    t.teardown(() => launcher.end());
    const r = await launcher.run(script("unshare -U true; exit 0"));
    t.match(r.stderr, /Operation not permitted/);
    t.equal(r.exited?.denied, 1);
    t.equal(SYSCALLS[String(r.denied[0]?.nr)], "unshare");
    t.equal(r.denied[0]?.args[0], 0x10000000n);
    const flood = await launcher.run(script("perl -e 'syscall(272, 0x10000000) for 1..2000'"));
    t.equal(flood.exited?.denied, 2000, "all are counted");
    t.ok(flood.denied.length <= 256, "not all are told");
    const hidden = await launcher.run(
      script("perl -e 'syscall(272, 0x10000000) for 1..2000; syscall(165, 0, 0, 0, 0, 0); syscall(272, 0)'"),
    );
    t.match(
      [...new Set(hidden.denied.map(({ nr }) => SYSCALLS[String(nr)]))],
      ["unshare", "mount"],
      "but the first of each, whatever floods",
    );
  });

  t.test(`limits of time, as ${name}`, async (t) => {
    const launcher = new Launcher(options);
    t.teardown(() => launcher.end());
    const soft = await launcher.run(
      script("trap 'echo bye; exit 4' TERM; sleep 60 & wait", { limits: { wallMs: 200, graceMs: 3000 } }),
    );
    t.match(soft, { stdout: "bye\n", exited: { code: 4, flags: 1 } }, "TERM first");
    const hard = await launcher.run(
      script("trap '' TERM; while :; do sleep 60; done", { limits: { wallMs: 200, graceMs: 200 } }),
    );
    t.match(hard.exited, { signal: 9, flags: 1 }, "then KILL");
    t.ok(hard.exited!.wallUs < 5_000_000);
  });

  t.test(`death, as ${name}`, async (t) => {
    const launcher = new Launcher(options);
    const marker = `sleep-marker-${process.pid}-${name.replace(" ", "")}`;
    const files = [
      { tree: "op" as const, path: marker, content: "#!/bin/sh\nsleep 300\necho no tail call\n" },
    ];
    const stubborn = `trap '' TERM; (setsid ./${marker} &) ; sh -c 'kill -STOP $$' ${marker} & sh ./${marker} ; sleep 300`;

    const killed = launcher.start(script(stubborn, { files }));
    t.ok(
      await within(5000, () => marked(marker).length >= 2),
      "double forks and stopped processes are there",
    );
    launcher.kill(killed.handle, 9);
    const end = await killed.ended;
    t.match(end.exited, { signal: 9, flags: 2 });
    t.same(marked(marker), [], "EXITED means that nothing is left");

    const orphans = await launcher.run(script(`(setsid ./${marker} &); exit 0`, { files }));
    t.match(orphans.exited, { code: 0 });
    t.same(marked(marker), [], "the Op's end takes its children along");

    const last = launcher.start(script(stubborn, { files }));
    t.ok(await within(5000, () => marked(marker).length >= 2));
    launcher.child.kill("SIGKILL");
    t.ok(await within(2000, () => marked(marker).length === 0), "kill -9 of the launcher leaves nothing");
    await last.ended;
    t.equal(launcher.closed, true);
    await launcher.end();

    const second = new Launcher(options);
    const running = second.start(script(stubborn, { files }));
    t.ok(await within(5000, () => marked(marker).length >= 2));
    await second.end();
    t.same(marked(marker), [], "end of the runner's socket leaves nothing");
    await running.ended;
  });

  t.test(`a malformed frame ends the launcher, as ${name}`, async (t) => {
    for (const bytes of [
      frame(99, 1),
      frame(1, 1).fill(255),
      frame(KIND.run, 1, Buffer.from([0])),
      frame(KIND.kill, 1),
    ]) {
      const launcher = new Launcher(options);
      await launcher.wait((f) => f.kind === KIND.hello);
      const run = launcher.start(script("sleep 300"));
      const started = await launcher.wait((f) => f.kind === KIND.started);
      harden.sendFds(launcher.fd, bytes, []);
      await run.ended;
      t.notOk(alive(started!.payload.readUInt32LE(0)), "and its runs");
      await launcher.end();
      t.equal(launcher.child.exitCode, 0);
    }
  });
}

t.test("an unsealed spec is refused", async (t) => {
  const launcher = new Launcher();
  t.teardown(() => launcher.end());
  const [read, write] = harden.pipe();
  harden.sendFds(launcher.fd, frame(KIND.run, 5, Buffer.from([0])), [read]);
  const failed = await launcher.wait((f) => f.kind === KIND.failed);
  t.equal(failed?.payload.toString("latin1", 4), "spec.unsealed");
  for (const fd of [read, write]) harden.closeFd(fd);
});

t.test("no run gets a file or directory of the host", async (t) => {
  const launcher = new Launcher();
  t.teardown(() => launcher.end());
  for (const path of ["/", "/etc/passwd", "/dev/zero"]) {
    const fd = openSync(path, "r");
    const run = await launcher.start(script("true"), { fd3: fd }).ended;
    t.match(run.failed, { step: "stdio" }, path);
    closeSync(fd);
  }
  const data = harden.memfd("input", Buffer.from("given\n"), false);
  t.equal((await launcher.start(script("cat"), { stdin: data }).ended).stdout, "given\n", "a memfd is none");
  harden.closeFd(data);
});

t.test("Landlock is the second fence", async (t) => {
  const launcher = new Launcher();
  t.teardown(() => launcher.end());
  // The queue's file system lies outside of every path that the rules allow.
  const files = [{ tree: "op" as const, path: "probe", content: probe() }];
  const r = await launcher.run({ argv: ["./probe", "mq"], files });
  t.equal(r.stdout, (r.started?.flags ?? 2) & 2 ? "ok\n" : "EACCES\n");
});

t.test("descriptor 3 is the control channel where there is one", async (t) => {
  const launcher = new Launcher();
  t.teardown(() => launcher.end());
  const without = await launcher.run(script("ls /proc/self/fd"));
  t.equal(without.stdout, "0\n1\n2\n3\n", "0, 1, 2; 3 is ls's own");
  // In a spare, and in a process made for the run.
  for (const ids of [{}, { ids: [1234, 1234] as [number, number] }]) {
    const [ours, theirs] = harden.socketpair();
    const text = "echo hello >&3; sed -n 's/flags:.//p' /proc/self/fdinfo/3; exec ls /proc/self/fd";
    const run = launcher.start({ ...script(text), ...ids }, { fd3: theirs });
    harden.closeFd(theirs);
    const ended = await run.ended;
    t.equal(ended.stdout, "02\n0\n1\n2\n3\n4\n", "O_RDWR, and it blocks");
    t.equal(harden.recvFds(ours, 100)?.bytes.toString(), "hello\n");
    harden.closeFd(ours);
  }
});
