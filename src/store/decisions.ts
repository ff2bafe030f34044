import type { Reader, Tx } from "./tx.ts";

/**
 * What the policies were asked about a run, and what they answered: when it was asked for, by each approver, and just before
 * it started. `asked` and `answer` are JSON, as keeper/decisions writes them.
 */
export interface DecisionRow {
  run: string;
  /** 1, 2, 3 ... within the run. */
  n: number;
  phase: "request" | "approve" | "launch";
  /** Whom it was about: a user's id. */
  userId: string;
  asked: string;
  answer: string;
  /** ms since the epoch */
  created: number;
}

export async function addDecision(tx: Tx, made: Omit<DecisionRow, "n" | "created">): Promise<void> {
  await tx.run(
    `INSERT INTO decisions (run, n, phase, user_id, asked, answer, created)
     SELECT ?1, coalesce(max(n), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM decisions WHERE run = ?1`,
    [made.run, made.phase, made.userId, made.asked, made.answer, tx.now],
  );
}

/** In the order in which they were made. */
export function listDecisions(reader: Reader, run: string): Promise<DecisionRow[]> {
  const columns = "run, n, phase, user_id AS userId, asked, answer, created";
  return reader.all(`SELECT ${columns} FROM decisions WHERE run = ? ORDER BY n LIMIT 200`, [run]);
}
