import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { launch } from "./support/once.ts";
import { compile } from "./support/probe.ts";
import { bindRecord, bpf, confineSpec, PATH, ROOT, record, runSpec, VERSION } from "./support/spec.ts";

t.setTimeout(FILE_TIMEOUT);

const u32 = (value: number): Buffer => Buffer.from(new Uint32Array([value]).buffer);
const ids = (uid: number, gid: number): Buffer => Buffer.concat([u32(uid), u32(gid)]);
const limit = (id: number, value: bigint): Buffer =>
  Buffer.concat([u32(id), u32(0), Buffer.from(new BigUint64Array([value]).buffer)]);
const good = (): Buffer => runSpec({ argv: ["/bin/true"] });
const and = (...parts: Buffer[]): Buffer => Buffer.concat([good(), ...parts]);
const file = (
  tree: number,
  kind: number,
  mode: number,
  path: string,
  content: Buffer | string = "",
): Buffer => {
  const head = Buffer.alloc(8);
  head[0] = tree;
  head[1] = kind;
  head.writeUInt16LE(mode, 2);
  head.writeUInt16LE(Buffer.byteLength(path), 4);
  return record(10, Buffer.concat([head, Buffer.from(path), Buffer.from(content)]));
};

const bind = (name: string, path: string, more: object = {}): Buffer =>
  bindRecord({ name, path, ino: 1n, ...more });

const REFUSED: [string, Buffer, string][] = [
  ["nothing", Buffer.alloc(0), "spec.version"],
  ["no version", record(2, "/bin/true"), "spec.version"],
  ["another version", record(1, u32(2)), "spec.version"],
  ["the version twice", Buffer.concat([VERSION, good()]), "spec.version"],
  ["no argv", VERSION, "spec.argv"],
  ["an empty program name", Buffer.concat([VERSION, record(2, ""), record(5, bpf("default"))]), "spec.argv"],
  ["no filter", Buffer.concat([VERSION, record(2, "/bin/true"), record(3, PATH)]), "spec.seccomp"],
  [
    "a filter that is no program",
    Buffer.concat([VERSION, record(2, "x"), record(5, Buffer.alloc(9))]),
    "spec.seccomp",
  ],
  ["two filters", and(record(5, bpf("default"))), "spec.repeated"],
  ["an unknown type", and(record(19, "")), "spec.type"],
  ["a type beyond the last", and(record(40_000, "")), "spec.header"],
  ["a record of the other kind", and(record(21, "/bin/sh")), "spec.type"],
  ["half a header", and(Buffer.from([3, 0, 0])), "spec.header"],
  ["a length beyond the end", and(record(3, "A=b").subarray(0, -1)), "spec.length"],
  ["NUL in argv", and(record(2, "a\0b")), "spec.argv"],
  ["a variable without =", and(record(3, "A")), "spec.env"],
  ["a variable without a name", and(record(3, "=b")), "spec.env"],
  ["a relative cwd", and(record(4, "op")), "spec.cwd"],
  ["root inside", and(record(8, ids(0, 1000))), "spec.ids"],
  ["root's group inside", and(record(8, ids(1000, 0))), "spec.ids"],
  ["an account of the host's", and(record(9, ids(33, 33))), "spec.type"],
  ["a way out without a path", and(record(15, Buffer.alloc(16))), "spec.egress"],
  [
    "a way out by a relative path",
    and(record(15, Buffer.from(`${"x".repeat(16)}egress.sock`))),
    "spec.egress",
  ],
  ["a way out with NUL in its path", and(record(15, Buffer.from(`${"x".repeat(16)}/a\0b`))), "spec.egress"],
  [
    "two ways out",
    and(record(15, Buffer.from(`${"x".repeat(16)}/a`)), record(15, Buffer.from(`${"x".repeat(16)}/a`))),
    "spec.repeated",
  ],
  ["a limit twice", and(record(6, limit(7, 5n)), record(6, limit(7, 5n))), "spec.limit"],
  ["an unknown limit", and(record(6, limit(99, 5n))), "spec.limit"],
  ["a limit beyond all", and(record(6, limit(7, 2n ** 64n - 2n))), "spec.limit"],
  ["a long host name", and(record(7, "x".repeat(64))), "spec.hostname"],
  ["too many arguments", and(...Array.from({ length: 256 }, () => record(2, "x"))), "spec.argv"],
  ["too many variables", and(...Array.from({ length: 257 }, () => record(3, "A=b"))), "spec.env"],
  ["a large argument", and(record(2, "x".repeat(65_536))), "spec.size"],
  ["large arguments", and(...Array.from({ length: 20 }, () => record(2, "x".repeat(4000)))), "spec.size"],
  ["a path upwards", and(file(1, 1, 0o444, "../x")), "spec.file"],
  ["a path upwards later", and(file(1, 1, 0o444, "a/../../x")), "spec.file"],
  ["an absolute path", and(file(1, 1, 0o444, "/etc/x")), "spec.file"],
  ["an empty path", and(file(1, 1, 0o444, "")), "spec.file"],
  ["a doubled slash", and(file(1, 1, 0o444, "a//b")), "spec.file"],
  ["a dot", and(file(1, 1, 0o444, "./b")), "spec.file"],
  ["NUL in a path", and(file(1, 1, 0o444, "a\0b")), "spec.file"],
  ["a long name", and(file(1, 1, 0o444, "x".repeat(256))), "spec.file"],
  ["a setuid mode", and(file(1, 1, 0o4755, "x")), "spec.file"],
  ["a link in the bundle", and(file(1, 3, 0o777, "x", "/etc/shadow")), "spec.file"],
  ["a link among the secrets", and(file(2, 3, 0o777, "x", "/etc/shadow")), "spec.file"],
  ["an unknown tree", and(file(5, 1, 0o444, "x")), "spec.file"],
  ["an engine's bundle without an engine", and(file(4, 1, 0o444, "x")), "spec.engine"],
  ["an engine without a bundle", and(record(16, u32(1))), "spec.engine"],
  [
    "an engine's calls to be learned",
    and(record(16, u32(1)), file(4, 1, 0o444, "x"), record(17, Buffer.alloc(64))),
    "spec.learn",
  ],
  ["an unknown engine", and(record(16, u32(9))), "spec.engine"],
  ["a path for an engine", and(record(16, "/bin/sh\0")), "spec.engine"],
  ["a directory with content", and(file(1, 2, 0o755, "x", "y")), "spec.file"],
  ["a resource of an unknown kind", and(bind("x", "/var", { kind: 4 })), "spec.bind"],
  [
    "a resource with a flag that is none",
    and(record(13, Buffer.from([1, 2, 1, 0, ...Buffer.alloc(20), 0x78, 0x2f, 0x76]))),
    "spec.bind",
  ],
  ["a resource without a name", and(bind("", "/var")), "spec.bind"],
  ["a resource without a path", and(bind("x", "")), "spec.bind"],
  ["a resource's relative path", and(bind("x", "var")), "spec.bind"],
  ["the root as a resource", and(bind("x", "/")), "spec.bind"],
  ["a resource's path upwards", and(bind("x", "/var/../etc")), "spec.bind"],
  ["a resource's long path", and(bind("x", `/${"x/".repeat(512)}x`)), "spec.bind"],
  ["a resource's name with a slash", and(bind("a/b", "/var")), "spec.bind"],
  ["a resource's name upwards", and(bind("..", "/var")), "spec.bind"],
  ["a resource's long name", and(bind("x".repeat(57), "/var")), "spec.bind"],
  ["NUL in a resource's name", and(bind("a\0b", "/var")), "spec.bind"],
  ["NUL in a resource's path", and(bind("a", "/var\0x")), "spec.bind"],
  ["a resource twice", and(bind("a", "/var"), bind("a", "/srv")), "spec.bind"],
  ["too many resources", and(...Array.from({ length: 65 }, (_, i) => bind(`r${i}`, "/var"))), "spec.bind"],
  ["half a resource", and(record(13, Buffer.alloc(24, 1))), "spec.bind"],
  ["too many files", and(...Array.from({ length: 4097 }, (_, i) => file(1, 1, 0o444, `f${i}`))), "spec.file"],
  [
    "too much content",
    and(...Array.from({ length: 9 }, (_, i) => file(1, 1, 0o444, `f${i}`, Buffer.alloc(8 << 20)))),
    "spec.",
  ],
];

