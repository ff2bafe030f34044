import t from "tap";
import {
  BUNDLE_LIMITS,
  type BundleFile,
  bundleDigest,
  decodeBundle,
  encodeBundle,
  openBundle,
} from "../../src/core/bundle.ts";
import { SallyportError } from "../../src/core/errors.ts";
import { generator } from "./random.ts";

const file = (path: string, text = "x", mode: 0o644 | 0o755 = 0o644): BundleFile => ({
  path,
  mode,
  bytes: Buffer.from(text),
});
const OP = file("op.yaml", 'op: a/b\nsummary: x\nrun: ["./main.sh"]\n');
const MAIN = file("main.sh", "#!/bin/sh\n", 0o755);
const refused = (detail: RegExp) => ({ code: "bundle_invalid", detail });

t.test("the same files give the same bytes, in any order", async (t) => {
  const a = encodeBundle([OP, MAIN, file("lib/ü"), file("lib.txt"), file("Lib.txt")]);
  const b = encodeBundle([file("Lib.txt"), file("lib.txt"), file("lib/ü"), MAIN, OP]);
  t.ok(a.equals(b));
  t.same(
    decodeBundle(a).map(({ path }) => path),
    ["Lib.txt", "lib.txt", "lib/ü", "main.sh", "op.yaml"],
  );
  t.ok(encodeBundle(decodeBundle(a)).equals(a));
});

t.test("a vector, so that digests stay what they are", async (t) => {
  const encoded = encodeBundle([file("a", "hi"), file("b", "", 0o755)]);
  t.equal(encoded.toString("hex"), "535042310000000200016101a40000000268690001" + "6201ed00000000");
  t.equal(bundleDigest(encoded), "sha256:a1c661902f607b760dff3b7bbc7c055cb1f95e6ceb5e5248c9479b769912b9ca");
});

t.test("content, path, mode and op.yaml each change the digest", async (t) => {
  const base = [OP, MAIN, file("x")];
  const variants = [
    base,
    [OP, MAIN, file("x", "y")],
    [OP, MAIN, file("y")],
    [OP, MAIN, file("x", "x", 0o755)],
    [OP, MAIN],
    [file("op.yaml", "other"), MAIN, file("x")],
    [OP, MAIN, file("x", ""), file("xx")],
  ];
  t.equal(new Set(variants.map((files) => bundleDigest(encodeBundle(files)))).size, variants.length);
});

t.test("paths that are refused when written and when read", async (t) => {
  const paths: [string, RegExp][] = [
    ["", /empty/],
    ["/etc/passwd", /absolute/],
    ["../x", /leaves the Op's folder/],
    ["a/../../x", /leaves/],
    ["..", /leaves/],
    ["./x", /'\.' part/],
    ["a//b", /empty or/],
    ["a/", /empty or/],
    ["a\0b", /control/],
    ["a\nb", /control/],
    ["a\u202eb", /control or invisible/],
    ["a\u200bb", /control or invisible/],
    ["a\\b", /backslash/],
    ["\ud800", /not valid UTF-8/],
    ["x".repeat(256), /longer than 255/],
    [`${"d/".repeat(16)}x`, /deeper than 16/],
  ];
  for (const [path, expected] of paths) {
    t.throws(() => encodeBundle([file(path)]), refused(expected), JSON.stringify(path).slice(0, 30));
    t.throws(
      () => decodeBundle(craft([[path, 0o644, "x"]])),
      refused(/./),
      `read ${JSON.stringify(path).slice(0, 30)}`,
    );
  }
  t.doesNotThrow(() => encodeBundle([file("..."), file(".hidden"), file("a b"), file("...x/y")]));
});

t.test("sets of files that are refused", async (t) => {
  t.throws(() => encodeBundle([]), refused(/no file/));
  t.throws(() => encodeBundle([file("a"), file("a")]), refused(/"a" is there twice/));
  t.throws(() => encodeBundle([file("a"), file("a/b")]), refused(/both a file and a folder/));
  t.throws(() => encodeBundle([file("a/b/c"), file("a")]), refused(/both a file and a folder/));
  t.throws(() => encodeBundle([{ ...file("a"), mode: 0o4755 as 0o755 }]), refused(/mode other than/));
  const many = Array.from({ length: 513 }, (_, i) => file(`f${i}`));
  t.throws(() => encodeBundle(many), refused(/513 files; an Op may have 512/));
  t.doesNotThrow(() => encodeBundle(many.slice(1)));
  const deep = Array.from({ length: 103 }, (_, i) => file(`${i}/b/c/d/e/f`));
  t.throws(() => encodeBundle(deep), refused(/515 folders; an Op may have 512/));
  t.doesNotThrow(() => encodeBundle(deep.slice(1)));
  const big = { ...file("a"), bytes: Buffer.alloc(BUNDLE_LIMITS.total) };
  t.doesNotThrow(() => encodeBundle([big]));
  t.throws(() => encodeBundle([big, file("b")]), refused(/8388609 bytes together/));
});

t.test("archives that encodeBundle would not make", async (t) => {
  const good = encodeBundle([OP, MAIN]);
  t.throws(() => decodeBundle(Buffer.alloc(0)), refused(/cut short/));
  t.throws(() => decodeBundle(Buffer.from("PK\u0003\u0004aaaa")), refused(/no archive/));
  t.throws(() => decodeBundle(Buffer.concat([good, Buffer.from([0])])), refused(/goes on after/));
  for (let cut = 0; cut < good.length; cut++) {
    t.throws(() => decodeBundle(good.subarray(0, cut)), { code: "bundle_invalid" }, `cut at ${cut}`);
  }
  t.throws(
    () =>
      decodeBundle(
        craft([
          ["b", 0o644, ""],
          ["a", 0o644, ""],
        ]),
      ),
    refused(/not in order/),
  );
  t.throws(
    () =>
      decodeBundle(
        craft([
          ["a", 0o644, ""],
          ["a", 0o644, ""],
        ]),
      ),
    refused(/not in order/),
  );
  t.throws(() => decodeBundle(craft([["a", 0o777, ""]])), refused(/mode other than/));
  const count = Buffer.from(good);
  count.writeUInt32BE(0xffffffff, 4);
  t.throws(() => decodeBundle(count), refused(/4294967295 files/));
  const utf8 = craft([["aa", 0o644, ""]]);
  utf8[10] = 0xff;
  t.throws(() => decodeBundle(utf8), refused(/not valid UTF-8/));
});

t.test("5000 damaged archives: refused or canonical, never anything else", async (t) => {
  const { next } = generator(3);
  const good = encodeBundle([OP, MAIN, file("lib/a"), file("lib/b")]);
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.from(good);
    for (let i = next(3); i >= 0; i--) bytes[next(bytes.length)] = next(256);
    try {
      if (!encodeBundle(decodeBundle(bytes)).equals(bytes)) t.fail(bytes.toString("hex"));
    } catch (error) {
      if (!(error instanceof SallyportError) || error.code !== "bundle_invalid")
        t.fail(bytes.toString("hex"));
    }
  }
});

