import { SallyportError } from "../core/errors.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Peers } from "./peers.ts";

type Answer = MessageOf<"profile.checked">;
type Waiting = { resolve: (answer: Answer) => void; reject: (error: SallyportError) => void };

const ANSWER_MS = 30_000;
const MAX_BYTES = 256 * 1024;

/** Has the runner compile a bundle's system call profile, since the keeper executes nothing. */
export class ProfileChecks {
  readonly #peers: Peers;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;

  constructor(peers: Peers) {
    this.#peers = peers;
  }

  /** Throws `runs_halted` when there is no runner, or it ended, and `timeout` when it said nothing within 30 s. */
  check(profile: Uint8Array): Promise<Answer> {
    const id = this.#next++;
    if (profile.length > MAX_BYTES) {
      const reason = `It has ${profile.length} bytes; at most ${MAX_BYTES} are read.`;
      return Promise.resolve({ type: "profile.checked", id, ok: false, reason, notes: [] });
    }
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const late = new SallyportError("timeout", "The runner did not check the Op's system call profile.");
    const timer = setTimeout(() => reject(late), ANSWER_MS);
    timer.unref();
    this.#waiting.set(id, { resolve, reject });
    if (!this.#peers.send("runner", { type: "profile.check", id }, [profile])) this.lost();
    return promise.finally(() => {
      clearTimeout(timer);
      this.#waiting.delete(id);
    });
  }

  receive(answer: Answer): void {
    this.#waiting.get(answer.id)?.resolve(answer);
  }

  /** The runner's connection ended. */
  lost(): void {
    for (const { reject } of this.#waiting.values())
      reject(
        new SallyportError(
          "runs_halted",
          "The Op's system call profile is checked by the runner, which is not there. Try again when it is: sallyport status",
        ),
      );
  }
}
