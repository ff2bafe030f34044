import t from "tap";
import { BATTERY, readAnswers } from "../../src/exec/battery.ts";
import { runOp, startLauncher } from "../exec/launcher.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { layBait } from "./bait.ts";
import { isReported } from "./reported.ts";
import { containmentTable } from "./table.ts";

/** P12: each attempt in a run of its own, whose record names what was refused, once, and nothing else. */

t.setTimeout(FILE_TIMEOUT);
const bait = await layBait(t);
const { launcher, stop } = startLauncher();
t.teardown(stop);
const all = [BATTERY, ...Object.values(containmentTable(bait))].flat();
const attempts = [...new Map(all.map((attempt) => [attempt.probe, attempt])).values()];

t.test("what is refused is reported, what libraries probe for is not", async (t) => {
  for (const attempt of attempts) {
    const seen = await runOp(launcher, { argv: ["./probe", attempt.probe] });
    const told = seen.result.denied.map(({ call, count }) => `${call} ${count}`).join(", ");
    const answer = readAnswers(seen.stdout).get(attempt.probe);
    if (isReported(attempt)) t.match(told, /^[a-z_0-9]+(\(.*\))? 1$/, `${attempt.name} (${answer}): ${told}`);
    else t.equal(told, "", `${attempt.name} (${answer})`);
  }
});
