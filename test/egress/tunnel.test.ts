import { connect, createServer, type Server, type Socket } from "node:net";
import t from "tap";
import { parseBlock } from "../../src/core/addresses.ts";
import { Reports, type Summary } from "../../src/egress/reports.ts";
import { type Report, type Rules, serveTunnel, type Target } from "../../src/egress/tunnel.ts";
import { Message } from "../../src/wire/messages.ts";
import { until } from "../e2e/appliance.ts";
import { hello, message, name, records, sni } from "./hello.ts";

/** One connection of an Op at a time, against servers on loopback that the rules here list. */

const PATIENCE = 15_000;
const LOOPBACK = ["127.0.0.0/8", "::1"].map((text) => parseBlock(text)!);
const SERVER_HELLO = Buffer.from([22, 3, 3, 0, 1, 2]);

class Bench {
  readonly reports: Report[] = [];
  /** What the server was sent. */
  readonly got: Buffer[] = [];
  readonly lookups: string[] = [];
  connections = 0;
  port = 0;
  proxy = 0;
  target: Target = { scheme: "tls", host: "api.test", port: 0, private: true };
  addresses: () => string[] = () => ["127.0.0.1"];
  rules: Partial<Rules> = {};
  serve: (socket: Socket) => void = (socket) => {
    socket.once("data", () => socket.write(SERVER_HELLO));
  };
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  static async make(
    t: { teardown(call: () => void): void },
    change: (bench: Bench) => void = () => {},
  ): Promise<Bench> {
    const bench = new Bench();
    bench.port = await bench.#listen((socket) => {
      bench.connections++;
      socket.on("data", (data: Buffer) => bench.got.push(data));
      bench.serve(socket);
    });
    bench.target = { ...bench.target, port: bench.port };
    change(bench);
    for (const kind of ["connect", "socks"] as const) {
      const port = await bench.#listen((socket) => void bench.#tunnel(socket, kind), true);
      if (kind === "connect") bench.proxy = port;
      else bench.socks = port;
    }
    t.teardown(() => {
      for (const server of bench.#servers) server.close();
      for (const socket of bench.#sockets) socket.destroy();
    });
    return bench;
  }
  socks = 0;

  #tunnel(socket: Socket, kind: "connect" | "socks"): Promise<void> {
    const rules: Rules = {
      targets: [this.target],
      allowed: LOOPBACK,
      lookup: async (host) => {
        this.lookups.push(host);
        return this.addresses();
      },
      times: { requestMs: 10_000, connectMs: 5000, idleMs: 60_000 },
      ...this.rules,
    };
    return serveTunnel(socket, kind, rules, (report) => this.reports.push(report));
  }

  #listen(take: (socket: Socket) => void, pauseOnConnect = false): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect }, (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => socket.destroy());
      take(socket);
    });
    this.#servers.push(server);
    return new Promise((resolve) =>
      server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port)),
    );
  }

  /** A client of the proxy, with all that it has heard. */
  client(port = this.proxy): { socket: Socket; heard: () => string; ended: Promise<void> } {
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    this.#sockets.add(socket);
    const parts: Buffer[] = [];
    socket.on("data", (data: Buffer) => parts.push(data));
    socket.on("error", () => undefined);
    const ended = new Promise<void>((resolve) => socket.once("end", resolve).once("close", () => resolve()));
    return { socket, heard: () => Buffer.concat(parts).toString("latin1"), ended };
  }

  /** Asks for `host`, sends `first` once it is granted, and waits for the end of it all. */
  async ask(first: Buffer, host = this.target.host): Promise<{ heard: string; report: Report }> {
    const { socket, heard, ended } = this.client();
    socket.write(`CONNECT ${host}:${this.port} HTTP/1.1\r\n\r\n`);
    let over = false;
    void ended.then(() => {
      over = true;
    });
    await until(() => over || heard().includes("\r\n\r\n"), PATIENCE);
    if (heard().startsWith("HTTP/1.1 200")) socket.write(first);
    await until(() => over || this.reports.some((r) => r.outcome === "closed"), PATIENCE);
    socket.destroy();
    await until(() => this.reports.some((r) => r.outcome !== "connected"), PATIENCE);
    return { heard: heard(), report: this.reports.find((r) => r.outcome !== "connected")! };
  }

  get sent(): string {
    return Buffer.concat(this.got).toString("latin1");
  }
}

