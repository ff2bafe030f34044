import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import { newRunId, type RunState } from "../../src/core/run.ts";
import { recoverRuns } from "../../src/keeper/run-recovery.ts";
import { createRun, type RunRow } from "../../src/store/runs.ts";
import { codeOf, HEARTBEAT } from "../store/scratch.ts";
import { Rig } from "./runs-rig.ts";

async function left(rig: Rig, state: RunState): Promise<string> {
  const id = newRunId();
  const version = await rig.store.read.get<{ digest: string }>("SELECT digest FROM op_versions");
  await rig.store.mutate(async (tx) => {
    tx.log(HEARTBEAT);
    await createRun(tx, {
      id,
      namespace: "web",
      op: "restart",
      version: 1,
      digest: version?.digest ?? "",
      args: "{}",
      requester: rig.caller.id,
      source: "tty",
    });
    await tx.run("UPDATE runs SET state = ? WHERE id = ?", [state, id]);
  });
  return id;
}

t.test("whatever a crash left has an end after the next unlock", async (t) => {
  const rig = await Rig.make(t);
  const states = ["requested", "waiting", "queued", "running"] as const;
  const ids = new Map<RunState, string>();
  for (const state of states) ids.set(state, await left(rig, state));
  const told: RunRow[] = [];
  const tell = async (_: unknown, row: RunRow) => void told.push(row);
  const restore = async () => ({ state: "canceled", reason: "Withdrawn: it did not run." }) as const;
  await recoverRuns(rig.store, { restore, tell, failed: (error) => t.fail(String(error)) });
  t.match(await rig.state(ids.get("requested") ?? ""), { state: "canceled", reason: /did not run/ });
  t.match(await rig.state(ids.get("waiting") ?? ""), { state: "canceled", reason: /did not run/ });
  t.match(await rig.state(ids.get("queued") ?? ""), { state: "lost" });
  t.match(await rig.state(ids.get("running") ?? ""), { state: "lost" });
  t.equal(told.length, 4);
});

t.test("a run that can't be ended is reported and does not keep the others, nor the appliance", async (t) => {
  const rig = await Rig.make(t);
  const bad = await left(rig, "running");
  const good = await left(rig, "running");
  const failures: string[] = [];
  await recoverRuns(rig.store, {
    restore: async () => null,
    tell: async (_, row) => {
      if (row.id === bad) throw new Error("no such manifest");
    },
    failed: (error) => failures.push(String(error)),
  });
  t.match(failures, [new RegExp(`run ${bad}, left running by a crash, could not be recorded`)]);
  t.match(await rig.state(bad), { state: "running" }, "nothing of it is half done");
  t.match(await rig.state(good), { state: "lost" });
});

t.test("on a full disk nothing can be ended, and the unlock says so", async (t) => {
  const rig = await Rig.make(t);
  await left(rig, "running");
  rig.beforeMutation = () => {
    throw new SallyportError("log_unwritable");
  };
  const recovered = recoverRuns(rig.store, {
    restore: async () => null,
    tell: async () => {},
    failed: () => {},
  });
  t.equal(await codeOf(recovered), "log_unwritable");
});
