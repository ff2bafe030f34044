import t from "tap";
import { type Argon2Binding, argon2Binding } from "../../src/keys/argon2.ts";
import { CAP, DEFAULT, FLOOR, fit, Kdf, kdfRefusal } from "../../src/keys/kdf.ts";
import { checkPassphrase } from "../../src/keys/passphrase.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const SALT = Buffer.alloc(16, 7);

t.test("the addon is Argon2id version 1.3: the test vector of RFC 9106 section 5.3", async (t) => {
  const tag = await argon2Binding().hash({
    password: Buffer.alloc(32, 1),
    salt: Buffer.alloc(16, 2),
    secret: Buffer.alloc(8, 3),
    data: Buffer.alloc(12, 4),
    hashLength: 32,
    m: 32,
    t: 3,
    p: 4,
    version: 0x13,
    type: 2,
  });
  t.equal(tag.toString("hex"), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
});

t.test("derives the same key for the same passphrase, salt and cost, another for any other", async (t) => {
  const kdf = new Kdf({ queue: 10 });
  const passphrase = Buffer.from("correct horse battery");
  const first = kdf.derive(passphrase, SALT, FLOOR);
  passphrase.fill(0);
  const again = Buffer.from("correct horse battery");
  const [a, b, c, d] = await Promise.all([
    first,
    kdf.derive(again, SALT, FLOOR),
    kdf.derive(Buffer.from("correct horse batterz"), SALT, FLOOR),
    kdf.derive(again, Buffer.alloc(16, 8), FLOOR),
  ]);
  t.same(a, b, "the caller may wipe the passphrase at once");
  t.notSame(a, c);
  t.notSame(a, d);
  t.equal(a.length, 32);
  t.equal(a.buffer.byteLength, 32);
});

t.test("parameters outside the bounds are refused before any work", async (t) => {
  const never: Argon2Binding = { hash: () => Promise.reject(new Error("ran")) };
  const kdf = new Kdf({ binding: () => never });
  for (const params of [
    { ...FLOOR, m: FLOOR.m - 1 },
    { ...FLOOR, t: 2 },
    { ...FLOOR, p: 0 },
    { ...FLOOR, m: CAP.m + 1 },
    { ...FLOOR, t: CAP.t + 1 },
    { ...FLOOR, p: CAP.p + 1 },
    { ...FLOOR, m: 65536.5 },
    { ...FLOOR, t: Number.NaN },
  ]) {
    t.type(kdfRefusal(params), "string");
    await t.rejects(kdf.derive(Buffer.from("x"), SALT, params), { code: "keyring_damaged" });
  }
  t.equal(kdfRefusal(DEFAULT), null);
  await t.rejects(kdf.derive(Buffer.from("x"), SALT, FLOOR), { code: "internal", detail: /64 MiB/ });
});

t.test("one at a time, a short queue, then slow_down; a failure blocks nobody", async (t) => {
  let running = 0;
  let most = 0;
  let calls = 0;
  const slow: Argon2Binding = {
    hash: async () => {
      running++;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running--;
      if (++calls === 1) throw new Error("first fails");
      return Buffer.alloc(32, 1);
    },
  };
  const kdf = new Kdf({ queue: 2, binding: () => slow });
  const results = await Promise.allSettled(
    [1, 2, 3, 4, 5].map(() => kdf.derive(Buffer.from("x"), SALT, FLOOR)),
  );
  t.same(
    results.map((result) => (result.status === "fulfilled" ? "ok" : result.reason.code)),
    ["internal", "ok", "ok", "slow_down", "slow_down"],
  );
  t.equal(most, 1);
  t.resolves(kdf.derive(Buffer.from("x"), SALT, FLOOR), "the queue is free again");
});

t.test("measure picks about the time asked for, within floor, default and memory", async (t) => {
  const GIB = 1024 * 1024;
  t.same(fit(1000 / (GIB * 4), 1000, 16 * GIB), DEFAULT, "a machine that does the default in a second");
  t.same(fit(1000 / (GIB * 40), 1000, 16 * GIB), DEFAULT, "a faster one does no more than the default");
  t.same(fit(1, 1000, 16 * GIB), FLOOR, "a slow one never less than the floor");
  t.same(fit(1000 / (GIB * 4), 1000, GIB / 2), { m: GIB / 2, t: 8, p: 4 }, "less memory, more passes");
  t.same(fit(1000 / (GIB * 4), 1000, 0), { m: FLOOR.m, t: CAP.t, p: 4 });
  const here = await new Kdf().measure(300);
  t.equal(kdfRefusal(here), null);
});

t.test("a passphrase for a new slot", async (t) => {
  for (const good of ["correct horse battery staple", "zwölf Zeichen!", "пароль-длинный"])
    t.doesNotThrow(() => checkPassphrase(Buffer.from(good)));
  for (const bad of [
    "",
    "elevenchars",
    "aaaaaaaaaaaaaaaaaaaa",
    "two lines\nof text here",
    `x${"abcdefgh".repeat(200)}`,
    "öäüöäü",
  ]) {
    t.throws(
      () => checkPassphrase(Buffer.from(bad)),
      { code: "input_invalid" },
      JSON.stringify(bad.slice(0, 20)),
    );
  }
});
