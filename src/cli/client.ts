import { connect } from "node:net";
import { join } from "node:path";
import { ERRORS, type ErrorCode, SallyportError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import { Connection } from "../wire/connection.ts";
import type { Command, CommandParams } from "../wire/ctl.ts";

export type CallOptions = {
  parts?: readonly (Uint8Array | Secret)[];
  onOutput?: (stream: "stdout" | "stderr", bytes: Buffer) => void;
  /** What the keeper has to say while the command is under way. */
  onNotice?: (text: string) => void;
  /** The answer, before it is printed. */
  onData?: (data: unknown) => void;
  /** Bytes that came with the answer. */
  onBytes?: (bytes: Buffer) => void;
  /** Called with a function that ends the connection, which cancels what the command started. */
  onConnected?: (close: () => void) => void;
};

/** One command to the keeper over its admin socket. Throws `not_running`, or what the keeper answered. */
export function callKeeper<C extends Command>(
  runDir: string,
  command: C,
  params: CommandParams<C>,
  o: CallOptions = {},
): Promise<unknown> {
  const path = join(runDir, "admin.sock");
  return new Promise((resolve, reject) => {
    let settled = false;
    const settle = (act: () => void) => {
      if (settled) return;
      settled = true;
      act();
      connection?.close();
    };
    let connection: Connection | undefined;
    const socket = connect(path);
    socket.once("error", (error: NodeJS.ErrnoException) => settle(() => reject(connectError(error, path))));
    socket.once("connect", () => {
      connection = new Connection({
        stream: socket,
        self: "ctl",
        peer: "keeper",
        state: () => null,
        onMessage: (message, parts) => {
          if (message.type === "ctl.output") take(o, message.stream, parts[0]!);
          else if (message.type !== "ctl.reply") return;
          else if (message.ok) settle(() => resolve(answerOf(parts, o.onBytes)));
          else settle(() => reject(new SallyportError(knownCode(message.code), message.detail)));
        },
        onViolation: (what) => settle(() => reject(new SallyportError("wire_violation", what))),
        onClose: () =>
          settle(() =>
            reject(
              new SallyportError(
                "not_running",
                "The keeper ended the connection before it answered; see the output of serve.",
              ),
            ),
          ),
      });
      o.onConnected?.(() => connection?.close());
      connection.send(
        { type: "ctl.request", id: 1, command, params: params as Record<string, unknown> },
        o.parts ?? [],
      );
    });
  });
}

function take(o: CallOptions, stream: "stdout" | "stderr" | "notice", bytes: Buffer): void {
  if (stream === "notice") o.onNotice?.(bytes.toString("utf8"));
  else o.onOutput?.(stream, bytes);
}

function answerOf(parts: readonly Buffer[], onBytes: CallOptions["onBytes"]): unknown {
  if (parts[1] !== undefined) onBytes?.(parts[1]);
  return parts[0] === undefined ? null : (JSON.parse(parts[0].toString("utf8")) as unknown);
}

function knownCode(code: string | null): ErrorCode {
  return code !== null && Object.hasOwn(ERRORS, code) ? (code as ErrorCode) : "internal";
}

function connectError(error: NodeJS.ErrnoException, path: string): SallyportError {
  if (error.code === "EACCES") return new SallyportError("denied", `This account may not open ${path}.`);
  return new SallyportError("not_running", `No keeper answers at ${path}.`, { cause: error });
}
