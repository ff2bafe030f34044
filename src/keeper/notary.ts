import { SallyportError } from "../core/errors.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import type { Peers } from "./peers.ts";

const ANSWER_MS = 5000;
const START_MS = 3000;
const PAUSE_MS = 20;

type Question = MessageOf<"notary.open"> | MessageOf<"notary.sign">;
type Waiting = { isAnswer: (message: Message) => boolean; settle: (answer: Message | Error) => void };

/** The notary said no. "history": the log does not extend what was signed; that is for people to look at. */
export class NotaryRefusal extends SallyportError {
  readonly kind: MessageOf<"notary.refused">["kind"];

  constructor({ kind, reason }: MessageOf<"notary.refused">) {
    super("notary_refused", reason);
    this.kind = kind;
  }
}

/** Asks the notary one thing at a time and waits for its answer. An answer that comes too late is nobody's. */
export class NotaryClient {
  readonly #peers: Peers;
  #waiting: Waiting | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(peers: Peers) {
    this.#peers = peers;
  }

  receive(message: Message): void {
    if (this.#waiting?.isAnswer(message) === true) this.#waiting.settle(message);
  }

  lost(): void {
    this.#waiting?.settle(new SallyportError("timeout", "The notary's process ended before it answered."));
  }

  /** The half is sent as a binary part. Throws NotaryRefusal, and `timeout` when no answer came. */
  async open(origin: string, half: Buffer): Promise<MessageOf<"notary.opened">> {
    await this.#present();
    const isAnswer = (m: Message) =>
      m.type === "notary.opened" || (m.type === "notary.refused" && m.size === 0);
    return (await this.#ask({ type: "notary.open", origin }, [half], isAnswer)) as MessageOf<"notary.opened">;
  }

  async sign(o: Omit<MessageOf<"notary.sign">, "type">): Promise<MessageOf<"notary.signed">> {
    const isAnswer = (m: Message) =>
      (m.type === "notary.signed" || m.type === "notary.refused") && m.size === o.size;
    return (await this.#ask({ type: "notary.sign", ...o }, [], isAnswer)) as MessageOf<"notary.signed">;
  }

  /** It may be starting just now; asked too early, a right passphrase would be in vain. */
  async #present(): Promise<void> {
    for (let waited = 0; !this.#peers.has("notary") && waited < START_MS; waited += PAUSE_MS) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async #ask(question: Question, parts: Buffer[], isAnswer: Waiting["isAnswer"]): Promise<Message> {
    const answer = this.#tail.then(() => this.#exchange(question, parts, isAnswer));
    this.#tail = answer.catch(() => undefined);
    const got = await answer;
    if (got.type === "notary.refused") throw new NotaryRefusal(got);
    return got;
  }

  #exchange(question: Question, parts: Buffer[], isAnswer: Waiting["isAnswer"]): Promise<Message> {
    return new Promise((resolve, reject) => {
      const late = `The notary did not answer ${question.type} within ${ANSWER_MS} ms.`;
      const timer = setTimeout(() => this.#waiting?.settle(new SallyportError("timeout", late)), ANSWER_MS);
      const settle = (answer: Message | Error) => {
        clearTimeout(timer);
        this.#waiting = undefined;
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      };
      this.#waiting = { isAnswer, settle };
      if (!this.#peers.send("notary", question, parts)) {
        settle(new SallyportError("timeout", "The notary's process is not connected."));
      }
    });
  }
}
