import type { Command, CommandParams } from "../../wire/ctl.ts";
import type { Appliance } from "../appliance.ts";
import type { Caller, HostAccount } from "../callers.ts";
import type { Session } from "../session.ts";

/** What a command of the admin socket gets while unlocked. */
export type CommandContext<C extends Command> = {
  session: Session;
  appliance: Appliance;
  caller: Caller;
  account: HostAccount;
  params: CommandParams<C>;
  parts: Buffer[];
  /** Live output, for `run`. */
  output: (stream: "stdout" | "stderr" | "notice", bytes: Buffer) => void;
  /** Called when the client goes away before the reply. */
  onGone: (call: () => void) => void;
};

/** An answer with bytes that never become a string on the way, such as an Op's output. */
export class WithBytes {
  readonly data: unknown;
  readonly bytes: Buffer;

  constructor(data: unknown, bytes: Buffer) {
    this.data = data;
    this.bytes = bytes;
  }
}

/** Returns the data of the reply, or WithBytes; throws SallyportError. */
export type Handler<C extends Command> = (context: CommandContext<C>) => Promise<unknown>;
export type Handlers = { [C in Command]?: Handler<C> };
