import type { Duplex } from "node:stream";
import type { Secret } from "../core/secret.ts";
import { Connection } from "../wire/connection.ts";
import type { Message, MessageOf, MessageType } from "../wire/messages.ts";
import type { Role, SealState } from "../wire/table.ts";

/** Each has one answer, whatever happens to the keeper meanwhile. */
const QUESTIONS: ReadonlySet<MessageType> = new Set(["notary.open", "notary.sign"]);
const ANSWERS: ReadonlySet<MessageType> = new Set(["notary.opened", "notary.signed", "notary.refused"]);

export type PeerRole = Exclude<Role, "keeper" | "ctl">;
type Handler = (message: Message, parts: Buffer[]) => void;

/** The one connection of each peer role, and who wants its messages. A newer connection of a role replaces the older. */
export class Peers {
  readonly #connections = new Map<PeerRole, Connection>();
  /** Questions of the present connection that are not answered yet. */
  readonly #owed = new Map<PeerRole, number>();
  readonly #handlers = new Map<PeerRole, Handler>();
  readonly #joined = new Map<PeerRole, () => void>();
  readonly #left = new Map<PeerRole, () => void>();
  readonly #landlock = new Map<Role, string>();
  readonly #pids = new Map<Role, number>();
  #selfTest: MessageOf<"runner.ready"> | undefined;
  #nextSelfTest = Promise.withResolvers<MessageOf<"runner.ready"> | undefined>();
  #engines: MessageOf<"runner.engines"> | undefined;
  readonly #state: () => SealState;
  readonly #violated: (role: Role, what: string) => void;

  readonly #failed: (role: Role, error: unknown) => void;

  constructor(o: {
    state: () => SealState;
    violated: (role: Role, what: string) => void;
    /** A handler threw; the connection is ended. */
    failed: (role: Role, error: unknown) => void;
    landlock: string;
  }) {
    this.#failed = o.failed;
    this.#landlock.set("keeper", o.landlock);
    this.#state = o.state;
    this.#violated = o.violated;
  }

  attach(role: PeerRole, stream: Duplex): void {
    this.#connections.get(role)?.close();
    this.#landlock.delete(role);
    this.#pids.delete(role);
    this.#owed.delete(role);
    const connection: Connection = new Connection({
      stream,
      self: "keeper",
      peer: role,
      // An unlock that was given up is sealed again before the notary's answer to it comes: that is late, not forbidden.
      state: () => (this.#owes(role) > 0 ? "open" : this.#state()),
      onMessage: (message, parts) => {
        if (ANSWERS.has(message.type)) this.#owed.set(role, Math.max(0, this.#owes(role) - 1));
        if (message.type === "runner.ready") this.#tested(message);
        if (message.type === "runner.engines") this.#engines = message;
        if (message.type === "role.hello") {
          this.#landlock.set(role, message.landlock);
          this.#pids.set(role, message.pid);
          this.#joined.get(role)?.();
        } else this.#handlers.get(role)?.(message, parts);
      },
      onViolation: (what) => this.#violated(role, what),
      onFailure: (error) => this.#failed(role, error),
      onClose: () => {
        if (this.#connections.get(role) !== connection) return;
        this.#connections.delete(role);
        this.#landlock.delete(role);
        this.#pids.delete(role);
        if (role === "runner") {
          this.#tested(undefined);
          this.#engines = undefined;
        }
        this.#left.get(role)?.();
      },
    });
    this.#connections.set(role, connection);
  }

  #tested(result: MessageOf<"runner.ready"> | undefined): void {
    this.#selfTest = result;
    this.#nextSelfTest.resolve(result);
    this.#nextSelfTest = Promise.withResolvers();
  }

  /** The next result of the runner's self-test; undefined when the runner goes before it says one. */
  nextSelfTest(): Promise<MessageOf<"runner.ready"> | undefined> {
    return this.#nextSelfTest.promise;
  }

  /** What the runner that is connected now reported last, which may have been while sealed. */
  get selfTest(): MessageOf<"runner.ready"> | undefined {
    return this.#selfTest;
  }

  /** What that runner found of each engine; undefined until it has tried them all. */
  get engines(): MessageOf<"runner.engines"> | undefined {
    return this.#engines;
  }

  /** What a role said of its Landlock: `abi=N`, `refused=ERRNO`, `absent`; null until its hello. */
  landlock(role: Exclude<Role, "ctl">): string | null {
    return this.#landlock.get(role) ?? null;
  }

  /** As the role says in its hello; null until then. */
  pid(role: PeerRole): number | null {
    return this.#pids.get(role) ?? null;
  }

  has(role: PeerRole): boolean {
    return this.#connections.has(role);
  }

  /** False when the role is not connected. */
  send<T extends MessageType>(
    role: PeerRole,
    message: MessageOf<T>,
    parts?: readonly (Uint8Array | Secret)[],
  ): boolean {
    const connection = this.#connections.get(role);
    connection?.send(message, parts);
    if (connection !== undefined && QUESTIONS.has(message.type)) this.#owed.set(role, this.#owes(role) + 1);
    return connection !== undefined;
  }

  #owes(role: PeerRole): number {
    return this.#owed.get(role) ?? 0;
  }

  /** One handler a role and occasion: the session that is open now. */
  on(role: PeerRole, o: { message?: Handler; joined?: () => void; left?: () => void }): void {
    set(this.#handlers, role, o.message);
    set(this.#joined, role, o.joined);
    set(this.#left, role, o.left);
  }

  closeAll(): void {
    for (const connection of [...this.#connections.values()]) connection.close();
  }
}

function set<V>(map: Map<PeerRole, V>, role: PeerRole, value: V | undefined): void {
  if (value === undefined) map.delete(role);
  else map.set(role, value);
}
