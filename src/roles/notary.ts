import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SallyportError } from "../core/errors.ts";
import { confineRole, keeperSocket } from "../host/role.ts";
import { VERSION } from "../host/self.ts";
import { wipe } from "../keys/memory.ts";
import type { Connection } from "../wire/connection.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import { NotaryDirectory } from "./notary/directory.ts";
import { Keyholder, Refused } from "./notary/keyholder.ts";
import { connectToKeeper } from "./to-keeper.ts";

/**
 * The notary: holds the log's Ed25519 key and signs only what extends what it signed. It knows the keeper alone, over
 * the inherited descriptor SALLYPORT_PEER_FD or, with --run-dir, over the keeper's socket; it ends with the connection.
 */
export async function main(argv: string[]): Promise<number> {
  const { dir, runDir } = options(argv);
  const landlock = confineRole();
  const keyholder = new Keyholder(NotaryDirectory.claim(dir));
  try {
    return await serve(keeperStream(runDir), keyholder, landlock);
  } finally {
    keyholder.close();
  }
}

/** Answers the keeper until the connection ends; resolves to the exit status. */
function serve(stream: Socket, keyholder: Keyholder, landlock: string): Promise<number> {
  return new Promise((resolve) => {
    const connection: Connection = connectToKeeper({
      stream,
      self: "notary",
      onMessage: (message, parts) => connection.send(answer(keyholder, message, parts)),
      onEnd: resolve,
    });
    connection.send({ type: "role.hello", version: VERSION, pid: process.pid, landlock });
  });
}

type Answer = MessageOf<"notary.opened"> | MessageOf<"notary.signed"> | MessageOf<"notary.refused">;

function answer(keyholder: Keyholder, message: Message, parts: Buffer[]): Answer {
  let size = 0;
  try {
    if (message.type === "notary.open") {
      const opened = keyholder.open(message.origin, parts[0] ?? Buffer.alloc(0));
      return { type: "notary.opened", ...opened, root: opened.root.toString("base64") };
    }
    if (message.type === "notary.sign") {
      size = message.size;
      const checkpoint = keyholder.sign({
        fromSize: message.fromSize,
        size,
        root: Buffer.from(message.root, "base64"),
        consistency: message.consistency.map((hash) => Buffer.from(hash, "base64")),
      });
      return { type: "notary.signed", size, checkpoint };
    }
    throw new Refused(`The notary does not answer ${message.type}.`);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { type: "notary.refused", size, kind: error.kind, reason: error.message.slice(0, 500) };
  } finally {
    wipe(...parts);
  }
}

function options(argv: string[]): { dir: string; runDir: string | undefined } {
  try {
    const { values } = parseArgs({
      args: argv,
      options: { dir: { type: "string" }, "run-dir": { type: "string" } },
    });
    if (values.dir === undefined) throw new Error("--dir DIR is missing");
    return { dir: values.dir, runDir: values["run-dir"] };
  } catch (cause) {
    throw new SallyportError("usage", `role notary: ${(cause as Error).message}.`, { cause });
  }
}

function keeperStream(runDir: string | undefined): Socket {
  const inherited = keeperSocket();
  if (inherited !== null) return inherited;
  if (runDir === undefined)
    throw new SallyportError("usage", "role notary: neither SALLYPORT_PEER_FD nor --run-dir.");
  return connect(join(runDir, "notary.sock"));
}
