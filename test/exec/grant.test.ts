import t from "tap";
import { type Args, toArgv, toEnv } from "../../src/core/args.ts";
import { BUNDLE_LIMITS, bundleDigest, encodeBundle } from "../../src/core/bundle.ts";
import { SallyportError } from "../../src/core/errors.ts";
import { sizeFault } from "../../src/core/launch-size.ts";
import { parseManifest } from "../../src/core/manifest.ts";
import { Secret } from "../../src/core/secret.ts";
import { makeGrant, type RunOrder } from "../../src/exec/grant.ts";
import { encodeSpec, type LaunchSpec } from "../../src/exec/spec.ts";
import { keyCopy } from "../../src/keys/memory.ts";

const bundle = encodeBundle([
  { path: "main.sh", mode: 0o755, bytes: Buffer.from("#!/bin/sh\n") },
  { path: "op.yaml", mode: 0o644, bytes: Buffer.from("op: a/b\n") },
]);
const order: RunOrder = {
  run: "r-0123",
  op: "a/b",
  digest: bundleDigest(bundle),
  argv: ["./main.sh", "x"],
  env: { INPUT_NAME: "Ada" },
  input: '{"name":"Ada"}',
  limits: { timeMs: 1000, memoryBytes: 1 << 20, pids: 8, diskBytes: 4096, outputBytes: 100, cpu: 0.5 },
  seccomp: "default",
  network: [],
  secrets: [],
};

const secret = (value: Uint8Array | string) => new Secret(keyCopy(Buffer.from(value as string)));

const refusal = (change: Partial<RunOrder>, secrets: Buffer[] = [], bytes: Uint8Array = bundle): string => {
  try {
    makeGrant({ ...order, ...change }, bytes, secrets.map(secret), false);
    return "";
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    return `${error.code}: ${error.detail}`;
  }
};

t.test("what the Op is given, and nothing else", async (t) => {
  const secrets = [
    { name: "KEY", as: "file" },
    { name: "TOKEN", as: "env" },
  ] as const;
  const { spec, secrets: named } = makeGrant(
    { ...order, secrets },
    bundle,
    [secret("k"), secret("t")],
    false,
  );
  t.strictSame(Object.keys(spec.env).sort(), [
    "HOME",
    "INPUT_NAME",
    "LANG",
    "PATH",
    "SALLYPORT_OP",
    "SALLYPORT_RUN",
    "TOKEN",
  ]);
  t.notMatch(JSON.stringify(spec), /"t"|"k"/, "printed, the spec shows no value");
  t.notOk(spec.argv.some((a) => a.includes("t") && a.includes("k")));
  const files = spec.files.map((f) => `${f.tree}/${f.path} ${f.mode.toString(8)}`);
  t.strictSame(files, [
    "op/main.sh 555",
    "op/op.yaml 444",
    "op/input.json 444",
    "etc/passwd 444",
    "etc/group 444",
    "etc/hosts 444",
    "etc/nsswitch.conf 444",
    "etc/resolv.conf 444",
    "secrets/KEY 400",
  ]);
  t.strictSame(
    named.map((s) => s.name),
    ["a/KEY", "a/TOKEN"],
  );
  t.match(spec.limits, { wallMs: 1000, memoryBytes: 1 << 20, pids: 8, cpu: 0.5, tmpBytes: 4096 });
});

