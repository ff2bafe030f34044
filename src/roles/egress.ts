import { lookup } from "node:dns/promises";
import { type Block, parseBlock } from "../core/addresses.ts";
import { SallyportError } from "../core/errors.ts";
import { takeListeners } from "../egress/handover.ts";
import { RunNetwork } from "../egress/run-network.ts";
import { type Lookup, TIMES } from "../egress/tunnel.ts";
import { harden } from "../host/harden.ts";
import { confineRole, inheritedFd, keeperSocket, roleOptions } from "../host/role.ts";
import { VERSION } from "../host/self.ts";
import type { Connection } from "../wire/connection.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import { connectToKeeper } from "./to-keeper.ts";

/**
 * Egress: what Ops say to the network passes through here, each run to what its grant names. Knows the keeper, no secret, no
 * database. Ends with the keeper's connection, and with it every connection of every run.
 */
export async function main(argv: string[]): Promise<number> {
  const allowed = blocksOf(roleOptions(argv, ["private"] as const).private);
  const keeper = keeperSocket();
  const listening = inheritedFd("SALLYPORT_EGRESS_FD");
  if (keeper === null || listening === null)
    throw new SallyportError("usage", "Egress is started by sallyport itself.");
  const landlock = confineRole();
  return new Promise((resolve) => {
    const egress = new Egress(allowed, systemLookup);
    const connection = connectToKeeper({
      stream: keeper,
      self: "egress",
      onMessage: (message) => egress.receive(message),
      onEnd: resolve,
    });
    egress.start(connection);
    takeListeners(listening, (token, fds, line) => egress.open(token, fds, line));
    connection.send({ type: "role.hello", version: VERSION, pid: process.pid, landlock });
  });
}

const systemLookup: Lookup = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

function blocksOf(text: string): Block[] {
  return text
    .split(",")
    .filter((one) => one !== "")
    .map((one) => {
      const block = parseBlock(one);
      if (block === null) throw new SallyportError("usage", `--private: ${one} is no block of addresses.`);
      return block;
    });
}

type Granted = { token: string; network: RunNetwork };

class Egress {
  readonly #allowed: readonly Block[];
  readonly #lookup: Lookup;
  readonly #runs = new Map<string, Granted>();
  #keeper: Connection | undefined;

  constructor(allowed: readonly Block[], look: Lookup) {
    this.#allowed = allowed;
    this.#lookup = look;
  }

  start(keeper: Connection): void {
    this.#keeper = keeper;
  }

  receive(message: Message): void {
    if (message.type === "egress.grant") this.#grant(message);
    else if (message.type === "egress.revoke") void this.#revoke(message.run);
  }

  /** Of a run that begins. A token is good once, and only while its run is granted. */
  open(token: string, fds: readonly [number, number], line: Parameters<RunNetwork["open"]>[1]): void {
    const run = [...this.#runs.values()].find((granted) => granted.token === token);
    if (run !== undefined) run.network.open(fds, line);
    else {
      // A run that was revoked while it began.
      for (const fd of fds) harden().closeFd(fd);
      line.destroy();
    }
  }

  #grant({ run, token, targets }: MessageOf<"egress.grant">): void {
    void this.#runs.get(run)?.network.close();
    const rules = { targets, allowed: this.#allowed, lookup: this.#lookup, times: TIMES };
    const network = new RunNetwork(rules, (report) =>
      this.#keeper?.send({ type: "egress.connection", run, ...report }),
    );
    this.#runs.set(run, { token, network });
    this.#keeper?.send({ type: "egress.granted", run });
  }

  async #revoke(run: string): Promise<void> {
    const granted = this.#runs.get(run);
    this.#runs.delete(run);
    await granted?.network.close();
    this.#keeper?.send({ type: "egress.revoked", run });
  }
}
