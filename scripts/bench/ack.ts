/**
 * Envelope sent to ack received, in one run on one server, each side a process of its own:
 * - the official client alone, which acks at once: the baseline;
 * - the gateway alone: all that it does with an envelope (parse, bounds, who it is, one end for all deliveries, deadline), its
 *   receipt answered at once within the process. Goal: a ratio of medians of at most 1.5;
 * - the gateway with a keeper that answers receipts at once, a process of its own as in life, and what it costs a bare client
 *   to ask another process first: that is the machine's price of waking a process, and no part of the goal.
 * Blocks of 100 envelopes one after the other alternate, so that all see the same machine. `ack.ts 1` alternates after every
 * envelope: then each process has been put aside by three others before its turn, and that is most of what is measured.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { SocketModeClient } from "@slack/socket-mode";
import { repoPath } from "../../src/host/self.ts";
import { parseEndpoint } from "../../src/slack/endpoint.ts";
import { SESSION_LIMITS, Session } from "../../src/slack/session.ts";
import { Connection } from "../../src/wire/connection.ts";
import { startWorkspace, type Workspace } from "../../src/workspace/index.ts";

const ROUNDS = 1500;
const WARM_UP = 3000;
const GOAL = 1.5;

/** The other side of the comparison, started by run() as `ack.ts bare URL` with the token on stdin. */
async function bare(apiUrl: string, ask: (then: () => void) => void = (then) => then()): Promise<void> {
  let appToken = "";
  for await (const chunk of process.stdin) appToken += String(chunk);
  const client = new SocketModeClient({ appToken, clientOptions: { slackApiUrl: apiUrl } });
  client.on("slash_commands", ({ ack }: { ack: () => Promise<void> }) => ask(() => void ack()));
  await client.start();
}

/**
 * The official client that asks another process by some bytes before it acks, and writes it some more before the ack, as
 * slack.acked is: what a keeper costs at least. Nobody parses or checks a byte.
 */
