import type { BoundSecret } from "../core/bound-secret.ts";
import type { Confirm } from "../core/manifest.ts";
import type { Obligation } from "../core/obligations.ts";
import type { Reader, Tx } from "./tx.ts";

/** What a run waits for before it may start. Times in ms since the epoch. */
export interface Wait {
  run: string;
  /** core/digest, over what an approval binds. */
  digest: string;
  /** How its requester has to confirm it, and how far that came. */
  confirm: Confirm;
  reached: Confirm;
  /** Those that ask for approvals. */
  needs: readonly Obligation[];
  /** As keeper/secrets binds them. */
  secrets: readonly BoundSecret[];
  /** Member id of its requester, where it was asked in Slack. */
  slackUser: string | null;
  created: number;
  expires: number;
}

export interface Verdict {
  run: string;
  userId: string;
  verdict: "approved" | "denied";
  reached: Confirm;
  source: "slack" | "tty";
  channel: string | null;
  /** Through which account it was given: a Slack member id, or the uid of a host account. */
  account: string;
  created: number;
}

type Stored = Omit<Wait, "needs" | "secrets"> & { needs: string; secrets: string };

const COLUMNS = "run, digest, confirm, reached, needs, secrets, slack_user AS slackUser, created, expires";
const waitOf = (stored: Stored): Wait => ({
  ...stored,
  needs: JSON.parse(stored.needs) as Obligation[],
  secrets: JSON.parse(stored.secrets) as BoundSecret[],
});

export async function addWait(tx: Tx, made: Omit<Wait, "created">): Promise<void> {
  await tx.run(
    `INSERT INTO waits (run, digest, confirm, reached, needs, secrets, slack_user, created, expires)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    [
      made.run,
      made.digest,
      made.confirm,
      made.reached,
      JSON.stringify(made.needs),
      JSON.stringify(made.secrets),
      made.slackUser,
      tx.now,
      made.expires,
    ],
  );
}

/** Also of a run that waits no more. */
export async function getWait(reader: Reader, run: string): Promise<Wait | undefined> {
  const stored = await reader.get<Stored>(`SELECT ${COLUMNS} FROM waits WHERE run = ?`, [run]);
  return stored && waitOf(stored);
}

export async function setReached(tx: Tx, run: string, reached: Confirm): Promise<void> {
  await tx.run("UPDATE waits SET reached = ? WHERE run = ?", [reached, run]);
}

/** One a person: false where they have spoken already, and nothing changes. */
export async function addVerdict(tx: Tx, made: Omit<Verdict, "created">): Promise<boolean> {
  const sql = `INSERT OR IGNORE INTO verdicts (run, user_id, verdict, reached, source, channel, account, created)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)`;
  const { run, userId, verdict, reached, source, channel, account } = made;
  const params = [run, userId, verdict, reached, source, channel, account, tx.now];
  return (await tx.run(sql, params)) > 0;
}

/** In the order in which they were given. */
export function listVerdicts(reader: Reader, run: string): Promise<Verdict[]> {
  const columns = "run, user_id AS userId, verdict, reached, source, channel, account, created";
  return reader.all(`SELECT ${columns} FROM verdicts WHERE run = ? ORDER BY created, user_id`, [run]);
}
