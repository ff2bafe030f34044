import { readFileSync } from "node:fs";
import t from "tap";
import type { Engine } from "../../src/core/engines.ts";
import { readAnswers } from "../../src/exec/battery.ts";
import { testEngines } from "../../src/exec/engines.ts";
import { harden } from "../../src/host/harden.ts";
import { runOp, sh, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { users } from "./users.ts";

/** No crash of an Op starts a program of the host's: its core limit is 1, not 0, whatever it asks for (core(5)). */

t.setTimeout(FILE_TIMEOUT);

const hardLimit = () => /Max core file size +\S+ +(\S+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
const never = hardLimit() === "0" && "the hard limit of cores is 0 here, which not every root can raise";
// As serve does before it starts a launcher, which inherits it.
harden().disableCoreDumps();
if (never === false) t.equal(hardLimit(), "1");

for (const user of users) {
  t.test(`as ${user.name}`, { skip: never }, async (t) => {
    const { launcher, stop } = startLauncher({ uid: user.uid });
    t.teardown(stop);
    const reports = await testEngines(launcher);
    const engines: readonly Engine[] = ["native", "crun", "runc", "gvisor"];
    for (const engine of engines) {
      const missing = engine !== "native" && reports.find((r) => r.engine === engine)?.path === null;
      const skip = missing && `${engine} is not installed here (scripts/setup --tests installs it)`;

      await t.test(`asking for a core limit of 0 changes nothing, ${engine}`, { skip }, async (t) => {
        const seen = await runOp(launcher, { engine, argv: ["./probe", "core-limit"] });
        t.equal(readAnswers(seen.stdout).get("core-limit"), "1 1");
        t.same(seen.result.denied, []);
      });

      await t.test(
        `programs that ask for it go on, other limits are theirs, ${engine}`,
        { skip },
        async (t) => {
          const script = "ulimit -c 0 && ulimit -n 33 && ulimit -n";
          const seen = await runOp(launcher, { engine, argv: sh(script) });
          t.equal(seen.stdout, "33\n", seen.stderr);
        },
      );
    }
  });
}