async function askThenTell(apiUrl: string): Promise<void> {
  const answer = "if (d.length > 100) this.write(d.subarray(0, 97));";
  const echo = `new (require('net').Socket)({ fd: 3 }).on('data', function (d) { ${answer} })`;
  const child = spawn(process.execPath, ["-e", echo], { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const socket = child.stdio[3] as unknown as Duplex;
  const waiting: (() => void)[] = [];
  socket.on("data", () => {
    socket.write(told);
    waiting.shift()?.();
  });
  const question = Buffer.alloc(340, "?");
  const told = Buffer.alloc(65, "!");
  await bare(apiUrl, (then) => {
    waiting.push(then);
    socket.write(question);
  });
}

async function makeWorkspace(): Promise<Workspace> {
  const workspace = await startWorkspace();
  workspace.addChannel({ name: "ops", members: [workspace.addPerson({ name: "alice" })] });
  return workspace;
}

function startClient(mode: "bare" | "ask") {
  return (workspace: Workspace): ChildProcess => {
    const child = spawn(process.execPath, [repoPath("scripts/bench/ack.ts"), mode, workspace.apiUrl], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    child.stdin?.end(workspace.appToken);
    return child;
  };
}

/** "alone", or "keeper": as in life a process of its own, which starts the gateway, which ends with it. */
function startGateway(mode: "alone" | "keeper") {
  return (workspace: Workspace): ChildProcess => {
    const child = spawn(process.execPath, [repoPath("scripts/bench/ack.ts"), mode, workspace.apiUrl], {
      stdio: ["pipe", "inherit", "inherit"],
    });
    child.stdin?.end(JSON.stringify([workspace.appToken, workspace.botToken]));
    return child;
  };
}

async function readTokens(): Promise<Buffer[]> {
  let tokens = "";
  for await (const chunk of process.stdin) tokens += String(chunk);
  return (JSON.parse(tokens) as string[]).map((token) => Buffer.from(token));
}

async function alone(apiUrl: string): Promise<void> {
  const [appToken = "", botToken = ""] = (await readTokens()).map(String);
  const session: Session = new Session({
    appToken,
    botToken,
    endpoint: parseEndpoint(apiUrl),
    transport: {},
    limits: SESSION_LIMITS,
    port: {
      request: ({ id }) => session.receipt({ id, accepted: true, duplicate: false, text: null }),
      state: () => {},
      alarm: () => {},
      acked: () => {},
      posted: () => {},
    },
  });
  session.start();
}

async function keeper(apiUrl: string): Promise<void> {
  const tokens = await readTokens();
  const args = [repoPath("src/main.ts"), "role", "gateway", "--slack-api-url", apiUrl];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
    env: { SALLYPORT_PEER_FD: "3" },
  });
  answerReceipts(child.stdio[3] as unknown as Duplex, tokens);
}

/** A keeper that accepts whatever the gateway asks. */
function answerReceipts(stream: Duplex, tokens: Buffer[]): void {
  const connection = new Connection({
    stream,
    self: "keeper",
    peer: "gateway",
    state: () => "open",
    onMessage: (message) => {
      if (message.type === "slack.request") {
        connection.send({
          type: "slack.receipt",
          id: message.id,
          accepted: true,
          duplicate: false,
          text: null,
        });
      } else if (message.type === "role.hello") connection.send({ type: "gateway.connect" }, tokens);
    },
    onViolation: (what) => process.stderr.write(`bench: ${what}\n`),
    onClose: () => {},
  });
}

async function once(workspace: Workspace): Promise<number> {
  const ack = await workspace.command("alice", "ops", "/ops help").ack;
  if (ack.status !== "acked") throw new Error(`bench: an envelope was not acked (${ack.status})`);
  return ack.ms;
}

function at(sorted: number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

async function run(block: number): Promise<void> {
  const side = async (name: string, start: (workspace: Workspace) => ChildProcess, connections: number) => {
    const workspace = await makeWorkspace();
    return { name, workspace, child: start(workspace), connections, ms: [] as number[] };
  };
  const client = await side("official client", startClient("bare"), 1);
  const single = await side("gateway alone", startGateway("alone"), 2);
  const telling = await side("ask, then tell", startClient("ask"), 1);
  const both = await side("gateway + keeper", startGateway("keeper"), 2);
  const sides = [client, single, telling, both];
  try {
    for (const { workspace, connections } of sides) {
      await workspace.waitFor(() => workspace.connections.length === connections, 20_000);
    }
    for (let round = 0; round < WARM_UP + ROUNDS; round += block) {
      for (const { workspace, ms } of sides) {
        for (let i = 0; i < block; i++) {
          const took = await once(workspace);
          if (round >= WARM_UP) ms.push(took);
        }
      }
    }
    for (const { name, ms } of sides) {
      ms.sort((a, b) => a - b);
      const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => at(ms, q).toFixed(3));
      console.log(`${name.padEnd(17)} p50 ${p50} ms   p95 ${p95} ms   p99 ${p99} ms   (${ROUNDS} envelopes)`);
    }
    const [bareMs = 0, aloneMs = 0, tellMs = 0, bothMs = 0] = sides.map(({ ms }) => at(ms, 0.5));
    const ratio = aloneMs / bareMs;
    console.log(
      `ratio of medians, gateway alone : official client = ${ratio.toFixed(2)} (goal: at most ${GOAL})`,
    );
    console.log(
      `with a keeper of its own process ${(bothMs / bareMs).toFixed(2)} x; a bare client that asks another process and parses nothing ${(tellMs / bareMs).toFixed(2)} x`,
    );
    if (ratio > GOAL) process.exitCode = 1;
  } finally {
    for (const { child, workspace } of sides) {
      child.kill("SIGKILL");
      await workspace.close();
    }
  }
}

const [mode, apiUrl] = process.argv.slice(2);
if (mode === "bare" && apiUrl !== undefined) await bare(apiUrl);
else if (mode === "ask" && apiUrl !== undefined) await askThenTell(apiUrl);
else if (mode === "alone" && apiUrl !== undefined) await alone(apiUrl);
else if (mode === "keeper" && apiUrl !== undefined) await keeper(apiUrl);
else await run(Number(mode ?? 100));
