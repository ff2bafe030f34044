import type { ChildProcess } from "node:child_process";
import { SallyportError } from "../core/errors.ts";

/** The keeper said why on its standard error before it ended. */
export class KeeperFailed extends Error {
  readonly status: number;
  readonly signal: NodeJS.Signals | null;
  constructor(status: number, signal: NodeJS.Signals | null) {
    super(`the keeper ended with ${signal ?? `status ${status}`}`);
    this.status = status;
    this.signal = signal;
  }
}

/** What the system refused when the keeper's process was to be made. */
export function notStarted(cause: unknown): SallyportError {
  const { code, message } = cause as NodeJS.ErrnoException;
  return new SallyportError(
    "start_failed",
    `The keeper's process can't be made (${code ?? message}); EAGAIN and ENOMEM mean a limit on processes or memory, EMFILE one on open files.`,
    { cause },
  );
}

export function exitOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => child.once("exit", () => resolve()));
}
