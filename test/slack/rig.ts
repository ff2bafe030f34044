import { spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import t from "tap";
import { repoPath } from "../../src/host/self.ts";
import { parseEndpoint } from "../../src/slack/endpoint.ts";
import { SESSION_LIMITS, Session, type SessionLimits } from "../../src/slack/session.ts";
import { Connection } from "../../src/wire/connection.ts";
import type { Message, MessageOf, MessageType } from "../../src/wire/messages.ts";
import { startWorkspace, type Workspace, type WorkspaceOptions } from "../../src/workspace/index.ts";

// On a busy machine the files that use a rig need more than the 30 s that tap gives by itself.
t.setTimeout(120_000);

export type Sent = { [T in MessageType]: MessageOf<T> }[MessageType];

/** What a keeper sees and does, for a gateway process and for a session in this process alike. */
export class Keeper {
  readonly got: Sent[] = [];
  /** Answers requests; replace it to be slow, silent or unwilling. */
  onRequest: (request: MessageOf<"slack.request">) => void = (request) => this.receipt(request.id);
  #waiters: (() => void)[] = [];
  readonly #seen = new Set<string>();
  /** Set by the rig. */
  send!: (message: Message, parts?: Uint8Array[]) => void;

  take(message: Sent): void {
    this.got.push(message);
    if (message.type === "slack.request") this.onRequest(message);
    for (const waiter of this.#waiters) waiter();
  }

  /** Accepts, and knows what it saw before, as the keeper does. */
  receipt(id: string, over: Partial<MessageOf<"slack.receipt">> = {}): void {
    const request = this.of("slack.request").find((r) => r.id === id);
    const duplicate = request !== undefined && this.#seen.has(request.dedupe);
    if (request !== undefined) this.#seen.add(request.dedupe);
    this.send({ type: "slack.receipt", id, accepted: true, duplicate, text: null, ...over });
  }

  of<T extends MessageType>(type: T): MessageOf<T>[] {
    return this.got.filter((m) => m.type === type) as MessageOf<T>[];
  }

  /** Waits for the first truthy result; looks again at every message. */
  async until<T>(look: () => T | undefined | null | false, what: string, ms = 10_000): Promise<T> {
    const end = Date.now() + ms;
    for (;;) {
      const found = look();
      if (found) return found;
      if (Date.now() > end)
        throw new Error(`no ${what} within ${ms} ms; got ${JSON.stringify(this.got.slice(-5))}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 20);
        this.#waiters = [
          () => {
            clearTimeout(timer);
            resolve();
          },
        ];
      });
    }
  }

  connected(count = 2): Promise<MessageOf<"slack.state">> {
    return this.until(() => {
      const last = this.of("slack.state").at(-1);
      return last?.connections === count && last;
    }, `${count} connections`);
  }

  posted(nonce: string): Promise<MessageOf<"slack.posted">> {
    return this.until(() => this.of("slack.posted").find((p) => p.nonce === nonce), `answer to ${nonce}`);
  }

  alarm(kind: string): Promise<MessageOf<"slack.alarm">> {
    return this.until(() => this.of("slack.alarm").find((a) => a.kind === kind), `alarm ${kind}`);
  }
}

export type Rig = { workspace: Workspace; keeper: Keeper; stop: () => Promise<void> };

/** Two people and a channel with the bot in it. */
export async function acme(options?: WorkspaceOptions): Promise<Workspace> {
  const workspace = await startWorkspace(options);
  const alice = workspace.addPerson({ name: "alice" });
  const bob = workspace.addPerson({ name: "bob" });
  workspace.addChannel({ name: "ops", members: [alice, bob], botIsMember: true });
  return workspace;
}

/** A real gateway process with this process as its keeper, over an inherited socket. */
export async function processRig(
  options?: WorkspaceOptions & { args?: string[] },
): Promise<
  Rig & { exit: Promise<number | null>; stderr: () => string; stream: Duplex; connection: Connection }
> {
  const workspace = await acme(options);
  const keeper = new Keeper();
  const args = ["--slack-api-url", workspace.apiUrl, ...(options?.args ?? [])];
  const child = spawn(process.execPath, [repoPath("src/main.ts"), "role", "gateway", ...args], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    env: { PATH: process.env.PATH, SALLYPORT_PEER_FD: "3" },
  });
  let stderr = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const exit = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const stream = child.stdio[3] as unknown as Duplex;
  const connection = new Connection({
    stream,
    self: "keeper",
    peer: "gateway",
    state: () => "open",
    onMessage: (message) => keeper.take(message as Sent),
    onViolation: (what) =>
      keeper.take({ type: "slack.alarm", kind: "malformed_frame", detail: `WIRE VIOLATION ${what}` }),
    onClose: () => {},
  });
  keeper.send = (message, parts) => connection.send(message as MessageOf<MessageType>, parts);
  await keeper.until(() => keeper.of("role.hello")[0], "role.hello");
  return {
    workspace,
    keeper,
    exit,
    stderr: () => stderr,
    stream,
    connection,
    stop: async () => {
      connection.close();
      const timer = setTimeout(() => child.kill("SIGKILL"), 3000);
      await exit;
      clearTimeout(timer);
      await workspace.close();
    },
  };
}

export function tokens(workspace: Workspace): Buffer[] {
  return [Buffer.from(workspace.appToken), Buffer.from(workspace.botToken)];
}

/** Times short enough for tests; the promises do not depend on them. */
export const QUICK: SessionLimits = {
  ...SESSION_LIMITS,
  link: { openMs: 600, helloMs: 600, closeMs: 200, pongMs: 600, watchMs: 50 },
  pool: {
    baseMs: 20,
    capMs: 200,
    slowBaseMs: 300,
    slowCapMs: 600,
    drainMs: 400,
    shortMs: 100,
    recountMs: 700,
  },
  outbox: {
    ...SESSION_LIMITS.outbox,
    postsPerSecond: 50,
    postBurst: 50,
    updatesPerSecond: 50,
    updateBurst: 50,
    retryBaseMs: 50,
    retryCapMs: 200,
    giveUpMs: 1500,
  },
  webTimeoutMs: 600,
};

/** A session in this process, where times must be shorter than the process allows. */
export async function sessionRig(
  options?: WorkspaceOptions & { limits?: Partial<SessionLimits> },
): Promise<Rig & { session: Session }> {
  const workspace = await acme(options);
  const keeper = new Keeper();
  const take = (type: MessageType, fields: object) => keeper.take({ type, ...fields } as Sent);
  const session = new Session({
    appToken: workspace.appToken,
    botToken: workspace.botToken,
    endpoint: parseEndpoint(workspace.apiUrl),
    transport: {},
    limits: { ...QUICK, ...options?.limits },
    port: {
      state: (state) => take("slack.state", state),
      alarm: (kind, detail) => take("slack.alarm", { kind, detail }),
      request: (request) => take("slack.request", request),
      acked: (id, accepted) => take("slack.acked", { id, accepted }),
      posted: (posted) => take("slack.posted", posted),
    },
  });
  keeper.send = (message, parts = []) => {
    if (message.type === "slack.receipt") session.receipt(message);
    else if (message.type === "slack.post") session.post(message, parts);
    else if (message.type === "slack.update") session.update(message, parts);
    else if (message.type === "slack.view") session.view(message.request, message.view);
    else if (message.type === "slack.respond") session.respond(message.request, message.document, parts);
    else throw new Error(`the session rig does not take ${message.type}`);
  };
  return {
    workspace,
    keeper,
    session,
    stop: async () => {
      session.stop();
      await workspace.close();
    },
  };
}

export function text(words: string): { summary: string; blocks: { kind: "text"; text: string }[] } {
  return { summary: words.slice(0, 300), blocks: [{ kind: "text", text: words }] };
}