t.test("what is refused, and why", async (t) => {
  t.equal(refusal({}), "");
  t.match(refusal({}, [], Buffer.concat([bundle, Buffer.from("x")])), /launch_failed: The bundle's digest/);
  t.match(refusal({ digest: "x" }), /digest/);
  t.match(refusal({ network: ["a:1"] }), /network/);
  for (const name of ["PATH", "LD_PRELOAD", "INPUT_a", "INPUT_", "NODE_OPTIONS", "INPUT_A=B"])
    t.match(refusal({ env: { [name]: "x" } }), /environment variable/, name);
  t.match(refusal({ secrets: [{ name: "K", as: "file" }] }), /1 secrets were ordered and 0 came/);
  const one = (name: string, as: "file" | "env", value: string | Buffer) =>
    refusal({ secrets: [{ name, as }] }, [Buffer.from(value as string)]);
  for (const name of ["PATH", "LD_PRELOAD", "SALLYPORT_RUN", "INPUT_NAME", "HOME"])
    t.match(one(name, "env", "x"), /can't be an environment variable/, name);
  t.match(one("../x", "file", "x"), /name that is none/);
  t.match(one("K", "env", "a\0b"), /NUL/);
  t.equal(one("K", "file", "a\0b"), "");
  const big = one("K", "file", Buffer.alloc(65_537, 65));
  t.match(big, /65537 bytes/);
  t.notOk(big.includes("AAAA"), "no value in a refusal");
  for (const timeMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
    t.match(refusal({ limits: { ...order.limits, timeMs } }), /timeMs/);
  const own = encodeBundle([{ path: "input.json", mode: 0o644, bytes: Buffer.from("{}") }]);
  t.match(refusal({ digest: bundleDigest(own) }, [], own), /input.json/);
});

t.test("every legal Op and its arguments fit a launch", async (t) => {
  const path = (i: number) => `${"d".repeat(120)}/${"e".repeat(125)}/${String(i).padStart(8, "0")}`;
  const files = Array.from({ length: BUNDLE_LIMITS.files }, (_, i) => ({
    path: path(i),
    mode: 0o644 as const,
    bytes: Buffer.from("x"),
  }));
  t.equal(path(0).length, BUNDLE_LIMITS.path);
  const largest = encodeBundle(files);
  const fits = (argv: string[], env: Record<string, string>) => {
    const run = `r-${"x".repeat(24)}`;
    const op = `${"n".repeat(64)}/${"o".repeat(64)}`;
    const asked = { ...order, run, op, digest: bundleDigest(largest), argv, env, input: "{}" };
    return encodeSpec(makeGrant(asked, largest, [], false).spec).length;
  };
  t.ok(fits(["/bin/true"], {}) > 128 * 1024, "512 files with paths of 255 bytes");
  const names = Array.from({ length: 8 }, (_, i) => `a${i}`);
  const manifest = parseManifest(
    `op: a/b\nsummary: x\nrun: ["./x", ${names.map((n) => `"\u0024{${n}}"`)}]\ninputs:\n${names
      .map((n) => `  ${n}: {type: string, required: true, maxLength: 4096}\n`)
      .join("")}`,
  );
  // The most that the keeper lets through.
  let args: Args = {};
  for (let length = 3800; ; length++) {
    const more = Object.fromEntries(names.map((n) => [n, "x".repeat(length)]));
    if (sizeFault(manifest, more) !== null) break;
    args = more;
  }
  t.ok(fits(toArgv(manifest, args), toEnv(manifest, args)) > 190 * 1024);
});

t.test("a limit that root requires is required of each launch", async (t) => {
  for (const required of [true, false])
    t.equal(makeGrant(order, bundle, [], required).spec.cgroupRequired, required);
});

t.test("the spec's encoding", async (t) => {
  const spec: LaunchSpec = {
    argv: ["a", ""],
    env: { B: "c" },
    cwd: "/op",
    hostname: "op",
    seccomp: Buffer.alloc(8, 7),
    files: [{ tree: "op", path: "x/y", mode: 0o755, bytes: Buffer.from("hi") }],
    limits: { wallMs: 1, graceMs: 2, memoryBytes: 2 ** 40, pids: 4, cpu: 0.25, tmpBytes: 6 },
    cgroupRequired: true,
  };
  const bytes = encodeSpec(spec);
  const records: [number, string][] = [];
  for (let at = 0; at < bytes.length; ) {
    t.equal(bytes.readUInt16LE(at + 2), 0);
    const length = bytes.readUInt32LE(at + 4);
    records.push([bytes.readUInt16LE(at), bytes.subarray(at + 8, at + 8 + length).toString("hex")]);
    at += 8 + length;
  }
  const hex = (text: string) => Buffer.from(text).toString("hex");
  t.strictSame(records, [
    [1, "01000000"],
    [2, hex("a")],
    [2, ""],
    [3, hex("B=c")],
    [4, hex("/op")],
    [7, hex("op")],
    [8, "e8030000e8030000"],
    [6, "01000000000000000100000000000000"],
    [6, "02000000000000000200000000000000"],
    [6, "03000000000000000000000000010000"],
    [6, "04000000000000000400000000000000"],
    [6, "0500000000000000fa00000000000000"],
    [6, "09000000000000000600000000000000"],
    [12, "01000000"],
    [5, "0707070707070707"],
    [10, `0101ed0103000000${hex("x/y")}${hex("hi")}`],
  ]);
});
