import { randomBytes } from "node:crypto";
import t from "tap";
import { compileSecrets, createRedactor } from "../../src/exec/redact.ts";

const secret = (name: string, value: string | Uint8Array) => ({ name, value: Buffer.from(value as string) });

function redact(secrets: ReturnType<typeof secret>[], text: string | Buffer, cut = 0): string {
  const redactor = createRedactor(compileSecrets(secrets));
  const bytes = Buffer.from(text as string);
  const out: Buffer[] = [];
  const size = cut === 0 ? Math.max(1, bytes.length) : cut;
  for (let i = 0; i < bytes.length; i += size) out.push(redactor.push(bytes.subarray(i, i + size)));
  out.push(redactor.end());
  return Buffer.concat(out).toString("latin1");
}

const TOKEN = "hunter2/+? pass:wörd&x=1";

t.test("every form of a value is taken out, at every chunk size", async (t) => {
  const value = Buffer.from(TOKEN);
  const forms: Record<string, string> = {
    plain: TOKEN,
    base64: value.toString("base64"),
    base64url: value.toString("base64url"),
    "base64 after one byte": Buffer.concat([Buffer.from("u"), value]).toString("base64"),
    "base64 in a basic header": Buffer.concat([Buffer.from("user:"), value, Buffer.from("!!")]).toString(
      "base64",
    ),
    hex: value.toString("hex"),
    "upper hex": value.toString("hex").toUpperCase(),
    "hex in bytes": value.toString("hex").replace(/../g, "$& "),
    "hex with colons": value.toString("hex").replace(/..(?=.)/g, "$&:"),
    "base64 in lines": value.toString("base64").replace(/.{7}/g, "$&\n"),
    uri: encodeURIComponent(TOKEN),
    "uri lower": encodeURIComponent(TOKEN).replace(/%../g, (s) => s.toLowerCase()),
    form: new URLSearchParams({ k: TOKEN }).toString(),
    json: JSON.stringify({ k: TOKEN }),
    "hex with dashes": value.toString("hex").replace(/..(?=.)/g, "$&-"),
    "hex as a string literal": value.toString("hex").replace(/../g, "\\x$&"),
    "hex as an array": value
      .toString("hex")
      .replace(/..(?=.)/g, "0x$&, ")
      .replace(/..$/, "0x$&"),
    "UTF-16, little endian": Buffer.from(TOKEN, "utf16le").toString("latin1"),
    "UTF-16, big endian": Buffer.from(TOKEN, "utf16le").swap16().toString("latin1"),
    "shell, bare": TOKEN.replace(/[^A-Za-z0-9_@%+=:,./-]/g, "\\$&"),
    xml: TOKEN.replaceAll("&", "&amp;"),
  };
  for (const [name, form] of Object.entries(forms)) {
    for (const cut of [0, 1, 2, 3, 7, 16]) {
      const raw = name.startsWith("UTF-16");
      const text = `before <${form}> after`;
      const out = redact([secret("KEY", TOKEN)], raw ? Buffer.from(text, "latin1") : text, cut);
      t.match(out, /^before <.*\[secret KEY\].*> after$/s, `${name}, chunks of ${cut}`);
      // At most a few characters may stay: those that depend on neighbours too.
      t.ok(out.length < 60, `${name}, chunks of ${cut}: nothing more of it stays: ${JSON.stringify(out)}`);
    }
  }
});

t.test("overlaps, repeats and prefixes", async (t) => {
  t.equal(redact([secret("A", "abqdef"), secret("B", "defghi")], "xabqdefghiy", 1), "x[secret A]y");
  const nested = [secret("A", "abc7"), secret("B", "abc7ef")];
  t.equal(redact(nested, "abc7abc7efab", 1), "[secret A][secret B]ab");
  t.equal(redact([secret("A", "aaxb")], "aaaaxb aaxb", 2), "aa[secret A] [secret A]");
  t.equal(redact([secret("A", "pw12")], "pw12pw12 p"), "[secret A][secret A] p");
  t.equal(redact([secret("A", "s3cret\n")], "s3cret!"), "[secret A]!", "without its final newline");
  t.equal(
    redact([secret("A", "s3cret\n")], "s3cret\nnext", 3),
    "[secret A]\nnext",
    "which stays where it was",
  );
  t.equal(redact([secret("A", "s3cret\n")], Buffer.from("s3cret\n").toString("base64")), "[secret A]==");
});

