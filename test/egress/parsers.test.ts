import { randomBytes } from "node:crypto";
import { createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import t from "tap";
import { HELLO_BYTES, readClientHello, readServerStart } from "../../src/egress/client-hello.ts";
import { HEAD_BYTES, readConnect, readGreeting, readSocks } from "../../src/egress/requests.ts";
import { readClientBanner, readServerBanner } from "../../src/egress/ssh-banner.ts";
import { generator } from "../core/random.ts";
import {
  extension,
  hello,
  message,
  name,
  records,
  sameHoweverCut,
  sni,
  u8,
  u16,
  with8,
  with16,
} from "./hello.ts";

const state = (verdict: { state: string }): string => verdict.state;
const why = (verdict: { state: string }): string =>
  "reason" in verdict ? String(verdict.reason) : verdict.state;

t.test("a ClientHello's name", async (t) => {
  t.strictSame(readClientHello(hello()), { state: "ok", sni: "api.test", ech: false });
  t.match(readClientHello(hello({ extensions: [sni(name("API.Test"))] })), { sni: "api.test" });
  t.match(readClientHello(hello({ extensions: null })), { state: "ok", sni: null });
  t.match(readClientHello(hello({ extensions: [] })), { state: "ok", sni: null });
  const grease = extension(0x0a0a, u8(0));
  t.match(readClientHello(hello({ extensions: [grease, sni(name("api.test")), extension(0x2a2a)] })), {
    sni: "api.test",
  });
  t.match(readClientHello(hello({ extensions: [sni(name("api.test")), extension(0xfe0d, u8(0))] })), {
    ech: true,
  });
  for (const size of [1, 2, 3, 5, 50, 200]) {
    const cut = records(message(), size);
    t.equal(
      state(readClientHello(cut)),
      message().length / size > 64 ? "refused" : "ok",
      `records of ${size} bytes`,
    );
  }
  // What follows is the server's to judge: early data, a change-cipher-spec of the middlebox kind.
  t.match(readClientHello(Buffer.concat([hello(), Buffer.from([20, 3, 3, 0, 1, 1])])), { state: "ok" });
});

t.test("what is no ClientHello, or not one that is clear", async (t) => {
  const cases: [string, Buffer, RegExp][] = [
    ["plain HTTP", Buffer.from("GET / HTTP/1.1\r\n\r\n"), /not TLS/],
    ["SSH", Buffer.from("SSH-2.0-x\r\n"), /not TLS/],
    ["SSLv2", Buffer.from([0x80, 0x2e, 1, 0, 2]), /not TLS/],
    ["application data", records(Buffer.alloc(10), 100, 23), /not TLS/],
    ["a ServerHello", records(Buffer.concat([u8(2), message().subarray(1)])), /malformed/],
    ["an empty record", Buffer.concat([u8(22), u16(0x0301), u16(0), hello()]), /malformed/],
    ["two messages in one record", records(Buffer.concat([message(), message()])), /malformed/],
    [
      "another message at the record's end",
      records(Buffer.concat([message(), Buffer.from([11, 0, 0, 0])])),
      /malformed/,
    ],
    [
      "a second record of another type",
      Buffer.concat([records(message().subarray(0, 20)), records(message().subarray(20), 9000, 23)]),
      /malformed/,
    ],
    ["two server names", hello({ extensions: [sni(name("api.test"), name("evil.test"))] }), /server name/],
    [
      "the extension twice",
      hello({ extensions: [sni(name("api.test")), sni(name("evil.test"))] }),
      /malformed/,
    ],
    ["a name of another kind", hello({ extensions: [sni(name("api.test", 1))] }), /server name/],
    ["an empty name", hello({ extensions: [sni(name(""))] }), /server name/],
    ["an empty list", hello({ extensions: [sni()] }), /malformed/],
    ["a name with NUL", hello({ extensions: [sni(name("api.test\0.evil"))] }), /server name/],
    [
      "bytes after the list",
      hello({ extensions: [extension(0, with16(name("api.test")), u8(0))] }),
      /server name/,
    ],
    ["bytes after the extensions", records(lengthen(message(), Buffer.from([0]))), /malformed/],
    ["an odd list of suites", hello({ suites: Buffer.alloc(3) }), /malformed/],
    ["TLS 1.1", hello({ version: 0x0302 }), /1\.2 or later/],
    ["SSL 3", hello({ version: 0x0300 }), /1\.2 or later/],
    [
      "one of 16 KiB",
      records(message({ extensions: [extension(21, Buffer.alloc(HELLO_BYTES - 64))] })),
      /longer than 16384/,
    ],
    [
      "one that says it is longer",
      Buffer.concat([u8(22), u16(0x0301), u16(16384), Buffer.from([1, 1, 0, 0])]),
      /longer than/,
    ],
    [
      "one cut into very many records",
      records(message({ extensions: [extension(21, Buffer.alloc(2000))] }), 10),
      /more than 64 records/,
    ],
  ];
  for (const [what, bytes, reason] of cases) t.match(why(readClientHello(bytes)), reason, what);
});

/** The same message with more behind its last field, and the length that goes with it. */
function lengthen(bytes: Buffer, more: Buffer): Buffer {
  const body = Buffer.concat([bytes.subarray(4), more]);
  return Buffer.concat([u8(1), u8(0), u16(body.length), body]);
}

t.test("the hello of a real client", async (t) => {
  const got = await new Promise<Buffer>((resolve) => {
    const server = createServer((socket: Socket) => {
      socket.on("error", () => undefined);
      socket.once("data", (data: Buffer) => {
        resolve(data);
        socket.destroy();
        server.close();
      });
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      connectTls({ host: "127.0.0.1", port, servername: "api.test" }).on("error", () => undefined);
    });
  });
  t.match(readClientHello(got), { state: "ok", sni: "api.test" });
});

t.test("how a server begins", async (t) => {
  t.equal(state(readServerStart(Buffer.from([22, 3, 3]))), "ok");
  t.equal(state(readServerStart(Buffer.from([21, 3]))), "ok");
  t.equal(state(readServerStart(Buffer.from([22]))), "more");
  t.match(why(readServerStart(Buffer.from("HTTP/1.1"))), /not TLS/);
  t.match(why(readServerStart(Buffer.from([22, 2]))), /not TLS/);
});

t.test("SSH identifications", async (t) => {
  for (const line of ["SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-x\n", "SSH-2.0-paramiko_3.0\r\nrest\0"])
    t.equal(state(readClientBanner(Buffer.from(line))), "ok", line);
  for (const line of ["", "S", "SSH-2.0-", "SSH-2.0-x", "SSH-2.0-x\r"])
    t.equal(state(readClientBanner(Buffer.from(line))), "more", line);
  for (const line of [
    "GET /\n",
    "SSH-1.5-x\r\n",
    "SSH-1.99-x\r\n",
    "ssh-2.0-x\r\n",
    "SSH-2.0-\r\n",
    "SSH-2.0-a-b\r\n",
    "SSH-2.0-x\ry\r\n",
    "SSH-2.0-x\0\r\n",
    "SSH-2.0-\u00e4\r\n",
    `SSH-2.0-${"x".repeat(250)}\r\n`,
    `SSH-2.0-${"x".repeat(300)}`,
    "hello\r\nSSH-2.0-x\r\n",
  ])
    t.equal(state(readClientBanner(Buffer.from(line, "latin1"))), "refused", line.slice(0, 40));
  t.equal(state(readServerBanner(Buffer.from("Welcome\r\nto here\r\nSSH-2.0-x\r\n"))), "ok");
  t.equal(state(readServerBanner(Buffer.from("Welcome\r\n"))), "more");
  for (const line of ["SSH-1.99-x\r\n", "x\r\n".repeat(40), "x".repeat(300), "a\0b\r\n"])
    t.equal(state(readServerBanner(Buffer.from(line))), "refused", line.slice(0, 40));
});

const CONNECT = "CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n";

t.test("a CONNECT request", async (t) => {
  t.match(readConnect(Buffer.from(CONNECT)), {
    state: "ok",
    host: "api.test",
    port: 443,
    rest: Buffer.alloc(0),
  });
  for (const [text, host] of [
    ["CONNECT api.test:443 HTTP/1.0\r\n\r\n", "api.test"],
    [
      "CONNECT API.test:443 HTTP/1.1\r\nhOST:api.TEST\r\nUser-Agent: x\r\nProxy-Authorization: Basic eA==\r\n\r\n",
      "api.test",
    ],
    ["CONNECT [::ffff:127.0.0.1]:443 HTTP/1.1\r\n\r\n", "::ffff:127.0.0.1"],
    ["CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\n\r\n", "10.0.0.1"],
  ] as const)
    t.match(readConnect(Buffer.from(text)), { state: "ok", host, port: 443 }, text);
  t.equal(
    String((readConnect(Buffer.from(`${CONNECT}rest`)) as { rest: Buffer }).rest),
    "rest",
    "goes to the tunnel, not to another request",
  );
});

t.test("what is no plain CONNECT: methods, smuggling, oddities", async (t) => {
  const one = (line: string, ...fields: string[]) => `${[line, ...fields].join("\r\n")}\r\n\r\n`;
  const good = "CONNECT api.test:443 HTTP/1.1";
  const cases: [string, RegExp][] = [
    [one("GET http://api.test/ HTTP/1.1", "Host: api.test"), /only CONNECT/],
    [one("POST / HTTP/1.1"), /only CONNECT/],
    [one("OPTIONS * HTTP/1.1"), /only CONNECT/],
    [one("CONNECTX api.test:443 HTTP/1.1"), /only CONNECT/],
    [one("connect api.test:443 HTTP/1.1"), /malformed/],
    [one("CONNECT  api.test:443 HTTP/1.1"), /malformed/],
    [one("CONNECT api.test:443"), /malformed/],
    [one("CONNECT api.test:443 HTTP/2"), /malformed/],
    [one("CONNECT api.test:443 HTTP/1.1 "), /malformed/],
    [one("CONNECT api.test HTTP/1.1"), /malformed/],
    [one("CONNECT api.test:0 HTTP/1.1"), /malformed/],
    [one("CONNECT api.test:0443 HTTP/1.1"), /malformed/],
    [one("CONNECT api.test:65536 HTTP/1.1"), /malformed/],
    [one("CONNECT api.test:443x HTTP/1.1"), /malformed/],
    [one("CONNECT user@api.test:443 HTTP/1.1"), /malformed/],
    [one("CONNECT user:pw@api.test:443 HTTP/1.1"), /malformed/],
    [one("CONNECT https://api.test:443 HTTP/1.1"), /malformed/],
    [one("CONNECT ssh://api.test:443 HTTP/1.1"), /malformed/],
    [one("CONNECT api.test:443/ HTTP/1.1"), /malformed/],
    [one("CONNECT api.test.:443 HTTP/1.1"), /malformed/],
    [one("CONNECT [api.test]:443 HTTP/1.1"), /malformed/],
    [one("CONNECT 010.0.0.1:443 HTTP/1.1"), /malformed/],
    [one("CONNECT ::1:443 HTTP/1.1"), /malformed/],
    [one("CONNECT 127.1:443 HTTP/1.1"), /malformed/],
    [one("CONNECT 0x7f000001:443 HTTP/1.1"), /malformed/],
    [one(good, "Content-Length: 5"), /no body/],
    [one(good, "content-length: 0"), /no body/],
    [one(good, "Transfer-Encoding: chunked"), /no body/],
    [one(good, "Transfer-Encoding : chunked"), /malformed/],
    [one(good, "X: a", " folded: b"), /malformed/],
    [one(good, "X: a", "\tfolded"), /malformed/],
    [one(good, ": empty"), /malformed/],
    [one(good, "no colon"), /malformed/],
    [one(good, "X: a\0b"), /malformed/],
    [one(good, "Host: api.test:443", "Host: evil.test:443"), /two hosts/],
    [one(good, "Host: evil.test"), /two hosts/],
    [one(good, "Host: api.test:80"), /two hosts/],
    [`${good}\nHost: api.test\n\n`, /malformed/],
    [`${good}\r\nX: a\nY: b\r\n\r\n`, /malformed/],
    [`${good}\r\nX: a\rY: b\r\n\r\n`, /malformed/],
    [`${good}\r\r\n\r\n`, /malformed/],
    [`\r\n${good}\r\n\r\n`, /malformed/],
    [one(good, `X: ${"x".repeat(HEAD_BYTES)}`), /longer than 8192/],
    ["A".repeat(100), /malformed/],
    ["\x16\x03\x01", /malformed/],
    ["\x05\x01\x00", /malformed/],
  ];
  for (const [text, reason] of cases)
    t.match(why(readConnect(Buffer.from(text, "latin1"))), reason, JSON.stringify(text.slice(0, 60)));
});

const ask = (type: number, address: Buffer, port = 443, command = 1) =>
  Buffer.concat([Buffer.from([5, command, 0, type]), address, u16(port)]);

t.test("SOCKS5", async (t) => {
  t.match(readGreeting(Buffer.from([5, 2, 1, 0])), { state: "ok", size: 4 });
  t.match(why(readGreeting(Buffer.from([5, 1, 2]))), /password/);
  t.match(why(readGreeting(Buffer.from([4, 1, 1, 187, 1, 2, 3, 4, 0]))), /not SOCKS5/);
  t.equal(state(readGreeting(Buffer.from([5, 3, 1, 2]))), "more");
  t.match(readSocks(ask(3, with8(Buffer.from("API.test")))), { state: "ok", host: "api.test", port: 443 });
  t.match(readSocks(ask(1, Buffer.from([10, 0, 0, 1]))), { host: "10.0.0.1" });
  t.match(readSocks(ask(4, Buffer.from("00000000000000000000ffff7f000001", "hex"))), {
    host: "0:0:0:0:0:ffff:7f00:1",
  });
  const refusedWith = (bytes: Buffer, code: number, what: string) =>
    t.match(readSocks(bytes), { state: "refused", code }, what);
  refusedWith(ask(1, Buffer.alloc(4), 443, 2), 7, "BIND");
  refusedWith(ask(1, Buffer.alloc(4), 443, 3), 7, "UDP ASSOCIATE");
  refusedWith(ask(2, Buffer.alloc(4)), 8, "no such kind of address");
  refusedWith(ask(3, with8(Buffer.from("a/b"))), 1, "a name that is none");
  refusedWith(ask(3, with8(Buffer.from("a\0b.test"))), 1, "a name with NUL");
  refusedWith(ask(3, with8(Buffer.from("x@api.test"))), 1, "userinfo");
  refusedWith(ask(3, with8(Buffer.alloc(0))), 1, "no name");
  refusedWith(ask(3, with8(Buffer.from("api.test")), 0), 1, "port 0");
  refusedWith(Buffer.from([5, 1, 1, 1]), 1, "a reserved byte");
});

t.test("however the bytes are cut, the verdict is the same", async (t) => {
  const numbers = generator(7);
  const random = () => numbers.next(1 << 20) / (1 << 20);
  const readers: [string, (bytes: Buffer) => { state: string }, Buffer[]][] = [
    [
      "ClientHello",
      readClientHello,
      [
        hello(),
        records(message(), 50),
        hello({ extensions: null }),
        records(message({ extensions: [extension(21, Buffer.alloc(2000))] }), 100),
      ],
    ],
    [
      "CONNECT",
      readConnect,
      [
        Buffer.from(CONNECT),
        Buffer.from("CONNECT a:1 HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\nmore"),
        Buffer.from("GET http://a/ HTTP/1.1\r\n\r\n"),
      ],
    ],
    [
      "SOCKS5",
      readSocks,
      [ask(3, with8(Buffer.from("api.test"))), ask(1, Buffer.alloc(4)), ask(4, Buffer.alloc(16))],
    ],
    ["client's SSH", readClientBanner, [Buffer.from("SSH-2.0-x y\r\nmore")]],
    ["server's SSH", readServerBanner, [Buffer.from("a\r\nb\r\nSSH-2.0-x y\r\nmore")]],
  ];
  for (const [what, read, good] of readers) {
    const bad: string[] = [];
    for (let i = 0; i < 400; i++) {
      const bytes = mutated(good[Math.floor(random() * good.length)]!, random);
      const same = sameHoweverCut(bytes, read, random);
      if (same !== "same") bad.push(`${same}: ${bytes.toString("hex").slice(0, 200)}`);
    }
    t.strictSame(bad, [], what);
    for (let i = 0; i < 200; i++) read(randomBytes(300));
  }
});

/** A few bytes changed, taken out, put in twice, or none. */
function mutated(bytes: Buffer, random: () => number): Buffer {
  let out = Buffer.from(bytes);
  for (let n = Math.floor(random() * 4); n > 0; n--) {
    const at = Math.floor(random() * out.length);
    const way = random();
    if (way < 0.6) out[at] = Math.floor(random() * 256);
    else if (way < 0.8)
      out = Buffer.concat([out.subarray(0, at), out.subarray(at + 1 + Math.floor(random() * 5))]);
    else out = Buffer.concat([out.subarray(0, at), out.subarray(Math.max(0, at - 5))]);
  }
  return out;
}
