import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import t from "tap";
import { type Result, TestAppliance, until } from "./appliance.ts";
import { opFolder } from "./slack-rig.ts";

/** Ops with a network: real clients inside, real servers on this machine's loopback, which root has listed here. */

t.setTimeout(240_000);
const hasCurl = spawnSync("curl", ["--version"]).status === 0;
const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;
const skip = hasCurl && hasOpenssl ? false : "curl and openssl are not installed";
if (skip) {
  t.test("Ops with a network", { skip }, async () => {});
  process.exit();
}

const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const file = (name: string) => join(appliance.dir, name);

execFileSync(
  "openssl",
  ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"].concat(
    ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
    ["-keyout", file("key.pem"), "-out", file("cert.pem")],
  ),
  { stdio: "ignore" },
);
const cert = readFileSync(file("cert.pem"));

const servers: Server[] = [];
const seen: Buffer[] = [];
t.teardown(() => {
  for (const server of servers) server.close();
  for (const socket of sockets) socket.destroy();
});
const sockets = new Set<Socket>();
async function listen(server: Server): Promise<number> {
  servers.push(server);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

const BODY = "x".repeat(100_000);
const https = await listen(
  createTlsServer({ key: readFileSync(file("key.pem")), cert }, (socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (request) => {
      const path = /^GET (\S+)/.exec(request.toString())?.[1];
      if (path === "/slow") return;
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\nConnection: close\r\n\r\n${BODY}`);
    });
  }),
);
/** Says what it was sent, whatever that is. */
const raw = await listen(
  createServer((socket) => {
    socket.on("data", (data: Buffer) => seen.push(data));
  }),
);
const ssh = await listen(
  createServer((socket) => {
    socket.write("SSH-2.0-test\r\n");
    socket.once("data", (data) => socket.end(data));
  }),
);

writeFileSync(file("sallyport.yaml"), 'network: {private: ["127.0.0.0/8", "::1"]}\n');
appliance.env.SALLYPORT_CONFIG = file("sallyport.yaml");
await appliance.init();
await appliance.serve();
await appliance.unlock();
await appliance.ok(["namespace", "add", "demo"]);

type Event = {
  event: { action: string; outcome: string; reason?: string };
  sallyport: Record<string, unknown>;
};
const events = (action: string): Event[] =>
  appliance.events.map((line) => JSON.parse(line) as Event).filter((line) => line.event?.action === action);

const target = (port: number, o: { host?: string; private?: boolean; scheme?: string } = {}) =>
  `{to: "${o.scheme ?? ""}${o.host ?? "localhost"}:${port}", private: ${o.private ?? true}}`;
const network = [
  target(https),
  target(raw),
  target(ssh, { host: "127.0.0.1", scheme: "ssh://" }),
  target(9, { host: "169.254.169.254" }),
].join(", ");

async function publish(name: string, script: string, extra: string): Promise<Result> {
  const manifest = `op: demo/${name}\nsummary: Network\nrun: ["/bin/sh", "./main.sh"]\n${extra}\n`;
  return appliance.publish(opFolder(appliance, manifest, { "main.sh": script, "cert.pem": cert.toString() }));
}
async function run(name: string, script: string, targets: string = network): Promise<Result> {
  await publish(name, script, `network: [${targets}]\nlimits: {time: 60s}`);
  return appliance.cli(["run", `demo/${name}`]);
}

t.test("https through the proxy that the environment names, and the log of it", async (t) => {
  const got = await run("curl", `curl -sS --cacert cert.pem https://localhost:${https}/ | wc -c`);
  t.equal(got.stdout.trim(), String(BODY.length), got.stderr);
  await until(() => events("network.closed").length > 0, 15_000);
  const [closed] = events("network.closed");
  const data = closed!.sallyport as { bytesIn: number; bytesOut: number; target: string; address: string };
  t.equal(data.target, `localhost:${https}`);
  t.match(data.address, /^(127\.0\.0\.1|::1)$/);
  t.ok(data.bytesIn > BODY.length && data.bytesIn < BODY.length + 10_000, `${data.bytesIn} bytes in`);
  t.ok(data.bytesOut > 100 && data.bytesOut < 10_000, `${data.bytesOut} bytes out`);
  t.equal(events("network.connected").length, 1);
  t.match(events("run.requested").at(-1)?.sallyport, { network: /^localhost:\d+,/ });
});