t.test("a chain of secrets that overlap is one, and is not held until its end", async (t) => {
  const redactor = createRedactor(compileSecrets([secret("A", "abababab.abababab")]));
  const out: string[] = [];
  for (let i = 0; i < 500; i++) out.push(redactor.push(Buffer.from("abababab.")).toString());
  t.ok(out.slice(0, 10).join("").startsWith("[secret A]"));
  out.push(redactor.end().toString());
  t.match(out.join(""), /^\[secret A\]\.?$/);
});

t.test("quotes as a shell and XML write them", async (t) => {
  const value = `it's "a" <b> $x`;
  const forms = [
    `'${value.replaceAll("'", "'\\''")}'`,
    `'${value.replaceAll("'", `'"'"'`)}'`,
    `"${value.replace(/[\\"$`]/g, "\\$&")}"`,
    "it&#39;s &quot;a&quot; &lt;b&gt; $x",
    "it&apos;s &quot;a&quot; &lt;b&gt; $x",
    `it's "a" &lt;b&gt; $x`,
  ];
  for (const form of forms) t.match(redact([secret("KEY", value)], form, 3), /^.?\[secret KEY\].?$/, form);
});

t.test("the values inside a JSON value and a URL are secrets too", async (t) => {
  const json = JSON.stringify(
    { user: "admin", auth: { password: "s3cr3t-pw", n: 1 }, keys: ["first-key"] },
    null,
    2,
  );
  t.equal(redact([secret("J", json)], "pw=s3cr3t-pw first-key admin", 2), "pw=[secret J] [secret J] admin");
  const url = "postgres://deployer:p%40ssw0rd@db.internal/app";
  t.equal(
    redact([secret("U", url)], "p@ssw0rd p%40ssw0rd db.internal", 5),
    "[secret U] [secret U] db.internal",
  );
  t.equal(redact([secret("J", "{not json: abcdefgh}")], "abcdefgh"), "abcdefgh");
});

t.test("a line of a key file alone is a secret", async (t) => {
  const key = `-----BEGIN KEY-----\n${randomBytes(48).toString("base64")}\n${randomBytes(30).toString("base64")}\n-----END KEY-----\n`;
  const line = key.split("\n")[1]!;
  t.equal(redact([secret("KEY", key)], `x ${line} y`, 5), "x [secret KEY] y");
  t.equal(redact([secret("KEY", key)], key, 5), "[secret KEY]\n");
});

t.test("other text passes unchanged, binary too", async (t) => {
  const bytes = randomBytes(200_000);
  for (const cut of [0, 1000, 4093])
    t.equal(redact([secret("KEY", "correct horse battery")], bytes, cut), bytes.toString("latin1"));
});

t.test("what is held back is bounded by the secret, and comes at the end", async (t) => {
  const redactor = createRedactor(compileSecrets([secret("KEY", "abcdefgh")]));
  t.equal(redactor.push(Buffer.from("one abcd")).toString(), "one ");
  t.equal(redactor.push(Buffer.from("x")).toString(), "abcdx");
  t.equal(redactor.push(Buffer.from("abc")).toString(), "");
  t.equal(redactor.end().toString(), "abc");
  const hex = createRedactor(compileSecrets([secret("KEY", "zz/zz/zz")]));
  const first = Buffer.from("zz/zz").toString("hex");
  t.equal(hex.push(Buffer.from(first)).length, 0);
  t.ok(hex.push(Buffer.from(" ".repeat(1000))).length > 900, "a flood of white space is not held");
});

t.test("many secrets of the largest size stay cheap", async (t) => {
  const secrets = Array.from({ length: 4 }, (_, i) => secret(`K${i}`, randomBytes(32 * 1024)));
  const text = Buffer.concat([randomBytes(100_000), secrets[2]!.value, randomBytes(1000)]);
  t.match(redact(secrets, text, 65536), /\[secret K2\]/);
});
