import t from "tap";
import { failedResult, launchFailed } from "../../src/exec/result.ts";
import { endingOf } from "../../src/keeper/run-record.ts";

const failed = (step: string, errno: number) =>
  failedResult({ kind: "failed", handle: 1, errno, step }, "./main.sh");
const reason = (result: ReturnType<typeof launchFailed>): string | null =>
  endingOf({
    type: "run.finished",
    run: "r-0123456789abcdef",
    ...result,
    denied: result.denied.map((call) => ({ ...call })),
  }).reason;

t.test("why nothing ran is told once, and by its own name", async (t) => {
  t.equal(
    reason(failed("exec", 2)),
    "./main.sh could not be executed (ENOENT): no such file in the sandbox, or the interpreter of its first line is missing. The Op was not started.",
    "the Op's own fault",
  );
  t.equal(
    reason(failed("clone", 28)),
    'The sandbox could not be set up at step "clone" (ENOSPC). The Op was not started.',
    "the host's",
  );
  t.equal(
    reason(launchFailed("32 runs are live already; try again when one has ended.")),
    "32 runs are live already; try again when one has ended. The Op was not started.",
    "the runner's refusal",
  );
  t.equal(
    reason({ ...launchFailed(""), detail: null }),
    "The sandbox could not be set up. The Op was not started.",
    "no detail",
  );
});
