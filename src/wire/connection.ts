import type { Duplex } from "node:stream";
import { SallyportError } from "../core/errors.ts";
import { Secret, wipeAll } from "../core/secret.ts";
import { encodeFrame, type Frame, FrameReader } from "./frame.ts";
import { Message, type MessageOf, type MessageType } from "./messages.ts";
import { type Quick, quick } from "./quick.ts";
import { type Role, refusal, type SealState, TABLE } from "./table.ts";

export type ConnectionOptions = {
  stream: Duplex;
  self: Role;
  peer: Role;
  /** The keeper's state where it is known (in the keeper), null elsewhere. */
  state: () => SealState | null;
  onMessage: (message: Message, parts: Buffer[]) => void;
  /** Called once, before the connection is ended, when the peer sent what it may not send. */
  onViolation: (what: string) => void;
  onClose: () => void;
  /** A handler threw: that connection is ended, nothing else. */
  onFailure?: (error: unknown) => void;
  /** Bytes of a frame that the peer may send, where that is less than BOUNDS. */
  frameBytes?: number;
};

const quicks = new Map<string, Quick>();

/** The quick test of a message type, made when the first message of that type comes. */
function quickOf(type: string): Quick {
  let test = quicks.get(type);
  if (test === undefined) {
    const schema = Message.options.find((option) => option.shape.type.value === type);
    test = schema === undefined ? () => false : quick(schema);
    quicks.set(type, test);
  }
  return test;
}

/** One end of a connection between two roles: frames in, validated messages out, and the reverse. */
export class Connection {
  readonly peer: Role;
  readonly #options: ConnectionOptions;
  readonly #reader: FrameReader;
  #open = true;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#reader = new FrameReader(options.frameBytes);
    this.peer = options.peer;
    const { stream } = options;
    stream.on("data", (chunk: Buffer) => this.#receive(chunk));
    stream.on("error", () => this.close());
    stream.on("end", () => this.close());
    stream.on("close", () => this.close());
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Bytes that the peer has not taken yet; a sender of bulk output looks at it before it reads more. */
  get backlog(): number {
    return this.#options.stream.writableLength;
  }

  /** Resolves when the backlog is written out, or the connection ended. */
  drained(): Promise<void> {
    const { stream } = this.#options;
    if (!this.#open || !stream.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        stream.off("drain", done);
        stream.off("close", done);
        resolve();
      };
      stream.on("drain", done);
      stream.on("close", done);
    });
  }

  /**
   * Sends a message; silently dropped when the connection has ended (the close handler is where that is dealt with). A secret
   * among the parts is the connection's from here on: it is wiped once it is written, or can't be any more.
   */
  send<T extends MessageType>(message: MessageOf<T>, parts: readonly (Uint8Array | Secret)[] = []): void {
    const secrets = parts.filter((part) => part instanceof Secret);
    if (!this.#open) {
      wipeAll(secrets);
      return;
    }
    const { stream } = this.#options;
    let buffers: Buffer[];
    try {
      // The stream keeps them where they are until the kernel has them: no copy is made on the way.
      const bytes = parts.map((part) => (part instanceof Secret ? part.use((lent) => lent) : part));
      const why = refusal(message.type, this.#options.self, this.peer, null, bytes);
      if (why !== null) throw new SallyportError("wire_violation", `${why}.`);
      buffers = encodeFrame(message, bytes);
    } catch (error) {
      wipeAll(secrets);
      throw error;
    }
    if (buffers.length > 1) stream.cork();
    const last = buffers.pop()!;
    for (const buffer of buffers) stream.write(buffer);
    if (secrets.length === 0) stream.write(last);
    else stream.write(last, () => wipeAll(secrets));
    // At once, not on the next tick: what the caller does next (an ack that leaves for Slack) comes after this on the wire.
    if (buffers.length > 0) stream.uncork();
  }

  /** As for any other violation: `what` is told, and the connection ended. */
  violated(what: string): void {
    this.#violate(what);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#options.stream.end();
    if ("destroySoon" in this.#options.stream)
      (this.#options.stream as { destroySoon(): void }).destroySoon();
    this.#guarded(() => this.#options.onClose());
  }

  /** A handler's error is no reason to end the process that serves everybody else. */
  #guarded(call: () => void): boolean {
    try {
      call();
      return true;
    } catch (error) {
      this.#options.onFailure?.(error);
      return false;
    }
  }

  #deliver(message: Message, parts: Buffer[]): void {
    if (this.#guarded(() => this.#options.onMessage(message, parts))) return;
    this.#options.stream.destroy();
    this.close();
  }

  #receive(chunk: Buffer): void {
    if (!this.#open) return;
    let frames: Frame[];
    try {
      frames = this.#reader.push(chunk);
    } catch (error) {
      this.#violate(error instanceof Error ? error.message : String(error));
      return;
    }
    for (const frame of frames) {
      if (!this.#open) return;
      const why = this.#accept(frame);
      if (why !== null) this.#violate(why);
    }
  }

  /** Hands a valid message on; says what is wrong with any other. */
  #accept({ header, parts }: Frame): string | null {
    const type = header.type;
    if (typeof type !== "string" || !Object.hasOwn(TABLE, type)) return "unknown message type";
    const why = refusal(type as MessageType, this.peer, this.#options.self, this.#options.state(), parts);
    if (why !== null) return why;
    if (quickOf(type)(header)) {
      this.#deliver(header as Message, parts);
      return null;
    }
    const parsed = Message.safeParse(header);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      return `${type}: ${issue?.path.join(".") ?? ""} ${issue?.message ?? "invalid"}`;
    }
    this.#deliver(parsed.data, parts);
    return null;
  }

  #violate(what: string): void {
    if (!this.#open) return;
    this.#guarded(() => this.#options.onViolation(what.slice(0, 300)));
    this.#options.stream.destroy();
    this.close();
  }
}
