import { asSallyportError, SallyportError } from "../core/errors.ts";
import { isSlackUserId } from "../core/identity.ts";
import { owe } from "../store/outbox.ts";
import {
  acceptReceipt,
  findReceipt,
  findRepeated,
  finishReceipt,
  openReceipts,
  pruneReceipts,
  RECEIPT_KEEP_MS,
  withdrawReceipt,
} from "../store/receipts.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import type { Document } from "../wire/document.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import type { View } from "../wire/view.ts";
import { slackActor } from "./callers.ts";
import { say } from "./documents.ts";
import type { Peers } from "./peers.ts";

type Request = MessageOf<"slack.request">;

/** What became of a request, for its receipt. A run's own outcome is recorded with the run. `view`: a form for its person. */
export type Answer = { outcome: string; document: Document | null; parts?: Buffer[]; view?: View };
export type Dispatch = (request: Request) => Promise<Answer>;

/** From a request's arrival until the gateway said whether it acknowledged it. */
type Pending = {
  request: Request;
  timer: NodeJS.Timeout | undefined;
  isDurable: boolean;
  /** What was heard before the receipt was durable. */
  verdict: "late" | "lost" | null;
};

/** Longer than the gateway waits, so that a receipt that it never took is given up here. */
const ACKED_MS = 6000;
const MAX_PENDING = 500;
const WITHDRAWAL_MS = 50;
const RESTARTED = "sallyport was restarted before it took up your command. It did not run; please try again.";
const GIVEN_UP =
  "Your command did not run: inside sallyport it was not confirmed in time that Slack has its receipt. Please try again.";

/**
 * The door for what comes from Slack: dedupe, durable receipt, and only after the gateway said that it acked in time the
 * request is dispatched (DESIGN section 4). Every accepted request ends in exactly one outcome on its receipt.
 */
export class SlackDesk {
  readonly #store: Store;
  readonly #peers: Peers;
  readonly #dispatch: Dispatch;
  readonly #failed: (error: unknown) => void;
  readonly #pending = new Map<string, Pending>();
  /** Ids whose receipt was taken back; should the gateway have acknowledged one after all, its person is told. */
  readonly #givenUp = new Set<string>();
  /** Dedupe keys from acceptance until the outcome is durable: two deliveries at once can be in one batch of the store. */
  readonly #inHand = new Set<string>();
  #prune: NodeJS.Timeout | undefined;

  constructor(o: { store: Store; peers: Peers; dispatch: Dispatch; failed: (error: unknown) => void }) {
    this.#store = o.store;
    this.#peers = o.peers;
    this.#dispatch = o.dispatch;
    this.#failed = o.failed;
  }

