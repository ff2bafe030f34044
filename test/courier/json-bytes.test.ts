import t from "tap";
import { find, MalformedJson, unescaped, wholeNumber } from "../../src/courier/json-bytes.ts";

/** Cutting one value out of a document's bytes, beside what JSON.parse makes of the same text. */

const cut = (text: string, ...names: string[]): string | undefined => {
  const bytes = Buffer.from(text);
  const span = find(bytes, names);
  return span?.kind === "string" ? unescaped(bytes, span).toString("utf8") : span?.kind;
};

t.test("what lies under the names", async (t) => {
  const text = JSON.stringify({
    password: "outside",
    data: { data: { a: { password: "deeper" }, password: "in", list: [{ password: "listed" }], none: null } },
  });
  t.equal(cut(text, "data", "data", "password"), "in");
  t.equal(cut(text, "password"), "outside");
  t.equal(cut(text, "data", "data", "a", "password"), "deeper");
  t.equal(cut(text, "data", "data", "list"), "array");
  t.equal(cut(text, "data", "data", "none"), "null");
  t.equal(cut(text, "data", "password"), undefined);
  t.equal(cut(text, "data", "data", "list", "password"), undefined, "no name leads into a list");
  t.equal(cut('{"p\\u0061ss":"by its escaped name"}', "pass"), "by its escaped name");
  t.equal(cut('{"":"empty name"}', ""), "empty name");
  t.equal(cut(" { } ", "x"), undefined);
});

t.test("strings", async (t) => {
  const texts = ["", "plain", '"\\/\b\f\n\r\t', "ä€🐴", "\u0000\u001f", "\ufffd", "a\u2028b"];
  for (const value of texts) {
    t.equal(cut(JSON.stringify({ k: value }), "k"), value);
    const escaped = [...Array(value.length).keys()]
      .map((i) => `\\u${value.charCodeAt(i).toString(16).padStart(4, "0")}`)
      .join("");
    t.equal(cut(`{"k":"${escaped}"}`, "k"), value, "each unit escaped");
    t.equal(cut(`{"k":"${escaped.toUpperCase().replaceAll("\\U", "\\u")}"}`, "k"), value);
  }
  const bytes = Buffer.from('{"k":"value"}');
  const value = unescaped(bytes, find(bytes, ["k"])!);
  t.equal(value.buffer.byteLength, 5, "in memory of its own");
});

t.test("numbers", async (t) => {
  const number = (text: string) => {
    const bytes = Buffer.from(`{"n":${text}}`);
    return wholeNumber(bytes, find(bytes, ["n"]));
  };
  t.equal(number("0"), 0);
  t.equal(number("2147483647"), 2147483647);
  for (const text of ["2147483648", "-1", "1.0", "1e3", '"1"', "null", "99999999999"])
    t.equal(number(text), null, text);
});

t.test("what is no JSON, or says two things", async (t) => {
  const bad = [
    ...["", " ", "{", "}", "[", '{"k"}', '{"k":}', '{"k":1,}', "{k:1}", "[1,]", "[1 2]", "01", "1.", ".5"],
    ...["+1", "1e", "--1", "tru", "nul", "NaN", "'k'", '"\\x"', '"\\u12g4"', '"\\u12"', '"open', '"a\nb"'],
    ...["{} {}", "null null", '{"k":1}x', "\ufeff{}", `${"[".repeat(40)}${"]".repeat(40)}`, "/* */ 1"],
    ...['{"k":1,"k":2}', '{"k":1,"\\u006b":2}'],
  ];
  for (const text of bad) t.throws(() => find(Buffer.from(text), ["k"]), MalformedJson, text);
  t.throws(() => find(Buffer.from([0x22, 0xff, 0x22]), []), MalformedJson, "no UTF-8");
  for (const text of ["\\ud800", "\\udc00", "\\ud800x", "\\ud800\\u0041", "\\udc00\\ud800"])
    t.throws(() => cut(`{"k":"${text}"}`, "k"), MalformedJson, text);
  t.equal(cut('{"other":1,"other":2,"k":"v"}', "k"), "v", "twice where nobody looks");
});

t.test("random documents are read as JSON.parse reads them", async (t) => {
  let seed = 1;
  const below = (n: number) => {
    seed = (seed * 48271) % 0x7fffffff;
    return seed % n;
  };
  const word = () => ["k", "data", "ä", 'q"', "\\", "🐴", "", "x\u0001"][below(8)]!;
  const make = (depth: number): unknown => {
    const kind = below(depth > 4 ? 5 : 7);
    if (kind === 0) return below(1000) - 500;
    if (kind === 1) return [true, false, null][below(3)];
    if (kind < 5) return word() + word();
    if (kind === 5) return Array.from({ length: below(4) }, () => make(depth + 1));
    return Object.fromEntries(Array.from({ length: below(5) }, () => [word(), make(depth + 1)]));
  };
  const kindOf = (value: unknown) =>
    value === null
      ? "null"
      : Array.isArray(value)
        ? "array"
        : typeof value === "boolean"
          ? `${value}`
          : typeof value;
  let wrong = 0;
  let damaged = 0;
  for (let round = 0; round < 3000; round++) {
    const document = { data: make(0), k: make(2) };
    const text = JSON.stringify(document, null, below(3));
    const names = [["data"], ["data", "k"], ["data", "data", "k"], ["k", "ä"]][below(4)]!;
    let value: unknown = document;
    for (const name of names)
      value =
        value !== null && typeof value === "object" && !Array.isArray(value) && Object.hasOwn(value, name)
          ? (value as Record<string, unknown>)[name]
          : undefined;
    const expected = value === undefined ? undefined : typeof value === "string" ? value : kindOf(value);
    if (cut(text, ...names) !== expected) wrong++;
    // One byte changed: whoever takes it, both must.
    const bytes = Buffer.from(text);
    bytes[below(bytes.length)] = below(128);
    const takes = (call: () => unknown) => {
      try {
        call();
        return true;
      } catch {
        return false;
      }
    };
    const ours = takes(() => find(bytes, []));
    const theirs = takes(() => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    if (ours !== theirs) damaged++;
  }
  t.equal(wrong, 0);
  t.equal(damaged, 0);
});
