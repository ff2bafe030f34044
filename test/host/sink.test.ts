import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync, readSync } from "node:fs";
import t from "tap";
import { harden } from "../../src/host/harden.ts";
import { Sink } from "../../src/host/sink.ts";
import { until } from "../e2e/appliance.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const LINE = `${"x".repeat(1023)}\n`;

function drain(fd: number): string {
  const buffer = Buffer.alloc(65_536);
  return buffer.toString("latin1", 0, readSync(fd, buffer));
}

for (const [kind, make] of Object.entries({
  "a pipe": () => {
    const [read, write] = harden().pipe();
    const nonblocking = openSync(`/proc/self/fd/${read}`, constants.O_RDONLY | constants.O_NONBLOCK);
    closeSync(read);
    return [nonblocking, write];
  },
  "a socket": () => harden().socketpair(),
})) {
  t.test(`${kind} whose reader stands still, goes on, and goes away`, async (t) => {
    const [read, write] = make() as [number, number];
    const sink = new Sink(write);
    sink.write("first\n");
    t.equal(drain(read), "first\n", "at once");

    const lines = 4000;
    const start = Date.now();
    for (let i = 0; i < lines; i++) sink.write(LINE);
    t.ok(Date.now() - start < 5000, "no write waited");
    const { dropped, problem } = sink.status;
    t.equal(problem, "stalled");
    t.ok(dropped > 1000 && dropped < lines, `${dropped} dropped`);

    let got = "";
    await until(() => {
      try {
        got += drain(read);
      } catch {
        // Nothing there right now (the socket does not wait).
      }
      return got.length === (lines - dropped) * LINE.length;
    }, 20_000);
    t.ok(got === LINE.repeat(lines - dropped), "what was not dropped came whole and in order");
    sink.write("again\n");
    t.equal(drain(read), "again\n");
    t.same(sink.status, { dropped, problem: null });

    closeSync(read);
    sink.write("nobody\n");
    sink.write("nobody\n");
    t.same(sink.status, { dropped: dropped + 2, problem: "EPIPE" });
    closeSync(write);
  });
}

t.test("a full device", async (t) => {
  const fd = openSync("/dev/full", "w");
  const sink = new Sink(fd);
  sink.write("x\n");
  t.same(sink.status, { dropped: 1, problem: "ENOSPC" });
  closeSync(fd);
});

const noPython =
  spawnSync("python3", ["--version"]).error === undefined ? false : "needs python3, which makes a terminal";

t.test("a terminal that was stopped", { skip: noPython }, async (t) => {
  const python = `
import pty, os, sys, fcntl, termios, subprocess
master, slave = pty.openpty()
termios.tcflow(slave, termios.TCOOFF)
p = subprocess.run(sys.argv[1:], pass_fds=[slave], timeout=20, env={**os.environ, "TTY_FD": str(slave)})
print("O_NONBLOCK left" if fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK else "as it was")
sys.exit(p.returncode)`;
  const script: string = `
const { Sink } = await import(${JSON.stringify(new URL("../../src/host/sink.ts", import.meta.url).href)});
const sink = new Sink(Number(process.env.TTY_FD));
for (let i = 0; i < 2000; i++) sink.write("y".repeat(1023) + "\\n");
process.exit(sink.status.problem === "stalled" && sink.status.dropped > 0 ? 0 : 1);`;
  const ran = spawnSync("python3", ["-c", python, process.execPath, "--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  t.equal(ran.status, 0, ran.stderr);
  t.match(ran.stdout, /as it was/);
});
