import { readFileSync } from "node:fs";
import t from "tap";
import type { Engine } from "../../src/core/engines.ts";
import { readAnswers } from "../../src/exec/battery.ts";
import { testEngines } from "../../src/exec/engines.ts";
import { repoPath } from "../../src/host/self.ts";
import { runOp, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { users } from "./users.ts";

/** Not one of each, but all: every file, every socket, every number of a system call. */

t.setTimeout(FILE_TIMEOUT);

/** `strict` forks nothing, the probe included: test/sandbox/profiles.test.ts tries that one. */
type Profile = "default" | "network";
interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
}

const NUMBERS = Object.entries(
  JSON.parse(readFileSync(repoPath("build/seccomp/syscalls.json"), "utf8")) as Record<string, string>,
);
/** Numbers are below it for long; what an x32 call is, another line tries. */
const ALL_NUMBERS = 1024;
/** uretprobe and uprobe: the kernel asks no filter about them, and ends who calls them without a probe. */
const UNFILTERED = [335, 336];

/** What a profile makes of each number that it never allows. */
function refusedBy(profile: Profile): { EPERM: number[]; ENOSYS: number[]; told: number } {
  const { syscalls } = JSON.parse(readFileSync(repoPath(`policies/seccomp/${profile}.json`), "utf8")) as {
    syscalls: readonly Rule[];
  };
  const named = (is: (rule: Rule) => boolean) => new Set(syscalls.filter(is).flatMap((rule) => rule.names));
  const allowed = named((rule) => rule.action === "SCMP_ACT_ALLOW");
  const told = named((rule) => rule.action === "SCMP_ACT_NOTIFY");
  const quiet = named((rule) => rule.action === "SCMP_ACT_ERRNO" && rule.errnoRet === 1);
  const nameOf = new Map(NUMBERS.map(([number, name]) => [Number(number), name]));
  const refused = { EPERM: [] as number[], ENOSYS: [] as number[], told: 0 };
  for (let number = 0; number < ALL_NUMBERS; number++) {
    const name = nameOf.get(number) ?? "";
    if (allowed.has(name) || UNFILTERED.includes(number)) continue;
    if (told.has(name)) refused.told++;
    refused[told.has(name) || quiet.has(name) ? "EPERM" : "ENOSYS"].push(number);
  }
  return refused;
}

const FAMILIES: Readonly<Record<Profile, RegExp>> = {
  default: /^1\/1 1\/2 1\/3 1\/5$/,
  network: /^1\/1 1\/2 1\/3 1\/5 2\/1 2\/2( 10\/1 10\/2)?$/,
};
const WRITABLE = ["full", "null", "random", "shm", "urandom", "zero"].map((name) => `/dev/${name}`);

for (const user of users) {
  t.test(`as ${user.name}`, async (t) => {
    const { launcher, stop } = startLauncher({ uid: user.uid });
    t.teardown(stop);
    const reports = await testEngines(launcher);
    const engines: readonly Engine[] = ["native", "crun", "runc"];
    for (const engine of engines) {
      const missing = engine !== "native" && reports.find((r) => r.engine === engine)?.path === null;
      const skip = missing && `${engine} is not installed here (scripts/setup --tests installs it)`;

      await t.test(`each file and directory, ${engine}`, { skip }, async (t) => {
        // None of its own processes' files either: /proc is read-only as a whole.
        const seen = await runOp(launcher, { engine, argv: ["./probe", "writable:/"], wallMs: 60_000 });
        const found = readAnswers(seen.stdout).get("writable:/")?.split(" ");
        t.strictSame(found?.sort(), [...WRITABLE, "/tmp"].sort());
      });

      for (const seccomp of ["default", "network"] as const) {
        await t.test(`each socket, ${seccomp}, ${engine}`, { skip }, async (t) => {
          const argv = ["./probe", "families"];
          const seen = await runOp(launcher, { engine, seccomp, argv });
          t.match(readAnswers(seen.stdout).get("families"), FAMILIES[seccomp]);
          t.ok(seen.result.denied.length > 0, "and the others are reported");
        });

        await t.test(`each number of a system call, ${seccomp}, ${engine}`, { skip }, async (t) => {
          const { EPERM, ENOSYS, told } = refusedBy(seccomp);
          const argv = ["./probe", `numbers:EPERM=${EPERM.join(",")}`, `numbers:ENOSYS=${ENOSYS.join(",")}`];
          t.ok(EPERM.length > 40 && ENOSYS.length > 500, `${EPERM.length} and ${ENOSYS.length}`);
          const seen = await runOp(launcher, { engine, seccomp, argv });
          for (const [attempt, others] of readAnswers(seen.stdout)) t.equal(others, "", attempt.slice(0, 20));
          const counted = seen.result.denied.reduce((sum, { count }) => sum + count, 0);
          t.equal(counted, told, "each that is to be reported is, and nothing else");
        });
      }
    }
  });
}
