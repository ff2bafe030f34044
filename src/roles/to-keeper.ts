import type { Duplex } from "node:stream";
import { Connection } from "../wire/connection.ts";
import type { Message } from "../wire/messages.ts";
import type { Role } from "../wire/table.ts";

/**
 * A role's connection to the keeper. Whatever ends it is said on standard error, for the role ends with it and nobody else
 * could tell why. `onEnd` gets the role's exit status: 1 after a violation or an error in a handler, else 0.
 */
export function connectToKeeper(o: {
  stream: Duplex;
  self: Role;
  onMessage: (message: Message, parts: Buffer[]) => void;
  onEnd: (status: 0 | 1) => void;
}): Connection {
  let status: 0 | 1 = 0;
  const failed = (why: string) => {
    status = 1;
    process.stderr.write(`${o.self}: the keeper's connection was ended: ${why}\n`);
  };
  return new Connection({
    stream: o.stream,
    self: o.self,
    peer: "keeper",
    state: () => null,
    onMessage: o.onMessage,
    onViolation: (what) => failed(`it sent what it may not send: ${what}`),
    onFailure: (error) => failed(error instanceof Error ? (error.stack ?? error.message) : String(error)),
    onClose: () => o.onEnd(status),
  });
}
