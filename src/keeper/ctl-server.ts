import { chmodSync, existsSync, readFileSync, unlinkSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Logger } from "pino";
import { asSallyportError, SallyportError } from "../core/errors.ts";
import { harden } from "../host/harden.ts";
import { copyOf } from "../host/listen.ts";
import { openSocket } from "../host/socket.ts";
import { socketFd } from "../host/socket-fd.ts";
import { userByUid } from "../store/users.ts";
import { Connection } from "../wire/connection.ts";
import { COMMANDS, type Command } from "../wire/ctl.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Appliance } from "./appliance.ts";
import { type HostAccount, hostActor, hostCaller } from "./callers.ts";
import { audit } from "./commands/audit.ts";
import { type CommandContext, type Handlers, WithBytes } from "./commands/command.ts";
import { opVersions } from "./commands/op-versions.ts";
import { ops } from "./commands/ops.ts";
import { people } from "./commands/people.ts";
import { policies } from "./commands/policies.ts";
import { rights } from "./commands/rights.ts";
import { runs } from "./commands/runs.ts";
import { runtimes } from "./commands/runtimes.ts";
import { secrets } from "./commands/secrets.ts";
import { slack } from "./commands/slack.ts";
import { totp } from "./commands/totp.ts";
import { vaults } from "./commands/vaults.ts";
import { Refusals } from "./refusals.ts";
import { applianceStatus, doctor, slackStatus } from "./status.ts";

const HANDLERS: Handlers = {
  ...people,
  ...policies,
  ...vaults,
  ...rights,
  ...ops,
  ...opVersions,
  ...runs,
  ...runtimes,
  ...secrets,
  ...audit,
  ...slack,
  ...totp,
};
/** Connections of one account, and accounts, at once. */
const MAX_CLIENTS = 64;
/** Time for the last answer to leave before the keeper ends. */
const LEAVE_MS = 20;
const MAX_ACCOUNTS = 64;
/** What an account that is nobody's user may take of the keeper: it can only be told so. */
const UNKNOWN = { clients: 2, frameBytes: 64 * 1024, waiting: 4 } as const;
/** Requests that wait on one connection while the one before is answered. */
const MAX_WAITING = 16;

/** The admin socket: knows its caller by peer credentials (SO_PEERCRED), decides nothing itself. */
export class CtlServer {
  readonly #appliance: Appliance;
  readonly #log: Logger;
  readonly #owner: number;
  readonly #locked: () => void;
  readonly #server: Server;
  readonly #clients = new Map<number, number>();
  readonly #refusals = new Refusals();