  start(): void {
    this.#prune = setInterval(() => {
      this.#store
        .mutate((tx) => {
          tx.unlogged("old receipts");
          return pruneReceipts(tx, tx.now - RECEIPT_KEEP_MS);
        })
        .catch(this.#failed);
    }, 600_000);
    this.#prune.unref();
  }

  stop(): void {
    clearInterval(this.#prune);
    for (const { timer } of this.#pending.values()) clearTimeout(timer);
    this.#pending.clear();
  }

  receive(message: Message): void {
    if (message.type === "slack.request") void this.#accept(message).catch(this.#failed);
    else if (message.type === "slack.acked") this.#acked(message);
  }

  /** The gateway is gone: what it had not acked never reached Slack as accepted. It comes again, as a fresh request. */
  gatewayLost(): void {
    for (const pending of [...this.#pending.values()]) this.#withdraw(pending);
  }

  #withdraw(pending: Pending): void {
    clearTimeout(pending.timer);
    if (!pending.isDurable) {
      pending.verdict = "lost";
      return;
    }
    this.#pending.delete(pending.request.id);
    this.#givenUp.add(pending.request.id);
    if (this.#givenUp.size > MAX_PENDING) this.#givenUp.delete([...this.#givenUp][0]!);
    this.#store
      .mutate((tx) => {
        tx.unlogged("an acceptance that nobody was told of");
        this.#inHand.delete(pending.request.dedupe);
        return withdrawReceipt(tx, pending.request.dedupe);
      })
      .catch(this.#failed);
  }

  /** What a crash left: accepted, but not known to have been dispatched. It did not run and never will; its person is told. */
  async recover(): Promise<void> {
    for (const receipt of await openReceipts(this.#store.read)) {
      await this.#store.mutate(async (tx) => {
        const outcome = "not run: sallyport was restarted";
        await finishReceipt(tx, receipt.key, { state: "refused", outcome });
        tx.log({
          type: "request.abandoned",
          outcome: "failure",
          actor: { kind: "system" },
          reason: "sallyport was restarted before the request was taken up; it did not run",
          data: { request: receipt.requestId },
        });
        const user = receipt.body?.toString("latin1");
        if (user === undefined || !isSlackUserId(user)) return;
        // The way back to where it was asked ended with the gateway; a message to a user's id is a direct message.
        await owe(tx, {
          nonce: `abandoned:${receipt.requestId}`.slice(0, 128),
          kind: "post",
          channel: user,
          doc: JSON.stringify(say(RESTARTED)),
        });
      });
    }
  }

  async #accept(request: Request): Promise<void> {
    if (this.#pending.size >= MAX_PENDING)
      return this.#refuse(request, "Too many requests at once; try again in a moment.");
    const pending: Pending = { request, timer: undefined, isDurable: false, verdict: null };
    // Known before its receipt is durable: the gateway may give up, or go, while that is being written.
    this.#pending.set(request.id, pending);
    let taken: "fresh" | "seen" | "refused";
    try {
      taken = await this.#store.mutate((tx) => this.#receipt(tx, pending));
    } catch (error) {
      const { dedupe } = pending.request;
      this.#pending.delete(request.id);
      if ((await findReceipt(this.#store.read, dedupe).catch(() => undefined)) === undefined) {
        this.#inHand.delete(dedupe);
      }
      this.#failed(error);
      return this.#refuse(request, asSallyportError(error).message);
    }
    if (taken !== "fresh") this.#pending.delete(request.id);
    if (taken === "seen" && this.#isBeingWithdrawn(pending.request.dedupe)) {
      // The first delivery's acceptance is being taken back with its gateway: this one takes its place.
      await new Promise((resolve) => setTimeout(resolve, WITHDRAWAL_MS));
      return this.#accept(request);
    }
    if (taken === "refused")
      return this.#refuse(request, "it did not run when it first came. Please try again.");
    pending.isDurable = true;
    if (taken === "fresh" && pending.verdict === "lost") return this.#withdraw(pending);
    if (taken === "fresh" && pending.verdict === "late") return this.#late(pending);
    if (taken === "fresh") pending.timer = setTimeout(() => this.#withdraw(pending), ACKED_MS);
    this.#peers.send("gateway", {
      type: "slack.receipt",
      id: request.id,
      accepted: true,
      duplicate: taken === "seen",
      text: null,
    });
  }

  #isBeingWithdrawn(dedupe: string): boolean {
    for (const { request, verdict } of this.#pending.values())
      if (request.dedupe === dedupe && verdict === "lost") return true;
    return false;
  }

  async #receipt(tx: Tx, pending: Pending): Promise<"fresh" | "seen" | "refused"> {
    const seen = await findRepeated(tx, { key: pending.request.dedupe, trigger: pending.request.trigger });
    // In whichever envelope it came first, that one's receipt is the command's.
    if (seen !== undefined) pending.request = { ...pending.request, dedupe: seen.key };
    const { request } = pending;
    if (seen !== undefined && (seen.state !== "accepted" || this.#inHand.has(request.dedupe))) {
      tx.unlogged("a redelivery changes nothing");
      return seen.state === "refused" ? "refused" : "seen";
    }
    await acceptReceipt(tx, {
      key: request.dedupe,
      trigger: request.trigger,
      requestId: request.id,
      kind: request.surface,
      body: Buffer.from(request.identity.user, "latin1"),
    });
    tx.log({
      type: "request.received",
      outcome: "success",
      actor: slackActor(request.identity),
      data: { surface: request.surface, channel: request.channel?.id ?? null, request: request.id },
    });
    this.#inHand.add(request.dedupe);
    return "fresh";
  }

  /** The person was told "not accepted" in the meantime: it never runs. */
  #late({ request, timer }: Pending): void {
    clearTimeout(timer);
    this.#pending.delete(request.id);
    void this.#finish(request, "refused", "not accepted: the receipt came too late")
      .catch(this.#failed)
      .finally(() => this.#inHand.delete(request.dedupe));
  }

  #refuse(request: Request, text: string): void {
    this.#peers.send("gateway", {
      type: "slack.receipt",
      id: request.id,
      accepted: false,
      duplicate: false,
      text: `Not accepted: ${text}`.slice(0, 500),
    });
  }

  #acked({ id, accepted }: MessageOf<"slack.acked">): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      // Given up here, yet acknowledged there: the person must hear that nothing ran.
      if (this.#givenUp.delete(id) && accepted) this.#respond(id, say(GIVEN_UP));
    } else if (!pending.isDurable) {
      if (!accepted) pending.verdict = "late";
    } else if (!accepted) this.#late(pending);
    else {
      clearTimeout(pending.timer);
      this.#pending.delete(id);
      void this.#take(pending.request).catch(this.#failed);
    }
  }

  async #take(request: Request): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#dispatch(request);
    } catch (error) {
      const known = asSallyportError(error);
      if (!(error instanceof SallyportError)) this.#failed(error);
      answer = { outcome: known.code, document: say(known.message) };
    }
    try {
      const receipt = await findReceipt(this.#store.read, request.dedupe);
      if (receipt?.state === "accepted") await this.#finish(request, "done", answer.outcome);
    } finally {
      this.#inHand.delete(request.dedupe);
      if (answer.document !== null) this.#respond(request.id, answer.document, answer.parts);
      const { view } = answer;
      if (view !== undefined) this.#peers.send("gateway", { type: "slack.view", request: request.id, view });
    }
  }

  async #finish(request: Request, state: "done" | "refused", outcome: string): Promise<void> {
    await this.#store.mutate(async (tx) => {
      tx.unlogged("the outcome of a request that changed nothing");
      await finishReceipt(tx, request.dedupe, { state, outcome: outcome.slice(0, 200) });
    });
  }

  #respond(request: string, document: Document, parts: Buffer[] = []): void {
    this.#peers.send("gateway", { type: "slack.respond", request, document }, parts);
  }
}
