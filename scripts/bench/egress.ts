// An Op's connection through egress against the same client's direct one, interleaved: time from connect to the server's first
// byte (CONNECT, lookup in the grant, ClientHello and its check included), and bytes a second. The client is a C program, in a
// sandbox of the real launcher or bare; egress is the real one, in a process of its own; the server is Node's for both. Prints one
// JSON line at the end. ROUNDS=n changes the number of rounds (default 15, each of 40 connections and one of 256 MiB).
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseBlock } from "../../src/core/addresses.ts";
import { takeListeners } from "../../src/egress/handover.ts";
import { RunNetwork } from "../../src/egress/run-network.ts";
import { TIMES } from "../../src/egress/tunnel.ts";
import { listenUnix } from "../../src/host/listen.ts";
import { hello } from "../../test/egress/hello.ts";
import { Launcher } from "../../test/sandbox/support/serve.ts";
import { runSpec } from "../../test/sandbox/support/spec.ts";

const ROUNDS = Number(process.env.ROUNDS ?? 15);
const EACH = 40;
const BYTES = 256 << 20;

const CLIENT = `
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }
static char buffer[1 << 18], hello[4096];
int main(int argc, char **argv) {
  /* client PORT COUNT BYTES HELLO [TARGET] */
  if (argc < 5) return 2;
  FILE *f = fopen(argv[4], "r");
  size_t size = f ? fread(hello, 1, sizeof hello, f) : 0;
  for (int i = 0; i < atoi(argv[2]); i++) {
    double start = now();
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) return 3;
    if (argc > 5) {
      int n = snprintf(buffer, sizeof buffer, "CONNECT %s HTTP/1.1\\r\\n\\r\\n", argv[5]);
      if (write(fd, buffer, n) != n) return 4;
      if (read(fd, buffer, sizeof buffer) < 12 || strncmp(buffer, "HTTP/1.1 200", 12)) return 5;
    }
    if (write(fd, hello, size) != (ssize_t)size) return 6;
    long long left = atoll(argv[3]);
    double first = 0;
    while (left > 0) {
      ssize_t n = read(fd, buffer, sizeof buffer);
      if (n <= 0) return 7;
      if (!first) first = now();
      left -= n;
    }
    printf("%f %f\\n", first - start, now() - start);
    close(fd);
  }
  return 0;
}`;

/** `egress SOCKET-FD PORT...`: the process that is measured. */
if (process.argv[2] === "egress") {
  const ports = process.argv.slice(3).map(Number);
  takeListeners(3, (_token, fds, line) => {
    const targets = ports.map((port) => ({ scheme: "tls", host: "api.test", port, private: true }) as const);
    const rules = { targets, allowed: [parseBlock("127.0.0.0/8")!], times: TIMES };
    new RunNetwork({ ...rules, lookup: async () => ["127.0.0.1"] }, () => {}).open(fds, line);
  });
} else if (process.argv[2] === "server") {
  const chunk = Buffer.alloc(1 << 18);
  const serve = (size: number) =>
    createServer({ noDelay: true }, (socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", () => {
        let left = size - 6;
        socket.write(Buffer.from([22, 3, 3, 0, 1, 2]));
        const more = () => {
          while (left > 0) {
            const part = chunk.subarray(0, Math.min(left, chunk.length));
            left -= part.length;
            if (!socket.write(part)) {
              socket.once("drain", more);
              return;
            }
          }
          socket.end();
        };
        more();
      });
    });
  for (const [i, size] of [6, BYTES].entries()) {
    const server = serve(size).listen(0, "127.0.0.1", () => {
      process.stdout.write(`${i} ${(server.address() as { port: number }).port}\n`);
    });
  }
} else await main();

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-bench-"));
  const client = join(dir, "client");
  writeFileSync(`${client}.c`, CLIENT);
  writeFileSync(join(dir, "hello.bin"), hello());
  execFileSync("gcc", ["-O2", "-static", "-o", client, `${client}.c`]);
  const self = [import.meta.filename];
  const server = spawn(process.execPath, [...self, "server"], { stdio: ["ignore", "pipe", "inherit"] });
  const ports: number[] = [];
  await new Promise<void>((resolve) => {
    let text = "";
    server.stdout.on("data", (data: Buffer) => {
      text += data;
      if (text.split("\n").length < 3) return;
      for (const [, i, port] of text.matchAll(/(\d) (\d+)\n/g)) ports[Number(i)] = Number(port);
      resolve();
    });
  });
  const socket = join(dir, "egress.sock");
  const listening = await listenUnix(socket);
  const egress = spawn(process.execPath, [...self, "egress", ...ports.map(String)], {
    stdio: ["ignore", "inherit", "inherit", listening],
  });
  const launcher = new Launcher();
  const binary = readFileSync(client);

  const through = async (port: number, count: number, bytes: number): Promise<number[][]> => {
    const { exited, stdout, stderr } = await launcher.run(
      runSpec({
        argv: ["./client", "3128", String(count), String(bytes), "hello.bin", `api.test:${port}`],
        seccomp: "network",
        egress: { token: randomBytes(16), socket },
        files: [
          { tree: "op", path: "client", content: binary },
          { tree: "op", path: "hello.bin", content: hello() },
        ],
      }),
    );
    if (exited?.code !== 0) throw new Error(`the client ended with ${JSON.stringify(exited)} ${stderr}`);
    return numbers(stdout);
  };
  const direct = async (port: number, count: number, bytes: number): Promise<number[][]> =>
    numbers(
      await new Promise((resolve, reject) => {
        const child = spawn(client, [String(port), String(count), String(bytes), join(dir, "hello.bin")]);
        let text = "";
        child.stdout.on("data", (data: Buffer) => {
          text += data;
        });
        child.once("close", (code) => (code === 0 ? resolve(text) : reject(new Error(`client: ${code}`))));
      }),
    );

  const first = { direct: [] as number[], through: [] as number[] };
  const rate = { direct: [] as number[], through: [] as number[] };
  for (let round = -1; round < ROUNDS; round++) {
    for (const [way, ask] of [
      ["direct", direct],
      ["through", through],
    ] as const) {
      const small = await ask(ports[0]!, EACH, 6);
      const [big] = await ask(ports[1]!, 1, BYTES);
      // The first round warms both.
      if (round < 0) continue;
      first[way].push(...small.map(([us]) => us!));
      rate[way].push(BYTES / (1 << 20) / (big![1]! / 1e6));
    }
  }
  server.kill();
  egress.kill();
  await launcher.end();
  rmSync(dir, { recursive: true, force: true });
  const result = {
    firstByteUs: { direct: spread(first.direct), egress: spread(first.through) },
    firstByteRatio: round(median(first.through) / median(first.direct)),
    mibPerSecond: { direct: round(median(rate.direct)), egress: round(median(rate.through)) },
    rateRatio: round(median(rate.through) / median(rate.direct)),
    connections: first.direct.length,
    transfers: rate.direct.length,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exit();
}

function numbers(text: string): number[][] {
  return text
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number));
}
function quantile(values: number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))]!;
}
function median(values: number[]): number {
  return quantile(values, 0.5);
}
function round(value: number): number {
  return Math.round(value * 100) / 100;
}
function spread(values: number[]): { median: number; p99: number } {
  return { median: Math.round(median(values)), p99: Math.round(quantile(values, 0.99)) };
}
