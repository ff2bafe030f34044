import { randomBytes } from "node:crypto";
import { SallyportError } from "../core/errors.ts";
import { digitsOf, matchingStep, SECRET_BYTES, stepAt } from "../core/totp.ts";
import { wipe } from "../keys/memory.ts";
import type { Store } from "../store/store.ts";
import { removeTotp, setTotp } from "../store/totp.ts";
import { type UserRow, userByName } from "../store/users.ts";
import type { Access } from "./access.ts";
import type { Caller } from "./callers.ts";

const MINUTES = 10;
/** Wrong codes until a new secret is made. */
const TRIES = 2;
const MAX_PENDING = 256;

/** A secret that was shown and not proved. It is in memory alone: what is in the database goes on counting meanwhile. */
type Pending = { secret: Buffer; by: string; until: number; wrong: number };

/** Authenticators for one-time codes. They are enrolled on the host, by their person or by an admin, never through Slack. */
export class Enrolments {
  readonly #store: Store;
  readonly #access: Access;
  readonly #now: () => number;
  /** By the id of the user who gets it. */
  readonly #pending = new Map<string, Pending>();

  constructor(o: { store: Store; access: Access; now: () => number }) {
    this.#store = o.store;
    this.#access = o.access;
    this.#now = o.now;
  }

  /** A new secret (20 bytes; the caller wipes it), which counts once `prove` has taken a code of it. Throws `denied`, `not_found`. */
  async begin(caller: Caller, name: string): Promise<Buffer> {
    const { user } = await this.#demand(caller, name);
    const secret = randomBytes(SECRET_BYTES);
    this.#forget(user.id);
    this.#pending.set(user.id, { secret, by: caller.id, until: this.#now() + MINUTES * 60_000, wrong: 0 });
    const oldest = this.#pending.keys().next().value;
    if (this.#pending.size > MAX_PENDING && oldest !== undefined) this.#forget(oldest);
    return Buffer.from(secret);
  }

  /** Enrols, in place of an earlier one. Throws `denied` for a wrong code and `conflict` where there is nothing (more) to prove. */
  async prove(caller: Caller, name: string, code: string): Promise<void> {
    const { user, policies } = await this.#demand(caller, name);
    const pending = this.#pending.get(user.id);
    const now = this.#now();
    if (pending === undefined || pending.by !== caller.id || now > pending.until)
      throw new SallyportError(
        "conflict",
        `There is nothing to prove. Begin with: sallyport user totp ${name}`,
      );
    const digits = digitsOf(code);
    const step = digits === null ? null : matchingStep(pending.secret, digits, stepAt(now));
    if (step === null) return this.#wrong(caller, user, pending);
    await this.#store.mutate(async (tx) => {
      const replaced = await setTotp(tx, { user, secret: pending.secret, step });
      tx.log({
        type: "user.totp_enrolled",
        outcome: "success",
        actor: caller.actor,
        policy: policies.join(","),
        data: { user: user.id, replaced },
      });
    });
    this.#forget(user.id);
  }

  async remove(caller: Caller, name: string): Promise<void> {
    const { user, policies } = await this.#demand(caller, name);
    await this.#store.mutate(async (tx) => {
      if (!(await removeTotp(tx, user.id)))
        throw new SallyportError("not_found", `${name} has no authenticator.`);
      const data = { user: user.id };
      const policy = policies.join(",");
      tx.log({ type: "user.totp_removed", outcome: "success", actor: caller.actor, policy, data });
    });
  }

  async #wrong(caller: Caller, user: UserRow, pending: Pending): Promise<never> {
    pending.wrong++;
    const isOver = pending.wrong >= TRIES;
    if (isOver) this.#forget(user.id);
    await this.#store.mutate((tx) => {
      tx.log({
        type: "authn.code_refused",
        outcome: "failure",
        actor: caller.actor,
        reason: "not the code of the secret that was shown",
        data: { purpose: "enrol", source: caller.source, failures: pending.wrong },
      });
    });
    throw new SallyportError(
      "denied",
      `That is not the code of this secret now. Are the clocks of the phone and of this host right?${
        isOver ? " Nothing was enrolled; begin anew." : ""
      }`,
    );
  }

  async #demand(caller: Caller, name: string): Promise<{ user: UserRow; policies: string[] }> {
    const policies = await this.#access.demand(caller, "enrol", { kind: "user", name });
    const user = await userByName(this.#store.read, name);
    if (user === undefined)
      throw new SallyportError("not_found", `User ${name}. Add it with: sallyport user add ${name}`);
    return { user, policies };
  }

  #forget(id: string): void {
    const pending = this.#pending.get(id);
    if (pending !== undefined) wipe(pending.secret);
    this.#pending.delete(id);
  }
}
