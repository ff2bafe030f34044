import t from "tap";
import { cleanText, truncateBytes, truncateGraphemes, utf8 } from "../../src/core/text.ts";
import { generator } from "./random.ts";

const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u200b\u200e\u200f\ufeff]/u;

t.test("what drives a terminal or reorders a line is shown, not done", async (t) => {
  const cases: [string, string][] = [
    ["plain – é 漢 👩‍👩‍👧 ❤️", "plain – é 漢 👩‍👩‍👧 ❤️"],
    ["\u001b[31mred\u001b[0m", "␛[31mred␛[0m"],
    ["\u001b]0;title\u0007", "␛]0;title␇"],
    ["\u009b2J", "\\u{9b}2J"],
    ["a\rb\bc\u007f", "a␍b␈c␡"],
    ["a\tb\nc", "a␉b␊c"],
    ["safe\u202egnp.exe", "safe\\u{202e}gnp.exe"],
    ["\u2066x\u2069", "\\u{2066}x\\u{2069}"],
    ["a\u200bb\ufeff", "a\\u{200b}b\\u{feff}"],
    ["a\u2028b", "a\\u{2028}b"],
    ["\u{e0041}", "\\u{e0041}"],
    ["\ud800x", "\\u{d800}x"],
    ["\0", "␀"],
  ];
  for (const [text, expected] of cases) t.equal(cleanText(text), expected, expected);
  for (const range of ["1d173-1d17a", "1bca0-1bca3", "13430-1343f", "2800-2800", "180b-180f", "2060-206f"]) {
    const [from = 0, to = 0] = range.split("-").map((hex) => Number.parseInt(hex, 16));
    for (let code = from; code <= to; code++)
      t.equal(cleanText(`a${String.fromCodePoint(code)}b`), `a\\u{${code.toString(16)}}b`);
  }
  t.equal(cleanText("a\r\nb\tc\rd\u001b", { newlines: true }), "a\nb\tc␍d␛");
});

t.test("bytes that are not UTF-8", async (t) => {
  t.equal(utf8(Buffer.from([0x61, 0xff, 0xc3])), "a\ufffd\ufffd");
  t.equal(utf8(Buffer.from([0xef, 0xbb, 0xbf, 0x61])), "\ufeffa");
});

t.test("cut by bytes", async (t) => {
  t.equal(truncateBytes("hello", 5), "hello");
  t.equal(truncateBytes("hello!", 5), "he…");
  t.equal(truncateBytes("ééé", 6), "ééé");
  t.equal(truncateBytes("éééé", 6), "é…");
  t.equal(truncateBytes("💥💥", 7), "💥…");
  t.equal(truncateBytes("💥💥", 6), "…");
  t.equal(truncateBytes("abc", 2), "");
  t.equal(truncateBytes("abcdef", 4, ""), "abcd");
});

t.test("cut by graphemes", async (t) => {
  const family = "👩‍👩‍👧";
  t.equal(truncateGraphemes(family.repeat(3), 3), family.repeat(3));
  t.equal(truncateGraphemes(family.repeat(4), 3), `${family.repeat(2)}…`);
  t.equal(truncateGraphemes("abc", 0), "");
  const zalgo = `a${"\u0301".repeat(100_000)}`;
  t.ok(truncateGraphemes(zalgo, 10).length <= 160, "one grapheme can't be endless");
});

t.test(
  "3000 random texts: bounds hold, nothing unsafe is left, cleaning twice changes nothing",
  async (t) => {
    const { next } = generator(5);
    for (let round = 0; round < 3000; round++) {
      let text = "";
      for (let i = next(40); i > 0; i--)
        text += String.fromCharCode(next(3) === 0 ? next(0x10000) : next(0x100));
      const clean = cleanText(text);
      const max = next(60);
      if (UNSAFE.test(clean) || !clean.isWellFormed() || cleanText(clean) !== clean)
        t.fail(JSON.stringify(text));
      const cut = truncateBytes(clean, max);
      if (Buffer.byteLength(cut) > max || !cut.isWellFormed()) t.fail(`bytes ${max} ${JSON.stringify(text)}`);
      const graphemes = [...new Intl.Segmenter("en").segment(truncateGraphemes(clean, max))].length;
      if (graphemes > Math.max(max, 0)) t.fail(`graphemes ${max} ${JSON.stringify(text)}`);
    }
    t.pass("all held");
  },
);
