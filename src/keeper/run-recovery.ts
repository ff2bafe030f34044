import { asSallyportError, SallyportError } from "../core/errors.ts";
import { canMove } from "../core/run.ts";
import { liveRuns, type RunRow } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { type Ending, recordEnd } from "./run-record.ts";

/**
 * After a crash: what was live then is dead now (the runner ends with the keeper), and is recorded as that. `tell` owes the
 * message in the same transaction.
 */
export async function recoverRuns(
  store: Store,
  o: {
    /** Lets one that waits for people wait on; or how it ends. */
    restore: (row: RunRow) => Promise<Ending | null>;
    tell: (tx: Tx, row: RunRow) => Promise<void>;
    failed: (error: unknown) => void;
  },
): Promise<void> {
  for (const row of await liveRuns(store.read)) {
    try {
      const ending = row.state === "waiting" ? await o.restore(row) : endingOfCrash(row);
      if (ending === null) continue;
      await store.mutate(async (tx) => {
        await o.tell(tx, await recordEnd(tx, { row, ending }));
      });
    } catch (error) {
      const { code } = asSallyportError(error);
      if (code === "log_unwritable") throw error;
      // One row that can't be ended must not keep the appliance sealed for good; the next start tries it again.
      const detail = `The end of run ${row.id}, left ${row.state} by a crash, could not be recorded.`;
      o.failed(new SallyportError(code, detail, { cause: error }));
    }
  }
}

function endingOfCrash({ state }: RunRow): Ending {
  if (canMove(state, "lost"))
    return {
      state: "lost",
      reason: "sallyport ended while the run was under way; nothing of it is left.",
    };
  return { state: "canceled", reason: "sallyport ended before the run was started; it did not run." };
}