t.test("a hello for the granted name goes through, and every byte is counted", async (t) => {
  const bench = await Bench.make(t, (b) => {
    b.serve = (socket) =>
      socket.once("data", () => socket.end(Buffer.concat([SERVER_HELLO, Buffer.alloc(1000)])));
  });
  const { heard, report } = await bench.ask(hello());
  t.equal(bench.sent, hello().toString("latin1"));
  t.ok(heard.endsWith(SERVER_HELLO.toString("latin1") + "\0".repeat(1000)));
  t.match(report, {
    outcome: "closed",
    target: `api.test:${bench.port}`,
    address: "127.0.0.1",
    bytesOut: hello().length,
    bytesIn: 1006,
  });
  t.match(bench.reports[0], { outcome: "connected" });
});

t.test("not a byte leaves before the first ones are right", async (t) => {
  const wrong: [string, Buffer, RegExp][] = [
    ["another name", hello({ extensions: [sni(name("evil.test"))] }), /is for evil\.test, not for api\.test/],
    ["no name", hello({ extensions: [] }), /for no name/],
    ["a name that only begins so", hello({ extensions: [sni(name("api.test.evil.test"))] }), /evil\.test/],
    ["plain HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n"), /not TLS/],
    ["a second request", Buffer.from("CONNECT evil.test:443 HTTP/1.1\r\n\r\n"), /not TLS/],
    [
      "a hello that is too long",
      records(
        message({
          extensions: [
            sni(name("api.test")),
            Buffer.concat([Buffer.from([0, 21, 0x3f, 0xf0]), Buffer.alloc(0x3ff0)]),
          ],
        }),
      ),
      /longer than/,
    ],
  ];
  for (const [what, bytes, reason] of wrong) {
    const bench = await Bench.make(t);
    const { report } = await bench.ask(bytes);
    t.match(report, { outcome: "refused", reason, bytesOut: 0 }, what);
    t.equal(bench.sent, "", what);
    t.equal(bench.connections, 1, `${what}: the connection was there, and stayed silent`);
  }
});

t.test("a bare address is asked for without a name, or with itself", async (t) => {
  for (const [bytes, outcome] of [
    [hello({ extensions: [] }), "closed"],
    [hello({ extensions: [sni(name("127.0.0.1"))] }), "closed"],
    [hello({ extensions: [sni(name("evil.test"))] }), "refused"],
  ] as const) {
    const bench = await Bench.make(t, (b) => {
      b.target = { ...b.target, host: "127.0.0.1" };
      b.serve = (socket) => socket.once("data", () => socket.end(SERVER_HELLO));
    });
    const { report } = await bench.ask(bytes);
    t.equal(report.outcome, outcome, String(report.reason));
    t.strictSame(bench.lookups, []);
  }
});

t.test("only what the grant names", async (t) => {
  for (const host of [
    "evil.test",
    "127.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "169.254.169.254",
    "localhost",
    "sub.api.test",
  ]) {
    const bench = await Bench.make(t);
    const { heard, report } = await bench.ask(hello(), host);
    t.match(heard, /^HTTP\/1\.1 403 .*does not name this target/s, host);
    t.match(report, { outcome: "refused", target: `${host}:${bench.port}` });
    t.equal(bench.connections, 0);
    t.strictSame(bench.lookups, [], "a name that is not granted is not even looked up");
  }
});

t.test("what a name may resolve to", async (t) => {
  const cases: [string, string[], Partial<Target>, RegExp | null][] = [
    [
      "loopback, not said to be private",
      ["127.0.0.1"],
      { private: false },
      /a loopback address.*private: true/,
    ],
    ["private, not in root's list", ["10.1.2.3"], {}, /a private address.*sallyport\.yaml/],
    ["metadata", ["169.254.169.254"], {}, /a metadata address/],
    ["mapped metadata", ["::ffff:a9fe:a9fe"], {}, /a metadata address/],
    ["NAT64 of a private one", ["64:ff9b::10.0.0.1"], {}, /a private address/],
    ["6to4", ["2002:7f00:1::"], {}, /special use/],
    ["Teredo", ["2001:0:1::1"], {}, /special use/],
    ["the unspecified address, which is loopback", ["0.0.0.0"], {}, /special use/],
    ["one with a zone", ["fe80::1%lo"], {}, /no address/],
    ["nothing", [], {}, /no address/],
    ["a wrong one beside a right one", ["10.1.2.3", "127.0.0.1"], {}, null],
  ];
  for (const [what, addresses, change, reason] of cases) {
    const bench = await Bench.make(t, (b) => {
      b.addresses = () => addresses;
      b.target = { ...b.target, ...change };
      b.serve = (socket) => socket.once("data", () => socket.end(SERVER_HELLO));
    });
    const { report } = await bench.ask(hello());
    if (reason === null) t.match(report, { outcome: "closed", address: "127.0.0.1" }, what);
    else {
      t.match(report.reason, reason, what);
      t.equal(bench.connections, 0, what);
    }
  }
});

