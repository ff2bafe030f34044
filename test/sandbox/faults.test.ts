import { chmodSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { launch, USERS } from "./support/once.ts";
import { compile } from "./support/probe.ts";
import { compileFilter, LAUNCHER, runSpec, script } from "./support/spec.ts";

/** The set-up calls of a run, each refused in turn by an outer filter that the launcher itself runs under. */
const CALLS: [string, RegExp, object?][] = [
  ["clone3", /clone/],
  ["socketpair", /socketpair/],
  ["pidfd_open", /pidfd_open/],
  ["sendmsg", /go|wait|lost/],
  ["unshare", /unshare/],
  ["setresgid", /setresgid/],
  ["setresuid", /setresuid/],
  ["prctl", /pdeathsig/],
  ["sethostname", /sethostname/],
  ["setdomainname", /setdomainname/],
  ["mount", /private/],
  ["open_tree", /open_tree/],
  ["mount_setattr", /mount_setattr/],
  ["move_mount", /move_mount/],
  ["mkdir", /mkdir/],
  ["symlink", /link/],
  ["chdir", /root|chdir/],
  ["pivot_root", /pivot_root/],
  ["umount2", /detach/],
  ["getcwd", /getcwd/],
  ["capset", /capset/],
  ["clone", /fork/],
  ["setsid", /setsid/],
  ["keyctl", /keyring/],
  ["prlimit64", /rlimit/],
  ["seccomp", /seccomp/],
  ["landlock_restrict_self", /landlock/],
  ["landlock_add_rule", /landlock.rule/],
];

const FILTERED = compile([join(import.meta.dirname, "support/filtered.c")]);
// The ordinary user executes it too.
chmodSync(dirname(FILTERED), 0o755);

for (const { name, user } of USERS) {
  t.test(`a refused set-up call, as ${name}: the Op never starts`, async (t) => {
    const spec = runSpec(script("echo started"));
    const fine = await viaFilter(compileFilter([{ names: ["acct"], action: "SCMP_ACT_ERRNO" }]), spec, user);
    t.equal(fine.stdout, "started\n", "the way of testing works");
    for (const [call, step, extra] of CALLS) {
      const rule = { names: [call], action: "SCMP_ACT_ERRNO", errnoRet: 22, ...extra };
      const r = await viaFilter(compileFilter([rule]), spec, user);
      t.equal(r.stdout, "", `${call} refused`);
      t.equal(r.code, 125, `${call}: ${r.stderr.trim()}`);
      t.match(r.stderr, step, call);
    }
    for (const [call, code] of [
      ["execve", 126],
      ["close_range", 125],
    ] as const) {
      // Both also needed on the way into the outer filter: so by a filter on what only the run does.
      const args = call === "close_range" ? [{ index: 2, value: 4, op: "SCMP_CMP_EQ" }] : [];
      const r = await viaFilter(
        compileFilter([{ names: [call], action: "SCMP_ACT_ERRNO", errnoRet: 1, args }]),
        spec,
        user,
      );
      t.match(r, { stdout: "", code }, call);
    }
    // Without Landlock the fences in front of it must hold alone.
    const tries =
      "cat /proc/1/environ && echo read; cp /bin/true /tmp/t; /tmp/t && echo ran; echo > /usr/x && echo wrote";
    const landlock = await viaFilter(
      compileFilter([{ names: ["landlock_create_ruleset"], action: "SCMP_ACT_ERRNO", errnoRet: 95 }]),
      runSpec(script(`echo started; ${tries}`)),
      user,
    );
    t.equal(landlock.stdout, "started\n", "Landlock refused as a whole is reported, not fatal");
  });
}

/** `launcher once` under the filter. */
function viaFilter(filter: Buffer, spec: Buffer, user: number | undefined) {
  return launch("once", filter, {
    ...(user === undefined ? {} : { user }),
    launcher: FILTERED,
    more: { 5: spec, 6: LAUNCHER },
  });
}
