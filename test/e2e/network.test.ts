import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import t from "tap";
import { needsRoot, type Result, TestAppliance, until } from "./appliance.ts";
import { rolePid } from "./processes.ts";
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
  event: { action: string; kind: string; outcome: string; reason?: string };
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

/** The refusals and failures that a run left in the log. */
async function refusals(of: Result, count: number): Promise<string[]> {
  const about = () =>
    [...events("network.refused"), ...events("network.failed")]
      .filter((line) => !told.has(line))
      .map((line) => `${line.event.kind} ${line.sallyport.target}: ${line.event.reason}`);
  await until(
    () => about().length >= count,
    15_000,
    () => `${of.stdout}${of.stderr}${about().join("\n")}`,
  );
  const found = about();
  for (const line of [...events("network.refused"), ...events("network.failed")]) told.add(line);
  return found.sort();
}
const told = {
  has: (line: Event) => passed.has(JSON.stringify(line)),
  add: (line: Event) => passed.add(JSON.stringify(line)),
};
const passed = new Set<string>();

t.test("Node's own fetch, in the Node inside the executable", async (t) => {
  const manifest = `op: demo/fetch\nsummary: Network\nruntime: node\nentry: main.ts\nnetwork: [${network}]\nlimits: {memory: 512MiB}\n`;
  const source = `import { readFileSync } from "node:fs";
import { setDefaultCACertificates } from "node:tls";
setDefaultCACertificates([readFileSync("cert.pem", "utf8")]);
const answer = await fetch("https://localhost:${https}/");
console.log(answer.status, (await answer.text()).length);
await fetch("https://localhost:8443/").catch((error: Error) => console.log("refused:", String(error.cause)));
`;
  await appliance.publish(opFolder(appliance, manifest, { "main.ts": source, "cert.pem": cert.toString() }));
  const got = await appliance.cli(["run", "demo/fetch"]);
  t.match(got.stdout, new RegExp(`^200 ${BODY.length}\\nrefused: `), got.stderr);
  t.match(await refusals(got, 1), [/^alert localhost:8443: the Op's manifest does not name this target/]);
});

for (const engine of ["crun", "runc", "gvisor"] as const) {
  const program = engine === "gvisor" ? "runsc" : engine;
  const missing = spawnSync(program, ["--version"]).status === 0 ? false : `${program} is not installed`;
  t.test(`the same under ${engine}`, { skip: missing }, async (t) => {
    const extra = `engine: ${engine}\nnetwork: [${network}]\nlimits: {time: 60s, memory: 512MiB, pids: 200}`;
    await publish(
      `on-${engine}`,
      `curl -sS --cacert cert.pem https://localhost:${https}/ | wc -c
curl -sS -m 5 -k --noproxy '*' https://127.0.0.1:${https}/ 2>&1`,
      extra,
    );
    const got = await appliance.cli(["run", `demo/on-${engine}`]);
    // Its own self-test, which other tests look at, decides that.
    const unusable = /can't be used on this host.*/s.exec(got.stderr)?.[0];
    if (unusable !== undefined) {
      t.pass("", { skip: unusable });
      return;
    }
    t.match(got.stdout, new RegExp(`^${BODY.length}\n.*[Cc]ould.*connect`), got.stderr);
  });
}

t.test("what is refused, each with its reason inside and its event outside", async (t) => {
  const proxy = "http://127.0.0.1:3128";
  const got = await run(
    "refused",
    `exec 2>&1
curl -sS -m 20 https://localhost:9/; echo "other port: $?"
curl -sS -m 20 https://example.com/; echo "other host: $?"
curl -sS -m 20 --proxytunnel -x ${proxy} http://localhost:${raw}/; echo "plain: $?"
curl -sS -m 20 -x ${proxy} http://localhost:${raw}/; echo "unproxied: $?"
curl -sS -m 20 http://localhost:${raw}/; echo "socks: $?"
curl -sS -m 20 -k https://169.254.169.254:9/; echo "metadata: $?"
curl -sS -m 20 -k https://[::ffff:127.0.0.1]:${https}/; echo "mapped: $?"
curl -sS -m 20 -k --connect-to evil.test:443:localhost:${https} https://evil.test/; echo "other name: $?"
curl -sS -m 5 --noproxy '*' -k https://127.0.0.1:${https}/; echo "without: $?"
`,
  );
  for (const what of [
    "other port",
    "other host",
    "plain",
    "socks",
    "metadata",
    "mapped",
    "other name",
    "without",
  ])
    t.match(got.stdout, new RegExp(`${what}: [1-9]`), what);
  t.match(got.stdout, /only CONNECT is answered.*unproxied: 0/s);
  t.strictSame((await refusals(got, 8)).map((line) => line.replace(/:[0-9]{4,5}:/, ":PORT:")).sort(), [
    "alert 169.254.169.254:9: it is a metadata address, which network.private in sallyport.yaml does not list",
    "alert : only CONNECT is answered: nothing leaves in plain text, so use https",
    "alert [::ffff:127.0.0.1]:PORT: the Op's manifest does not name this target",
    "alert example.com:443: the Op's manifest does not name this target",
    "alert localhost:9: the Op's manifest does not name this target",
    "alert localhost:PORT: the TLS ClientHello is for evil.test, not for localhost",
    "alert localhost:PORT: what was sent is not TLS, and nothing leaves in plain text",
    "alert localhost:PORT: what was sent is not TLS, and nothing leaves in plain text",
  ]);
  t.equal(Buffer.concat(seen).toString(), "", "the server was sent nothing");
});

t.test("a private address needs the manifest's word", async (t) => {
  const got = await run(
    "public",
    `curl -sS -m 20 --cacert cert.pem https://localhost:${https}/ 2>&1; echo "$?"`,
    target(https, { private: false }),
  );
  t.match(got.stdout, /403/);
  t.match(await refusals(got, 1), [/a loopback address, and the Op's manifest does not say private: true/]);
});

t.test("SSH: the banners go through, anything else does not", async (t) => {
  const script = `exec 3<>/dev/tcp/127.0.0.1/3128
printf 'CONNECT 127.0.0.1:${ssh} HTTP/1.1\\r\\n\\r\\n%s\\r\\n' "$1" >&3
cat <&3`;
  const files = (say: string) => `/bin/bash -c '${script.replaceAll("'", "'\\''")}' bash '${say}'`;
  const good = await run("ssh", files("SSH-2.0-client"));
  t.match(good.stdout, /SSH-2\.0-test\r\nSSH-2\.0-client/, good.stderr);
  const bad = await run("ssh", files("GET / HTTP/1.1"));
  t.notMatch(bad.stdout, /SSH-2\.0-test/);
  t.match(await refusals(bad, 1), [/^alert ssh:\/\/127.*not SSH 2\.0/]);
});

t.test("an Op without network has no listener, and no more of a network than before", async (t) => {
  await publish(
    "none",
    `/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128' 2>&1; env | grep -ci proxy; ls /run`,
    "",
  );
  const got = await appliance.cli(["run", "demo/none"]);
  t.match(got.stdout, /(Operation not permitted|unreachable)[\s\S]*\n0\n/i);
  t.notMatch(got.stdout, /egress/);
});

t.test("one run's listeners are its own: the processes and sockets inside are the Op's alone", async (t) => {
  const got = await run("inside", `cat /proc/[0-9]*/comm; ls -R /run`);
  t.match(got.stdout, /^init\nsh\n(cat\n)?\/run:\nempty\nsecrets\n/, got.stdout);
  t.notMatch(got.stdout, /egress|sock/);
});

t.test("another run's proxy is out of reach, while that run lives", async (t) => {
  // It holds a tunnel open to what only its own grant names.
  const slow = `curl -sS --cacert cert.pem https://localhost:${https}/slow`;
  await publish("other", slow, `network: [${target(https)}]\nlimits: {time: 60s}`);
  const other = appliance.cli(["run", "demo/other"]);
  await until(
    () => sockets.size === 1,
    15_000,
    () => appliance.log,
  );
  const id = events("run.started").at(-1)! as unknown as { process: { entity_id: string } };
  const got = await run(
    "neighbour",
    `exec 2>&1
curl -sS -m 20 -k https://localhost:${https}/; echo "its target: $?"
for port in 3127 3129 8080; do curl -sS -m 5 -x http://127.0.0.1:$port --proxytunnel http://localhost:${https}/; echo "its proxy: $?"; done
ls /run`,
    target(raw),
  );
  t.match(got.stdout, /its target: [1-9]/);
  t.equal(got.stdout.match(/its proxy: [1-9]/g)?.length, 3, got.stdout);
  t.match(got.stdout, /\nempty\nsecrets\n$/, "no socket leads there");
  const [refused] = await refusals(got, 1);
  t.match(refused, /localhost:[0-9]+: the Op's manifest does not name this target/);
  t.equal(sockets.size, 1, "the other's tunnel is the only connection");
  await appliance.ok(["cancel", id.process.entity_id]);
  await other;
  await until(() => sockets.size === 0, 15_000);
});

t.test("more than 64 connections at once are refused, and the 64 stay", async (t) => {
  const got = await run(
    "many",
    `/bin/bash -c 'ulimit -n 200; for i in $(seq 80); do exec {fd}<>/dev/tcp/127.0.0.1/3128; fds="$fds $fd"; done
sleep 1; for fd in $fds; do (printf "CONNECT localhost:${https} HTTP/1.1\\r\\n\\r\\n" >&$fd; read -r -t 5 line <&$fd; echo "$line") 2>/dev/null; done' | sort | uniq -c`,
  );
  t.match(got.stdout, /64 HTTP\/1\.1 200/, got.stdout + got.stderr);
  const tooMany = () =>
    events("network.refused").filter((line) => /more than 64 connections/.test(line.event.reason ?? ""));
  await until(() => tooMany().length === 16, 15_000);
});

t.test("a canceled run's connections are gone at once", async (t) => {
  await publish(
    "slow",
    `curl -sS --cacert cert.pem https://localhost:${https}/slow`,
    `network: [${network}]`,
  );
  const running = appliance.cli(["run", "demo/slow"]);
  await until(
    () => sockets.size === 1,
    15_000,
    () => appliance.log,
  );
  const id = events("run.started").at(-1)! as unknown as { process: { entity_id: string } };
  await appliance.ok(["cancel", id.process.entity_id]);
  await running;
  await until(() => sockets.size === 0, 15_000);
  t.pass("the server saw the end");
});

t.test("egress killed under a run: its connections break, the run goes on, the next one works", async (t) => {
  const serve = appliance.serving!.pid!;
  const script = `curl -sS --cacert cert.pem https://localhost:${https}/slow 2>/dev/null; echo "curl: $?"
curl -sS -m 10 --cacert cert.pem https://localhost:${https}/ 2>/dev/null; echo "again: $?"`;
  await publish("outlive", script, `network: [${network}]`);
  const running = appliance.cli(["run", "demo/outlive"]);
  await until(
    () => sockets.size === 1,
    15_000,
    () => appliance.log,
  );
  process.kill(rolePid(serve, "egress")!, "SIGKILL");
  const got = await running;
  t.match(got.stdout, /curl: [1-9]/);
  t.match(got.stdout, /again: [1-9]/);
  t.equal(got.status, 0);
  await until(
    () =>
      events("network.failed").some((line) =>
        /the run has no network any more/.test(line.event.reason ?? ""),
      ),
    15_000,
  );
  await until(() => rolePid(serve, "egress") !== undefined, 15_000);
  await until(
    async () => (await appliance.cli(["status", "--json"])).stdout.includes('"egress": true'),
    15_000,
  );
  const next = await run("curl", `curl -sS --cacert cert.pem https://localhost:${https}/ | wc -c`);
  t.equal(next.stdout.trim(), String(BODY.length), next.stderr);
});

t.test("nothing of the runs is left at egress", { skip: needsRoot }, async (t) => {
  const pid = rolePid(appliance.serving!.pid!, "egress")!;
  await until(
    () => readdirSync(`/proc/${pid}/fd`).filter((fd) => link(pid, fd).startsWith("socket:")).length <= 4,
    15_000,
  );
  t.pass("only the keeper's connection and the listener that runs connect to");
});
t.test("a lock ends a run's connections with it", async (t) => {
  const running = appliance.cli(["run", "demo/slow"]);
  await until(
    () => sockets.size === 1,
    15_000,
    () => appliance.log,
  );
  const id = (line: Event | undefined) =>
    (line as unknown as { process?: { entity_id: string } })?.process?.entity_id;
  const run = id(events("run.started").at(-1));
  await appliance.ok(["lock"]);
  await until(() => sockets.size === 0, 15_000);
  await running;
  await until(() => events("appliance.locked").length > 0, 15_000);
  const ends = [...events("network.closed"), ...events("network.failed")].filter((line) => id(line) === run);
  t.equal(ends.length, 1, "and the log has it, with its bytes");
  t.match(ends[0]?.sallyport, { bytesOut: /^[1-9]/ });
});

const link = (pid: number, fd: string): string => {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return "";
  }
};