t.test("opening an Op looks for what op.yaml names", async (t) => {
  const open = (...files: BundleFile[]) => openBundle(encodeBundle(files));
  const yaml = (rest: string) => file("op.yaml", `op: a/b\nsummary: x\n${rest}`);
  t.match(open(OP, MAIN), { manifest: { op: "a/b" }, digest: /^sha256:[0-9a-f]{64}$/ });
  t.throws(() => open(MAIN), refused(/no op\.yaml/));
  t.throws(() => open(file("sub/op.yaml")), refused(/no op\.yaml/));
  t.throws(() => open(OP), refused(/run names "main\.sh", which the folder lacks/));
  t.throws(() => open(OP, { ...MAIN, mode: 0o644 }), refused(/not executable \(chmod \+x\)/));
  t.throws(() => open(yaml("runtime: node\nentry: a.js")), refused(/entry names "a\.js"/));
  t.throws(() => open(yaml("run: [ls]\nseccomp: s.json")), refused(/seccomp names "s\.json"/));
  for (const path of ["input.json", "input.json/x", "input.json/x/y"])
    t.throws(() => open(OP, MAIN, file(path)), refused(/input\.json is made at each run/), path);
  const small = yaml("run: [ls]\nlimits: {memory: 8MiB}");
  const big = (mib: number) => ({ ...file("big"), bytes: Buffer.alloc(mib * 1024 ** 2) });
  t.throws(() => open(small, big(7)), refused(/^limits\.memory is 8388608 bytes; .* at least 10MiB/));
  t.doesNotThrow(() => open(small, big(5)));
  t.throws(() => open(yaml("run: [ls]\nfoo: 1")), { code: "manifest_invalid" });
  const lone = 'run: [ls]\ninputs: {x: {type: string, description: "\\ud800"}}';
  t.throws(() => open(yaml(lone)), { code: "manifest_invalid" }, "and never what storing it would trip over");
});

function craft(files: [string, number, string][]): Buffer {
  const head = Buffer.from("SPB1\0\0\0\0", "latin1");
  head.writeUInt32BE(files.length, 4);
  const pieces = [head];
  for (const [path, mode, text] of files) {
    const name = Buffer.from(path);
    const fixed = Buffer.alloc(8);
    fixed.writeUInt16BE(name.length, 0);
    fixed.writeUInt16BE(mode, 2);
    fixed.writeUInt32BE(Buffer.byteLength(text), 4);
    pieces.push(fixed.subarray(0, 2), name, fixed.subarray(2), Buffer.from(text));
  }
  return Buffer.concat(pieces);
}