t.test("what is no spec is refused, with the record's name", async (t) => {
  for (const [what, bytes, step] of REFUSED) {
    const r = await launch("once", bytes);
    t.equal(r.code, 125, what);
    t.ok(r.stderr.startsWith(`launcher: ${step}`), `${what}: ${r.stderr.trim()}`);
    t.equal(r.stdout, "");
  }
});

t.test("a file twice, or one below a link, ends the set-up", async (t) => {
  const twice = await launch("once", and(file(1, 1, 0o444, "x", "1"), file(1, 1, 0o444, "x", "2")));
  t.match(twice, { code: 125, stderr: "launcher: files.create: File exists\n" });
  const below = await launch("once", and(file(3, 3, 0o777, "out", "/tmp"), file(3, 1, 0o444, "out/x", "2")));
  t.match(below, { code: 125, stderr: /^launcher: files\.open: / });
});

t.test("the reader under ASan and UBSan, on truncated and mutated specs", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-fuzz-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const rich = runSpec({
    argv: ["./main.sh", "a", "b"],
    cwd: "/tmp",
    hostname: "host",
    ids: [7, 8],
    limits: { wallMs: 1, memory: 2, pids: 3 },
    files: [
      { tree: "op", path: "a/b/c", content: "content" },
      { tree: "secrets", path: "S", content: "s" },
      { tree: "etc", path: "l", kind: "symlink", content: "/x" },
    ],
    binds: [{ name: "logs", path: "/var/log", writable: true }],
    loopback: true,
    egress: { token: Buffer.alloc(16, 7), socket: "/run/egress.sock" },
    cgroupRequired: true,
  });
  const whole = Buffer.concat([
    rich,
    record(14, "/var/lib/root"),
    record(18, "/usr/bin/node"),
    record(16, u32(1)),
    file(4, 1, 0o444, "config.json", "{}"),
  ]);
  const role = confineSpec({
    argv: ["x"],
    execPath: "/bin/true",
    cwd: "/",
    keep: [3, 4],
    paths: [{ rights: 1, path: "/usr" }],
    net: 3,
    ports: [{ rights: 2, port: 443 }],
    scope: 3,
    pdeathsig: 9,
    rlimits: [{ resource: 7, value: 10 }],
  });
  writeFileSync(join(folder, "run"), whole);
  writeFileSync(join(folder, "role"), role);
  const fuzz = compile([join(ROOT, "test/sandbox/support/fuzz_spec.c"), join(ROOT, "sandbox/spec.c")], {
    sanitize: true,
  });
  const out = execFileSync(
    fuzz,
    [process.env.FUZZ_ROUNDS ?? "25000", join(folder, "run"), join(folder, "role")],
    { encoding: "utf8" },
  );
  t.match(out, /^\d+ taken, \d+ refused\n$/);
  const [taken, refused] = out.match(/\d+/g)!.map(Number);
  t.ok(taken! > 100 && refused! > 1000, out);
  t.comment(out.trim());
});
