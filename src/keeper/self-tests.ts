import type { MessageOf } from "../wire/messages.ts";
import type { Peers } from "./peers.ts";

type Ready = MessageOf<"runner.ready">;

/** The two runs of a self-test may take 20 s each. */
const ANSWER_MS = 45_000;
/** Who asks within this time of an answer hears that answer: asking costs the runner two sandboxes. */
const FRESH_MS = 5000;

/** Has the runner test its sandbox again while it serves. */
export class SelfTests {
  readonly #peers: Pick<Peers, "send" | "nextSelfTest" | "selfTest">;
  readonly #answerMs: number;
  #asked: Promise<Ready | undefined> | undefined;
  #answer: { ready: Ready; at: number } | undefined;

  constructor(peers: Pick<Peers, "send" | "nextSelfTest" | "selfTest">, answerMs = ANSWER_MS) {
    this.#peers = peers;
    this.#answerMs = answerMs;
  }

  /** Undefined where no runner is connected, or it ended or said nothing in time. One test at a time, whoever asks. */
  again(): Promise<Ready | undefined> {
    const last = this.#answer;
    // Another runner's answer is none.
    if (last !== undefined && last.ready === this.#peers.selfTest && Date.now() - last.at < FRESH_MS)
      return Promise.resolve(last.ready);
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = undefined;
    });
    return this.#asked;
  }

  async #ask(): Promise<Ready | undefined> {
    const next = this.#peers.nextSelfTest();
    if (!this.#peers.send("runner", { type: "runner.test" })) return undefined;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), this.#answerMs);
    });
    const ready = await Promise.race([next, late]).finally(() => clearTimeout(timer));
    if (ready !== undefined) this.#answer = { ready, at: Date.now() };
    return ready;
  }
}