  constructor(o: { appliance: Appliance; log: Logger; owner: number; locked: () => void }) {
    this.#appliance = o.appliance;
    this.#log = o.log;
    this.#owner = o.owner;
    this.#locked = o.locked;
    this.#server = createServer({ pauseOnConnect: true }, (accepted) => {
      const socket = reopened(accepted);
      if (socket === null) return;
      socket.on("error", () => undefined);
      this.#accept(socket).catch((error: unknown) => {
        this.#log.error({ err: error }, "the admin socket");
        socket.destroy();
      });
    });
  }

  /** A socket file that a killed process left is replaced: the lock on the state directory says that nobody serves it. */
  listen(path: string): Promise<void> {
    if (existsSync(path)) unlinkSync(path);
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      // Later ones are of a single accept (EMFILE): no reason to end.
      this.#server.on("error", (error) => this.#log.error({ err: error }, "the admin socket"));
      this.#server.listen(path, () => {
        chmodSync(path, 0o666);
        resolve();
      });
    });
  }

  close(): void {
    this.#server.close();
  }

  async #accept(socket: Socket): Promise<void> {
    const account = accountOf(socket);
    const isKnown = account !== null && (await this.#isKnown(account));
    if (account === null || socket.destroyed || !this.#hasRoom(account, isKnown)) {
      socket.destroy();
      return;
    }
    this.#clients.set(account.uid, (this.#clients.get(account.uid) ?? 0) + 1);
    const gone = new Set<() => void>();
    let waiting = 0;
    let tail: Promise<unknown> = Promise.resolve();
    const connection: Connection = new Connection({
      stream: socket,
      self: "keeper",
      peer: "ctl",
      state: () => this.#appliance.state,
      onMessage: (message, parts) => {
        if (message.type !== "ctl.request") return;
        if (++waiting > (isKnown ? MAX_WAITING : UNKNOWN.waiting))
          return connection.violated("more requests at once than are taken");
        tail = tail
          .then(() =>
            connection.isOpen ? this.#answer(connection, account, message, parts, gone) : undefined,
          )
          .finally(() => waiting--);
      },
      onViolation: (what) => this.#appliance.violation("ctl", what),
      ...(isKnown ? {} : { frameBytes: UNKNOWN.frameBytes }),
      onFailure: (error) => this.#log.error({ err: error, uid: account.uid }, "a request could not be taken"),
      onClose: () => {
        const left = (this.#clients.get(account.uid) ?? 1) - 1;
        if (left > 0) this.#clients.set(account.uid, left);
        else this.#clients.delete(account.uid);
        for (const call of gone) call();
      },
    });
  }

  /** One account's idle connections must not keep the others out. */
  #hasRoom({ uid }: HostAccount, isKnown: boolean): boolean {
    const most = isKnown ? MAX_CLIENTS : UNKNOWN.clients;
    return (this.#clients.size < MAX_ACCOUNTS && (this.#clients.get(uid) ?? 0) < most) || this.#isOwner(uid);
  }

  /** Whether the account is somebody's; only then is it worth memory. */
  async #isKnown({ uid }: HostAccount): Promise<boolean> {
    if (this.#isOwner(uid)) return true;
    const { session } = this.#appliance;
    return session !== undefined && (await userByUid(session.store.read, uid)) !== undefined;
  }

  /** While sealed nobody's rights are known: only the account that owns the appliance and root are heard. */
  #mayTalk(account: HostAccount): boolean {
    return this.#appliance.session !== undefined || this.#isOwner(account.uid);
  }

  #isOwner(uid: number): boolean {
    return uid === this.#owner || uid === 0;
  }

  async #answer(
    connection: Connection,
    account: HostAccount,
    request: MessageOf<"ctl.request">,
    parts: Buffer[],
    gone: Set<() => void>,
  ): Promise<void> {
    const { id } = request;
    try {
      const result = await this.#run(connection, account, request, parts, gone);
      const { data, bytes } = result instanceof WithBytes ? result : { data: result ?? null, bytes: null };
      const json = Buffer.from(JSON.stringify(data));
      connection.send(
        { type: "ctl.reply", id, ok: true, code: null, detail: "" },
        bytes === null ? [json] : [json, bytes],
      );
    } catch (error) {
      const known = asSallyportError(error);
      if (known.code === "internal")
        this.#log.error({ err: error, command: request.command }, "command failed");
      connection.send({
        type: "ctl.reply",
        id,
        ok: false,
        code: known.code,
        detail: known.detail.slice(0, 4000),
      });
    }
  }

  async #run(
    connection: Connection,
    account: HostAccount,
    request: MessageOf<"ctl.request">,
    parts: Buffer[],
    gone: Set<() => void>,
  ): Promise<unknown> {
    if (!this.#mayTalk(account)) {
      this.#appliance.refusedCaller(account);
      throw new SallyportError(
        "denied",
        `While sealed only the account that runs sallyport and root are heard, not host account ${account.uid}.`,
      );
    }
    if (!Object.hasOwn(COMMANDS, request.command)) {
      throw new SallyportError(
        "usage",
        `The keeper knows no command ${request.command}. Are client and keeper of one version?`,
      );
    }
    const command = request.command as Command;
    const rule = COMMANDS[command];
    const parsed = rule.params.safeParse(request.params);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new SallyportError(
        "input_invalid",
        `${command}: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`.trim(),
      );
    }
    if (parts.length < rule.parts[0] || parts.length > rule.parts[1])
      throw new SallyportError("input_invalid", `${command}: binary parts`);
    if (command === "status" || command === "doctor" || command === "slack.status") {
      return this.#health(account, command);
    }
    if (command === "unlock") {
      return this.#appliance.unlock(
        account,
        parts[0]!,
        parsed.data as { kind: "passphrase" | "recovery"; slot?: string },
      );
    }
    const session = this.#appliance.open();
    const caller = await this.#caller(account);
    if (command === "lock") {
      await session.access.demand(caller, "administer", { kind: "appliance" });
      // Whoever asks from here on must reach the keeper that starts next, not the one that ends.
      this.close();
      // The answer goes out before the process ends, and the process ends whatever happens.
      await this.#appliance.lock(caller.actor).finally(() => setTimeout(this.#locked, LEAVE_MS));
      return { state: "sealed" };
    }
    const handler = HANDLERS[command];
    if (handler === undefined) throw new SallyportError("usage", `${command} is not available.`);
    const context: CommandContext<Command> = {
      session,
      appliance: this.#appliance,
      caller,
      account,
      params: parsed.data as never,
      parts,
      output: (stream, bytes) => connection.send({ type: "ctl.output", id: request.id, stream }, [bytes]),
      onGone: (call) => {
        if (connection.isOpen) gone.add(call);
        else call();
      },
    };
    const answer = await (handler as (context: CommandContext<Command>) => Promise<unknown>)(context);
    // What waits was asked for under what may be no more.
    if (command !== "run") await session.waits.recheck();
    return answer;
  }

  /** While sealed there is nobody to ask; open, it is the authorizer as for everything else. */
  async #health(account: HostAccount, command: "status" | "doctor" | "slack.status"): Promise<unknown> {
    const { session } = this.#appliance;
    const caller = session === undefined ? null : await this.#caller(account);
    if (caller !== null) await session?.access.demand(caller, "status", { kind: "appliance" });
    if (command === "status") return applianceStatus(this.#appliance, caller);
    return command === "doctor" ? doctor(this.#appliance) : slackStatus(this.#appliance);
  }

  /** A host account that belongs to nobody, or to a disabled user, is refused and reported. */
  async #caller(account: HostAccount): ReturnType<typeof hostCaller> {
    const { store } = this.#appliance.open();
    try {
      return await hostCaller(store.read, account);
    } catch (error) {
      const { code, detail } = asSallyportError(error);
      const count = this.#refusals.count(account.uid, code, Date.now());
      if (count === 0) throw error;
      await store.mutate((tx) => {
        tx.log({
          type: "authn.denied",
          outcome: "denied",
          actor: hostActor(account),
          reason: detail,
          policy: code,
          data: { surface: "tty", count },
        });
      });
      throw error;
    }
  }
}

/** Passphrases and secrets come on it; null where the client is gone already. */
function reopened(accepted: Socket): Socket | null {
  const fd = socketFd(accepted);
  try {
    return fd === undefined || fd < 0 ? null : openSocket(copyOf(fd));
  } finally {
    accepted.destroy();
  }
}

function accountOf(socket: Socket): HostAccount | null {
  const fd = socketFd(socket);
  if (fd === undefined || fd < 0) return null;
  const { uid, pid } = harden().peerCred(fd);
  return { uid, loginUid: loginUid(pid) };
}

function loginUid(pid: number): number | null {
  try {
    const uid = Number(readFileSync(`/proc/${pid}/loginuid`, "utf8").trim());
    return uid === 0xffffffff ? null : uid;
  } catch {
    return null;
  }
}
