import t from "tap";
import { isSecretInside, secretFault } from "../../src/core/secret-value.ts";

const fault = (text: string) => secretFault(Buffer.from(text));

t.test("what can be kept out of output is taken", async (t) => {
  for (const text of [
    "k9!x",
    "hunter2",
    "correct horse",
    "ababab1",
    "8f3k\n",
    "päss",
    "a\nb\nc\nd",
    "12345679",
  ])
    t.equal(fault(text), null, text);
  t.equal(secretFault(Buffer.from([0, 255, 0, 254])), null);
  t.equal(secretFault(Buffer.alloc(65536, "xyz")), null);
});

t.test("what is short, common or repeated is refused, and not quoted", async (t) => {
  const cases: [string, RegExp][] = [
    ["", /empty/],
    ["\n\r\n", /empty/],
    ["abc", /shorter than 4/],
    ["k9!\n", /shorter than 4/],
    ["true", /common/],
    ["TRUE\n", /common/],
    ["localhost", /common/],
    ["123456", /common/],
    ["    ", /common/],
    ["--------", /common/],
    ["-=-=-=-=-=", /common/],
    ["x".repeat(65537), /longer than 64 KiB/],
  ];
  for (const [text, why] of cases) {
    t.match(fault(text), why, JSON.stringify(text.slice(0, 20)));
    if (text.length > 4) t.notOk(fault(text)?.includes(text.trim() || "\u0000"), "not quoted");
  }
});

t.test("inside another value, what is short or common is no pattern", async (t) => {
  const inside = (text: string) => isSecretInside(Buffer.from(text));
  for (const text of ["secret-1", "postgres!"]) t.ok(inside(text), text);
  for (const text of ["}", "true", "root", "5432", "admin", "postgres", "-----BEGIN RSA PRIVATE KEY-----"])
    t.notOk(inside(text), text);
});
