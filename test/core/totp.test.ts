import t from "tap";
import {
  codeAt,
  digitsOf,
  enrolmentText,
  lastTaken,
  matchingStep,
  startOf,
  stepAt,
} from "../../src/core/totp.ts";

const SEED = Buffer.from("12345678901234567890", "latin1");

/** RFC 6238 appendix B, SHA-1: eight digits, of which six are the last six. */
const VECTORS: readonly [seconds: number, step: number, code: string][] = [
  [59, 0x1, "94287082"],
  [1111111109, 0x23523ec, "07081804"],
  [1111111111, 0x23523ed, "14050471"],
  [1234567890, 0x273ef07, "89005924"],
  [2000000000, 0x3f940aa, "69279037"],
  [20000000000, 0x27bc86aa, "65353130"],
];

t.test("RFC 6238, appendix B", async (t) => {
  for (const [seconds, step, code] of VECTORS) {
    t.equal(stepAt(seconds * 1000), step, `${seconds} s`);
    t.equal(codeAt(SEED, step), code.slice(2), `the code at ${seconds} s`);
    t.equal(matchingStep(SEED, code.slice(2), step), step);
  }
});

t.test("RFC 4226, appendix D", async (t) => {
  const codes = [
    "755224",
    "287082",
    "359152",
    "969429",
    "338314",
    "254676",
    "287922",
    "162583",
    "399871",
    "520489",
  ];
  for (const [i, code] of codes.entries()) t.equal(codeAt(SEED, i), code);
});

t.test("one step either way, no more", async (t) => {
  const step = 0x273ef07;
  for (const [by, expected] of [
    [-2, null],
    [-1, step - 1],
    [0, step],
    [1, step + 1],
    [2, null],
  ] as const)
    t.equal(matchingStep(SEED, codeAt(SEED, step + by), step), expected, `${by}`);
  t.equal(lastTaken(step), step + 1);
  t.equal(stepAt(startOf(step)), step);
  t.equal(stepAt(startOf(step) - 1), step - 1);
});

t.test("at the beginning of time", async (t) => {
  t.equal(matchingStep(SEED, codeAt(SEED, 0), 0), 0);
  t.equal(matchingStep(SEED, codeAt(SEED, 1), 0), 1);
});

t.test("six digits and nothing like them", async (t) => {
  t.equal(digitsOf("123456"), "123456");
  t.equal(digitsOf(" 123 456 "), "123456", "as apps show it");
  for (const bad of [
    "",
    "12345",
    "1234567",
    "12345a",
    "１２３４５６",
    "١٢٣٤٥٦",
    "123456\n",
    "+12345",
    "1e5",
    "0x1234",
  ])
    t.equal(digitsOf(bad), null, JSON.stringify(bad));
});

t.test("what the authenticator is given", async (t) => {
  const { uri, base32 } = enrolmentText(SEED, { issuer: "sallyport", label: "erin@web" });
  t.equal(
    base32,
    "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
    "RFC 4648, as authenticators' own documentation has it",
  );
  const url = new URL(uri);
  t.equal(url.protocol, "otpauth:");
  t.equal(url.host, "totp");
  t.same(Object.fromEntries(url.searchParams), { secret: base32, issuer: "sallyport" });
  t.match(decodeURIComponent(url.pathname), /erin@web$/);
});