t.test("DNS rebinding: the address that was checked is the one that is connected to", async (t) => {
  const answers = [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"]];
  const bench = await Bench.make(t, (b) => {
    b.addresses = () => answers.shift()!;
    b.serve = (socket) => socket.once("data", () => socket.end(SERVER_HELLO));
  });
  t.match((await bench.ask(hello())).report, { outcome: "closed", address: "127.0.0.1" });
  t.equal(bench.lookups.length, 1, "asked once");
  bench.reports.length = 0;
  t.match((await bench.ask(hello())).report, { outcome: "refused", reason: /a metadata address/ });
});

t.test("a resolver that does not answer, and a run that ends meanwhile", async (t) => {
  const slow = await Bench.make(t, (b) => {
    b.rules = {
      lookup: () => new Promise(() => {}),
      times: { requestMs: 200, connectMs: 5000, idleMs: 60_000 },
    };
  });
  const { heard, report } = await slow.ask(hello());
  t.match(heard, /^HTTP\/1\.1 502 .*did not come in time/s);
  t.match(report, { outcome: "failed" });
  const answer = Promise.withResolvers<string[]>();
  const gone = await Bench.make(t, (b) => {
    b.rules = { lookup: () => answer.promise };
  });
  const { socket } = gone.client();
  socket.write(`CONNECT api.test:${gone.port} HTTP/1.1\r\n\r\n`);
  await new Promise((resolve) => setTimeout(resolve, 100));
  socket.resetAndDestroy();
  await new Promise((resolve) => setTimeout(resolve, 100));
  answer.resolve(["127.0.0.1"]);
  await until(() => gone.reports.length > 0, PATIENCE);
  t.equal(gone.connections, 0, "no connection is made for a run that is over");
});

t.test("a server that can't be reached is said to be one", async (t) => {
  const bench = await Bench.make(t, (b) => {
    b.addresses = () => ["127.0.0.9"];
  });
  const { heard, report } = await bench.ask(hello());
  t.match(heard, /^HTTP\/1\.1 502 .*ECONNREFUSED/s);
  t.match(report, { outcome: "failed", reason: "no connection: ECONNREFUSED" });
});

t.test("a server that answers in plain text is cut off", async (t) => {
  const bench = await Bench.make(t, (b) => {
    b.serve = (socket) => socket.once("data", () => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
  });
  const { heard, report } = await bench.ask(hello());
  t.match(report, { outcome: "refused", reason: /the server's answer is not TLS/ });
  t.notMatch(heard, /Bad Request/);
});

t.test("SSH: both sides say what they are, and each direction ends by itself", async (t) => {
  const bench = await Bench.make(t, (b) => {
    b.target = { ...b.target, scheme: "ssh" };
    b.serve = (socket) => {
      socket.write("welcome\r\nSSH-2.0-server\r\n");
      // Says the rest only once the client has finished.
      socket.once("end", () => socket.end("bye"));
    };
  });
  const { socket, heard, ended } = bench.client();
  socket.write(`CONNECT api.test:${bench.port} HTTP/1.1\r\n\r\nSSH-2.0-cli`);
  await until(() => heard().includes("200"), PATIENCE);
  t.notMatch(heard(), /welcome/, "nothing of the server before the client has said what it is");
  socket.end("ent\r\nmore");
  await ended;
  t.ok(heard().endsWith("welcome\r\nSSH-2.0-server\r\nbye"), heard());
  t.equal(bench.sent, "SSH-2.0-client\r\nmore");
  const other = await Bench.make(t, (b) => {
    b.target = { ...b.target, scheme: "ssh" };
  });
  t.match((await other.ask(Buffer.from("GET / HTTP/1.1\r\n\r\n"))).report, {
    outcome: "refused",
    reason: /not SSH 2\.0/,
  });
  t.equal(other.sent, "");
});

t.test("SOCKS5", async (t) => {
  const bench = await Bench.make(t, (b) => {
    b.serve = (socket) => socket.once("data", () => socket.end(SERVER_HELLO));
  });
  const request = (host: string) =>
    Buffer.concat([
      Buffer.from([5, 1, 0, 5, 1, 0, 3, host.length]),
      Buffer.from(host),
      Buffer.from([bench.port >> 8, bench.port & 255]),
    ]);
  const good = bench.client(bench.socks);
  good.socket.write(Buffer.concat([request("api.test"), hello()]));
  await good.ended;
  t.equal(good.heard(), `\x05\0\x05\0\0\x01\0\0\0\0\0\0${SERVER_HELLO.toString("latin1")}`);
  const bad = bench.client(bench.socks);
  bad.socket.write(request("evil.test"));
  await bad.ended;
  t.equal(bad.heard(), "\x05\0\x05\x02\0\x01\0\0\0\0\0\0", "not allowed by the ruleset");
  const http = bench.client(bench.socks);
  http.socket.write("GET / HTTP/1.1\r\n\r\n");
  await http.ended;
  t.equal(http.heard(), "");
});

t.test("who says nothing, or a byte now and then, is not waited for", async (t) => {
  const times = { requestMs: 150, connectMs: 5000, idleMs: 60_000 };
  for (const start of ["", "CONNECT api", `CONNECT api.test:PORT HTTP/1.1\r\n\r\n\x16\x03\x01`]) {
    const bench = await Bench.make(t, (b) => {
      b.rules = { times };
    });
    const { socket, ended } = bench.client();
    const text = Buffer.from(start.replace("PORT", String(bench.port)), "latin1");
    for (const [i, byte] of text.entries()) setTimeout(() => socket.write(Buffer.from([byte])), i);
    await ended;
    await until(() => bench.reports.length > 0, PATIENCE);
    t.match(
      bench.reports,
      [{ outcome: "failed", reason: /ended before it had said/ }],
      JSON.stringify(start),
    );
    t.equal(bench.sent, "");
  }
});

t.test("a silent connection ends after its time, with a reason", async (t) => {
  const bench = await Bench.make(t, (b) => {
    b.rules = { times: { requestMs: 5000, connectMs: 5000, idleMs: 200 } };
  });
  const { report } = await bench.ask(hello());
  t.match(report, { outcome: "closed", reason: /nothing was sent for 0\.2 s/ });
});

t.test("who does not read makes the server wait", async (t) => {
  const SIZE = 64 << 20;
  const bench = await Bench.make(t, (b) => {
    b.serve = (socket) =>
      socket.once("data", () => socket.end(Buffer.concat([SERVER_HELLO, Buffer.alloc(SIZE)])));
  });
  const { socket, heard } = bench.client();
  socket.write(`CONNECT api.test:${bench.port} HTTP/1.1\r\n\r\n`);
  await until(() => heard().includes("200"), PATIENCE);
  socket.pause();
  socket.write(hello());
  await until(() => bench.reports.length === 1, PATIENCE);
  await new Promise((resolve) => setTimeout(resolve, 300));
  socket.destroy();
  await until(() => bench.reports.length === 2, PATIENCE);
  t.ok(bench.reports[1]!.bytesIn < SIZE / 2, `${bench.reports[1]!.bytesIn} bytes were taken from the server`);
});

t.test("the Op's end is the connection's end", async (t) => {
  const bench = await Bench.make(t);
  const { socket, heard } = bench.client();
  socket.write(Buffer.concat([Buffer.from(`CONNECT api.test:${bench.port} HTTP/1.1\r\n\r\n`), hello()]));
  await until(() => heard().endsWith("\x02"), PATIENCE);
  socket.resetAndDestroy();
  await until(() => bench.reports.length === 2, PATIENCE);
  t.match(bench.reports[1], { outcome: "closed" });
});

t.test("very many connections are added up, and none is lost", async (t) => {
  const told: Summary[] = [];
  const reports = new Reports((summary) => told.push(summary));
  const one: Report = {
    outcome: "closed",
    target: "a:1",
    address: "1.1.1.1",
    bytesOut: 2,
    bytesIn: 3,
    ms: 1,
    reason: null,
  };
  for (let i = 0; i < 5000; i++) {
    reports.add({ ...one, outcome: "connected" });
    reports.add(one);
    reports.add({ ...one, outcome: "refused", target: `t${i % 1000}:1` });
  }
  reports.flush();
  const sum = (outcome: string, of: "count" | "bytesIn") =>
    told.filter((s) => s.outcome === outcome).reduce((total, s) => total + s[of], 0);
  t.ok(told.length < 700, `${told.length} reports`);
  t.equal(sum("closed", "count"), 5000);
  t.equal(sum("closed", "bytesIn"), 15_000);
  t.equal(sum("refused", "count"), 5000);
});

t.test("what an Op can bring egress to say is never more than the keeper takes", async (t) => {
  const long = (letter: string): string => [63, 63, 63, 61].map((n) => letter.repeat(n)).join(".");
  const bench = await Bench.make(t, (b) => {
    b.target = { ...b.target, host: long("a") };
  });
  const { report } = await bench.ask(hello({ extensions: [sni(name(long("b")))] }));
  t.match(report, { outcome: "refused", reason: /^the TLS ClientHello is for bbb/ });
  const message = { type: "egress.connection", run: "r-0001", ...report, count: 1 };
  t.ok(Message.safeParse(message).success, `${report.reason?.length} characters`);
});
