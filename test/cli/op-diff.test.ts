import t from "tap";
import { diffBundles } from "../../src/cli/op-diff.ts";
import { encodeBundle } from "../../src/core/bundle.ts";

/** How two versions of an Op differ: what they may do first, text by lines, and never more than can be read or paid for. */

type Files = Record<string, string | Buffer>;
const bundle = (more: string, files: Files = {}, modes: Record<string, 0o644 | 0o755> = {}): Buffer =>
  encodeBundle(
    Object.entries({ "op.yaml": `op: web/x\nsummary: x\nrun: ["/bin/true"]\n${more}`, ...files }).map(
      ([path, content]) => ({ path, mode: modes[path] ?? 0o644, bytes: Buffer.from(content) }),
    ),
  );
const filesOf = (before: Files, after: Files) => diffBundles(bundle("", before), bundle("", after)).files;
const many = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => `${line(i)}\n`).join("");

t.test("the manifest: by key, what it may do first", async (t) => {
  const from = bundle("channels: [C0123456789]\n");
  const to = bundle(
    'concurrency: 2\nconfirm: local\nlimits: {time: 5s}\nnetwork: ["a.test:443", {to: "ssh://b.test:22", private: true}]\n',
  );
  const { manifest } = diffBundles(from, to);
  t.same(
    manifest?.map(({ key }) => key),
    ["network", "limits.timeMs", "confirm", "channels", "concurrency"],
  );
  t.same(manifest?.[0], { key: "network", from: [], to: ["a.test:443", "ssh://b.test:22 (private)"] });
  t.same(manifest?.[1], { key: "limits.timeMs", from: 60_000, to: 5000 });
  t.same(manifest?.[3], { key: "channels", from: ["C0123456789"], to: null });
  t.same(diffBundles(from, from), { manifest: [], files: [] });
});

t.test("a manifest of other rules leaves the text to compare", async (t) => {
  const { manifest, files } = diffBundles(bundle("reply: fax\n"), bundle(""));
  t.equal(manifest, null);
  t.match(files, [{ path: "op.yaml", patch: /^-reply: fax$/m }]);
});

t.test("text by lines; what is no text by its digest; modes", async (t) => {
  t.match(filesOf({ a: "one\ntwo\n", b: "x", c: "same" }, { a: "one\n2\n", c: "same", d: "new\n" }), [
    { path: "a", change: "changed", patch: /^--- a\/a\n\+\+\+ b\/a\n@@ -1,2 \+1,2 @@\n one\n-two\n\+2$/m },
    { path: "b", change: "removed", patch: /^-x$/m },
    { path: "d", change: "added", patch: /^\+new$/m },
  ]);
  t.match(filesOf({ a: Buffer.from([0, 1]) }, { a: Buffer.from([0, 2, 3]) }), [
    { patch: /^2 bytes, sha256:[0-9a-f]{64} -> 3 bytes, sha256:[0-9a-f]{64}\n$/ },
  ]);
  t.match(filesOf({ a: Buffer.from([0xff]) }, {}), [
    { patch: /^1 bytes, sha256:[0-9a-f]{64} -> nothing\n$/ },
  ]);
  t.match(filesOf({ a: "x\n" }, { a: "\ufeffx\n" }), [{ patch: /^\+\ufeffx$/m }], "a byte-order mark");
  t.match(filesOf({ a: "x" }, { a: "x\n" }), [{ patch: /No newline/ }], "the last newline");
  t.match(filesOf({ a: "x\r\n" }, { a: "x\n" }), [{ patch: /^-x\r$/m }], "ends of lines");
  const to = bundle("", { a: "y\n" }, { a: 0o755 });
  t.match(diffBundles(bundle("", { a: "x\n" }), to).files, [{ patch: /^mode 644 -> 755\n[\s\S]*\+y/ }]);
  t.same(diffBundles(bundle("", { a: "y\n" }), to).files, [
    { path: "a", change: "mode", patch: "mode 644 -> 755\n" },
  ]);
});

t.test("what is too much is told by lines, bytes and digest", async (t) => {
  const told = /^\d+ lines, \d+ bytes, sha256:[0-9a-f]{64} -> \d+ lines, \d+ bytes, sha256:[0-9a-f]{64}\n$/;
  const all = (count: number) =>
    [{ a: many(count, (i) => `a${i}`) }, { a: many(count, (i) => `b${i}`) }] as const;
  t.match(filesOf(...all(400)), [{ patch: /^\+b399$/m }]);
  t.match(filesOf(...all(600)), [{ patch: told }], "more than 1000 edits");
  t.match(
    filesOf({ a: many(10_001, () => "x") }, { a: many(10_000, () => "x") }),
    [{ patch: told }],
    "lines",
  );
  t.match(
    filesOf({ a: "x".repeat(262_145) }, { a: "y" }),
    [{ patch: /^262145 bytes, sha256:\S+ -> 1 lines, 1 bytes, / }],
    "bytes of a file",
  );
  t.match(filesOf({ a: "" }, { a: many(15_000, () => "x") }), [{ patch: told }], "an empty file is one too");
  t.match(filesOf({}, { a: many(15_000, (i) => `${i}`) }), [{ patch: /^\+14999$/m }], "a new file");
  // 5 MiB in files of 250 KiB: what goes beyond 4 MiB is told in short.
  const names = Array.from({ length: 20 }, (_, i) => `f${String(i).padStart(2, "0")}`);
  const big = Object.fromEntries(names.map((name) => [name, `${name}${"x".repeat(250 * 1024)}`]));
  const patches = filesOf({}, big).map(({ patch }) => patch);
  t.ok(patches.reduce((sum, { length }) => sum + length, 0) < 4.1 * 1024 * 1024);
  t.match(patches[0], /^\+f00x/m);
  t.match(patches[19], /^nothing -> 1 lines, /);
  // The edits of all files together: 20 files of 800 each.
  const side = (mark: string) =>
    Object.fromEntries(names.map((name) => [name, many(400, (i) => `${mark}${i}`)]));
  const edits = filesOf(side("a"), side("b")).map(({ patch }) => patch.startsWith("---"));
  t.equal(edits.filter(Boolean).length, 12);
});
