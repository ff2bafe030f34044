import { readFileSync } from "node:fs";
import t from "tap";
import { readAnswers } from "../../src/exec/battery.ts";
import { runOp, sh, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { isRoot, users } from "./users.ts";

/** A launcher that was started with more than an Op should have: what a shell, a unit or an administrator may leave on it. */

t.setTimeout(FILE_TIMEOUT);

const LOW = -500;
/** Whatever of it this host allows: the file says below what it could not try. */
const SCRIPT = `umask 0; trap "" INT TERM HUP PIPE USR1; exec 7</etc/passwd 8</
echo ${LOW} 2>/dev/null >/proc/self/oom_score_adj; cd /; export CREDENTIAL=x LD_PRELOAD_PATH=y; exec "$@"`;
const ROOTS = [
  ...["setpriv", "--groups", "4,27"],
  ...["chrt", "-f", "3", "ionice", "-c1", "-n0", "nice", "-n", "-5"],
];
const before = [...(isRoot ? ROOTS : []), "/bin/sh", "-c", SCRIPT, "sh"];

/** Of its own: what the Op says of itself; `grep` is empty where it has no /proc. */
const LOOK = `./probe descriptors environment session
echo "umask $(umask)"; echo "nice $(nice)"; echo "groups $(id -G)"; echo "io $(ionice)"
echo "policy $(chrt -p $$ | head -1)"; echo "oom $(cat /proc/self/oom_score_adj)"
grep -E '^(SigIgn|SigBlk|CapInh|CapAmb|Groups)' /proc/self/status`;

for (const user of users) {
  t.test(`as ${user.name}`, async (t) => {
    const { launcher, child, stop } = startLauncher({ uid: user.uid, before });
    t.teardown(stop);
    await launcher.hello;
    const outside = (file: string) => readFileSync(`/proc/${child.pid}/${file}`, "utf8");
    const seen = await runOp(launcher, { argv: sh(LOOK) });
    t.match(seen.result, { outcome: "exited" }, seen.stderr);
    const answers = readAnswers(seen.stdout);
    const line = (name: string) => new RegExp(`^${name}:?[ \\t]+(.*)$`, "m").exec(seen.stdout)?.[1]?.trim();

    await t.test("what a shell leaves: signals, descriptors, environment, umask, session", async (t) => {
      t.match(outside("status"), /^SigIgn:\t0*0$/m, "the launcher itself minds signals again");
      t.equal(answers.get("descriptors"), "0 1 2 3");
      t.notMatch(answers.get("environment"), /CREDENTIAL|LD_/);
      t.equal(answers.get("session"), "own");
      t.equal(line("umask"), "0022");
      for (const name of ["SigIgn", "SigBlk", "CapInh", "CapAmb"]) t.match(line(name) ?? "0", /^0+$/, name);
    });

    const noRoot = !isRoot && "only root can start it with these";
    const itsOwn = user.uid !== undefined && "an ordinary user can't give up its own";
    await t.test("groups of the host", { skip: noRoot || itsOwn }, async (t) => {
      t.match(outside("status"), /^Groups:\t4 27 $/m);
      // What it can't name it would see as 65534.
      t.equal(line("groups"), "1000");
    });

    await t.test("a better place at the processor and the disk", { skip: noRoot }, async (t) => {
      // Field 40, counted from the third: proc_pid_stat(5).
      const fields = outside("stat")
        .replace(/^.*\) /, "")
        .split(" ");
      t.equal(fields[37], "3", "real time outside");
      t.equal(line("nice"), "0");
      t.match(line("policy"), /SCHED_OTHER/);
      t.match(line("io"), /none|best-effort: prio 4/);
    });

    const protectedOutside = outside("oom_score_adj").trim() === `${LOW}`;
    const unprotected =
      !protectedOutside && "this account may not protect a process from the kernel (CAP_SYS_RESOURCE)";
    await t.test("protection from the kernel that needs memory", { skip: unprotected }, async (t) => {
      t.match(line("oom"), /^(0|)$/);
    });
  });
}
