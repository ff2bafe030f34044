import { format, inspect } from "node:util";
import { serialize } from "node:v8";
import { pino } from "pino";
import t from "tap";
import { canonicalJson } from "../../src/core/canonical.ts";
import { Secret, wipeAll } from "../../src/core/secret.ts";
import { secretFault } from "../../src/core/secret-value.ts";
import { keyCopy } from "../../src/keys/memory.ts";

const VALUE = "hunter2-hunter2";
const make = () => new Secret(keyCopy(Buffer.from(VALUE)));

t.test("no accident turns a secret into text", (t) => {
  const secret = make();
  const logged: string[] = [];
  pino({}, { write: (line: string) => logged.push(line) }).info(
    { secret, nested: [secret] },
    "%s %o %j",
    secret,
    secret,
    secret,
  );
  const ways: Record<string, () => unknown> = {
    "a template": () => `${secret}`,
    concat: () => "".concat(secret as unknown as string),
    String: () => String(secret),
    "JSON.stringify": () => JSON.stringify({ secret, list: [secret] }),
    inspect: () => inspect(secret, { depth: 10, showHidden: true, getters: true }),
    "inspect, without custom functions": () => inspect(secret, { customInspect: false, showHidden: true }),
    format: () => format("%s %o %O %j %d", secret, secret, secret, secret, secret),
    "an error's cause": () => inspect(new Error("x", { cause: secret })),
    "a spread": () => inspect({ ...secret }),
    "the spread's JSON": () => JSON.stringify({ ...secret }),
    entries: () => JSON.stringify(Object.entries(secret)),
    keys: () => JSON.stringify(Reflect.ownKeys(secret)),
    assign: () => JSON.stringify(Object.assign({}, secret)),
    structuredClone: () => inspect(structuredClone({ secret }), { showHidden: true }),
    "v8.serialize": () => Buffer.from(serialize(secret)).toString("latin1"),
    "for in": () => {
      const seen: unknown[] = [];
      for (const key in secret) seen.push(Reflect.get(secret, key));
      return inspect(seen);
    },
    Buffer: () => {
      try {
        return Buffer.from(secret as unknown as string).toString();
      } catch {
        return "";
      }
    },
    pino: () => logged.join(""),
  };
  for (const [way, show] of Object.entries(ways)) t.notMatch(String(show()), /hunter2/, way);
  t.throws(() => canonicalJson({ secret }), /no canonical form/, "the log takes none");
  t.end();
});

t.test("its bytes are lent until they are wiped", (t) => {
  const bytes = keyCopy(Buffer.from(VALUE));
  const secret = new Secret(bytes);
  t.equal(
    secret.use((lent) => Buffer.from(lent).toString()),
    VALUE,
  );
  wipeAll([secret]);
  t.same(bytes, Buffer.alloc(VALUE.length));
  t.throws(() => secret.use(() => 0), { code: "internal" });
  secret.wipe();
  t.throws(() => new Secret(Buffer.from(VALUE)), { code: "internal" }, "not in the pool that others share");
  t.throws(() => new Secret(keyCopy(Buffer.from(VALUE)).subarray(1)), { code: "internal" });
  t.throws(() => Object.assign(secret, { shown: VALUE }), TypeError, "nothing can be hung on it");
  t.end();
});

t.test("what can't be one", (t) => {
  for (const value of ["", "abc", "true", "NULL", "Password"])
    t.type(secretFault(Buffer.from(value)), "string", value);
  t.type(secretFault(Buffer.alloc(65_537, 0x61)), "string");
  for (const value of ["abcq", VALUE, "\0\0\x01\xff"])
    t.equal(secretFault(Buffer.from(value, "latin1")), null);
  t.end();
});
