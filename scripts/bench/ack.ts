/**
 * Envelope sent to ack received, in one run on one server: the gateway with a keeper that answers receipts at once, each
 * a process of its own as in life, beside the official client alone, also in a process of its own, that acks at once.
 * Rounds alternate, so that both see the same machine. Goal: a ratio of medians of at most 1.5.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { SocketModeClient } from "@slack/socket-mode";
import { repoPath } from "../../src/host/self.ts";
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
 * The official client that asks another process by some bytes before it acks: what asking a keeper costs at least. With
 * `tell` it writes the other process some more before the ack, as slack.acked is; nobody parses or checks a byte.
 */
async function hop(apiUrl: string, tell: boolean): Promise<void> {
  const answer = "if (d.length > 100) this.write(d.subarray(0, 97));";
  const echo = `new (require('net').Socket)({ fd: 3 }).on('data', function (d) { ${answer} })`;
  const child = spawn(process.execPath, ["-e", echo], { stdio: ["ignore", "inherit", "inherit", "pipe"] });
  const socket = child.stdio[3] as unknown as Duplex;
  const waiting: (() => void)[] = [];
  socket.on("data", () => {
    if (tell) socket.write(told);
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

function startClient(mode: "bare" | "hop" | "hop-tell") {
  return (workspace: Workspace): ChildProcess => {
    const child = spawn(process.execPath, [repoPath("scripts/bench/ack.ts"), mode, workspace.apiUrl], {
      stdio: ["pipe", "ignore", "ignore"],
    });
    child.stdin?.end(workspace.appToken);
    return child;
  };
}

/** As in life, the keeper is a process of its own; it starts the gateway, which ends with it. */
function startKeeper(workspace: Workspace): ChildProcess {
  const child = spawn(process.execPath, [repoPath("scripts/bench/ack.ts"), "keeper", workspace.apiUrl], {
    stdio: ["pipe", "inherit", "inherit"],
  });
  child.stdin?.end(JSON.stringify([workspace.appToken, workspace.botToken]));
  return child;
}

async function keeper(apiUrl: string): Promise<void> {
  let tokens = "";
  for await (const chunk of process.stdin) tokens += String(chunk);
  const args = [repoPath("src/main.ts"), "role", "gateway", "--slack-api-url", apiUrl];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
    env: { SALLYPORT_PEER_FD: "3" },
  });
  const connection = new Connection({
    stream: child.stdio[3] as unknown as Duplex,
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
      } else if (message.type === "role.hello") {
        const parts = (JSON.parse(tokens) as string[]).map((token) => Buffer.from(token));
        connection.send({ type: "gateway.connect" }, parts);
      }
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

async function run(): Promise<void> {
  const side = async (name: string, start: (workspace: Workspace) => ChildProcess, connections: number) => {
    const workspace = await makeWorkspace();
    return { name, workspace, child: start(workspace), connections, ms: [] as number[] };
  };
  const client = await side("official client", startClient("bare"), 1);
  const asking = await side("client + one hop", startClient("hop"), 1);
  const telling = await side("ask, then tell", startClient("hop-tell"), 1);
  const gateway = await side("gateway", startKeeper, 2);
  const sides = [client, asking, telling, gateway];
  try {
    for (const { workspace, connections } of sides) {
      await workspace.waitFor(() => workspace.connections.length === connections, 20_000);
    }
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      for (const { workspace, ms } of sides) {
        const took = await once(workspace);
        if (round >= WARM_UP) ms.push(took);
      }
    }
    for (const { name, ms } of sides) {
      ms.sort((a, b) => a - b);
      const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => at(ms, q).toFixed(3));
      console.log(`${name.padEnd(17)} p50 ${p50} ms   p95 ${p95} ms   p99 ${p99} ms   (${ROUNDS} envelopes)`);
    }
    const [bareMs, hopMs, tellMs, gatewayMs] = sides.map(({ ms }) => at(ms, 0.5)) as [
      number,
      number,
      number,
      number,
    ];
    const ratio = gatewayMs / bareMs;
    console.log(`asking any other process first costs ${(hopMs / bareMs).toFixed(2)} x`);
    console.log(
      `and telling it before the ack, still with nothing parsed: ${(tellMs / bareMs).toFixed(2)} x`,
    );
    console.log(`the gateway beside that: ${(gatewayMs / tellMs).toFixed(2)} x`);
    console.log(`ratio of medians, gateway : official client = ${ratio.toFixed(2)} (goal: at most ${GOAL})`);
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
else if (mode?.startsWith("hop") && apiUrl !== undefined) await hop(apiUrl, mode === "hop-tell");
else if (mode === "keeper" && apiUrl !== undefined) await keeper(apiUrl);
else await run();
