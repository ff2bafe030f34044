import { randomBytes } from "node:crypto";
import type { Actor } from "../audit/event.ts";
import { SallyportError } from "../core/errors.ts";
import type { Store } from "../store/store.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import type { Peers } from "./peers.ts";
import type { Live } from "./run-types.ts";

/** In the run directory; the supervisor makes it, egress listens on it, the launcher's runs connect to it. */
export const EGRESS_SOCKET = "egress.sock";
const ANSWER_MS = 5000;
/** Twice what egress tells of a run at most (src/egress/reports.ts): one that was taken over must not fill the log. */
const ENTRIES = 1000;
const ENTRIES_PER_SECOND = 50;

type Way = { socket: string; token: string };
/** A run that egress knows: what its entries in the log say. */
type Granted = {
  actor: Actor;
  op: string;
  namespace: string;
  settle: (error: SallyportError | null) => void;
  since: number;
  entries: number;
};

/** Tells egress where each run may go, and logs what it reports. */
export class EgressClient {
  readonly #store: Store;
  readonly #peers: Pick<Peers, "send">;
  readonly #socket: string;
  readonly #failed: (error: unknown) => void;
  readonly #runs = new Map<string, Granted>();

  constructor(o: {
    store: Store;
    peers: Pick<Peers, "send">;
    socket: string;
    failed: (error: unknown) => void;
  }) {
    this.#store = o.store;
    this.#peers = o.peers;
    this.#socket = o.socket;
    this.#failed = o.failed;
  }

  /** Undefined where the Op asks for no network. Throws `launch_failed` when egress is away or does not answer. */
  async grant({ view, op, caller }: Live): Promise<Way | undefined> {
    if (op.manifest.network.length === 0) return undefined;
    const run = view.row.id;
    const token = randomBytes(16).toString("hex");
    const targets = op.manifest.network.map((t) => ({ ...t, private: t.private === true }));
    await new Promise<void>((resolve, reject) => {
      const settle = (error: SallyportError | null) => {
        clearTimeout(timer);
        if (error === null) resolve();
        else reject(error);
      };
      const timer = setTimeout(() => settle(noWay("did not answer in time")), ANSWER_MS);
      const { actor } = caller;
      const granted = { actor, op: op.row.name, namespace: op.namespace.name, settle };
      this.#runs.set(run, { ...granted, since: performance.now(), entries: 0 });
      if (!this.#peers.send("egress", { type: "egress.grant", run, token, targets }))
        settle(noWay("is not there"));
    });
    return { socket: this.#socket, token };
  }

  /** The run is over: its connections end, and are reported before egress forgets it. */
  revoke(run: string): void {
    if (this.#runs.has(run) && !this.#peers.send("egress", { type: "egress.revoke", run }))
      this.#runs.delete(run);
  }

  /** Resolves when every run that is over was told of to its last connection, or after `ms`. */
  async settled(ms: number): Promise<void> {
    const until = Date.now() + ms;
    while (this.#runs.size > 0 && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  receive(message: Message): void {
    if (message.type === "egress.granted") this.#runs.get(message.run)?.settle(null);
    else if (message.type === "egress.revoked") this.#runs.delete(message.run);
    else if (message.type === "egress.connection") this.#log(message);
  }

  /** Its process ended: the connections of live runs are gone, and they get no others. The runs go on. */
  lost(): void {
    const runs = [...this.#runs];
    this.#runs.clear();
    for (const [run, granted] of runs) {
      granted.settle(noWay("ended"));
      const reason = "the egress process ended; the run has no network any more";
      const nothing = { target: "", address: null, bytesOut: 0, bytesIn: 0, ms: 0, count: 1 };
      this.#write(granted, { type: "egress.connection", run, outcome: "failed", reason, ...nothing });
    }
  }

  #log(message: MessageOf<"egress.connection">): void {
    const granted = this.#runs.get(message.run);
    if (granted === undefined) return;
    const room = ENTRIES + ((performance.now() - granted.since) / 1000) * ENTRIES_PER_SECOND;
    if (++granted.entries <= room) this.#write(granted, message);
    else if (granted.entries - 1 <= room) {
      const reason = "egress tells of more connections than there can be; what follows is not written down";
      this.#write(granted, { ...message, outcome: "failed", reason });
    }
  }

  #write({ actor, op, namespace }: Granted, m: MessageOf<"egress.connection">): void {
    const { target, address, bytesOut, bytesIn, count } = m;
    this.#store
      .mutate((tx) => {
        tx.log({
          ...EVENT[m.outcome],
          actor,
          run: m.run,
          op,
          namespace,
          ...(m.reason === null ? {} : { reason: m.reason }),
          data: { target, address, bytesOut, bytesIn, durationMs: m.ms, count },
        });
      })
      .catch(this.#failed);
  }
}

const EVENT = {
  connected: { type: "network.connected", outcome: "success" },
  closed: { type: "network.closed", outcome: "success" },
  refused: { type: "network.refused", outcome: "denied" },
  failed: { type: "network.failed", outcome: "failure" },
} as const;

const noWay = (what: string) =>
  new SallyportError("launch_failed", `The egress process, through which the Op's network goes, ${what}.`);
