import { SallyportError } from "../core/errors.ts";
import { digitsOf, lastTaken, matchingStep, startOf, stepAt } from "../core/totp.ts";
import type { Store } from "../store/store.ts";
import { codeFailed, codeTaken, getTotp, type Totp } from "../store/totp.ts";
import type { Tx } from "../store/tx.ts";
import { getUser } from "../store/users.ts";
import type { Caller } from "./callers.ts";
import { Refusals } from "./refusals.ts";

export type Purpose = "confirm" | "approve";

/** Wrong codes without a wait; each one more doubles it. A code is one of a million, and three are right at a time. */
const FREE = 5;
const FIRST_WAIT_MS = 30_000;
const MAX_WAIT_MS = 3_600_000;

/** What was found, to be thrown once it is in the log. */
type Refusal = { error: SallyportError; reason: string; failures?: number };

/**
 * One-time codes of an authenticator [RFC 6238]. The secret, the last step taken and the count of wrong codes are in the
 * database: a code that was taken, or a wait, outlasts a crash and a restart.
 */
export class Codes {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #told = new Refusals();

  constructor(o: { store: Store; now: () => number }) {
    this.#store = o.store;
    this.#now = o.now;
  }

  /**
   * Takes the caller's code for one run, once: it is durable that it was taken before this returns. Throws `denied` (wrong,
   * used, none enrolled), `user_disabled`, `slow_down`, and `conflict` where the host's clock is behind the last code.
   */
  async check(caller: Caller, code: string, purpose: Purpose, run: string): Promise<void> {
    const about = {
      actor: caller.actor,
      run,
      data: { purpose, source: caller.source, channel: caller.channel?.id ?? null },
    };
    const refused = await this.#store.mutate(async (tx) => {
      const found = await this.#judge(tx, caller, code);
      if (found === null) {
        tx.log({ type: "authn.code_accepted", outcome: "success", ...about });
      } else if ("seconds" in found) {
        const { count, seconds } = found;
        const data = { ...about.data, seconds, count };
        if (count > 0) tx.log({ ...about, type: "authn.code_throttled", outcome: "denied", data });
      } else {
        const { reason, failures = null } = found;
        const data = { ...about.data, failures };
        tx.log({ ...about, type: "authn.code_refused", outcome: "failure", reason, data });
      }
      return found?.error ?? null;
    });
    if (refused !== null) throw refused;
  }

  /** Inside the transaction, of which there is one at a time: two alike can't both be the first. */
  async #judge(
    tx: Tx,
    { id, principal }: Caller,
    code: string,
  ): Promise<Refusal | { error: SallyportError; seconds: number; count: number } | null> {
    const now = this.#now();
    const step = stepAt(now);
    const user = await getUser(tx, id);
    if (user?.status !== "active")
      return { error: new SallyportError("user_disabled"), reason: "the user is disabled" };
    const totp = await getTotp(tx, id);
    if (totp === undefined) {
      const how = `No authenticator is enrolled for you. An admin enrols you on the host with: sallyport user totp ${principal.name}`;
      return { error: new SallyportError("denied", how), reason: "not enrolled" };
    }
    const wait = await waitOf(tx, totp, now);
    if (wait > 0) {
      const seconds = Math.ceil(wait / 1000);
      const error = new SallyportError("slow_down", `Try again in ${seconds} s.`);
      return { error, seconds, count: this.#told.count(id, "throttled", now) };
    }
    if (totp.lastStep > lastTaken(step)) return behind(totp, principal.name);
    const digits = digitsOf(code);
    if (digits === null)
      return {
        error: new SallyportError("denied", "A one-time code is six digits."),
        reason: "not six digits",
      };
    const matched = matchingStep(totp.secret, digits, step);
    if (matched !== null && matched > totp.lastStep) {
      await codeTaken(tx, id, matched);
      return null;
    }
    if (matched !== null) {
      const how = "This code was used already, or one after it: each counts once. Wait for the next one.";
      return { error: new SallyportError("denied", how), reason: "used already" };
    }
    const failures = totp.failures + 1;
    const retryAt = now + penalty(failures);
    await codeFailed(tx, id, { failures, retryAt });
    return { error: new SallyportError("denied", wrong(penalty(failures))), reason: "wrong code", failures };
  }
}

/** Milliseconds to wait after so many wrong codes in a row. */
function penalty(failures: number): number {
  if (failures < FREE) return 0;
  return Math.min(FIRST_WAIT_MS * 2 ** Math.min(failures - FREE, 20), MAX_WAIT_MS);
}

/** What is left of the wait. A clock that was set back makes it no longer than it was. */
async function waitOf(tx: Tx, { userId, failures, retryAt }: Totp, now: number): Promise<number> {
  const left = retryAt - now;
  const most = penalty(failures);
  if (left <= most) return left;
  tx.unlogged("a wait that a clock set back had made longer");
  await codeFailed(tx, userId, { failures, retryAt: now + most });
  return most;
}

function behind({ lastStep }: Totp, name: string): Refusal {
  const from = new Date(startOf(lastStep)).toISOString();
  const detail =
    `The host's clock was set back behind the last code that was taken. Codes are taken again from ${from} on its clock; ` +
    `if that is wrong, an admin enrols you anew on the host: sallyport user totp ${name}`;
  return { error: new SallyportError("conflict", detail), reason: "the clock is behind the last code" };
}

function wrong(waitMs: number): string {
  const next = waitMs > 0 ? ` The next one is looked at in ${waitMs / 1000} s.` : "";
  return `That is not the code that your authenticator shows now. Is the phone's clock right?${next}`;
}
