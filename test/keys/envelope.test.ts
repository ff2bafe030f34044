import { createHmac, randomBytes } from "node:crypto";
import t from "tap";
import { lengthPrefixed } from "../../src/core/canonical.ts";
import {
  LABELS,
  type Label,
  logMac,
  OpenFailed,
  open,
  SEAL_OVERHEAD,
  seal,
  subkey,
} from "../../src/keys/envelope.ts";
import { keyBuffer, keyCopy, randomKey, wipe } from "../../src/keys/memory.ts";

t.test("a sub-key is HKDF-SHA-256 (RFC 5869), computed here by hand", async (t) => {
  const root = randomKey();
  const prk = createHmac("sha256", Buffer.alloc(32)).update(root).digest();
  const info = lengthPrefixed([LABELS.database, "context"]);
  const okm = createHmac("sha256", prk)
    .update(Buffer.concat([info, Buffer.from([1])]))
    .digest();
  t.same(subkey(root, "database", ["context"]), okm);
});

t.test("no two uses share a key", async (t) => {
  const root = randomKey();
  const labels = Object.keys(LABELS) as Label[];
  t.equal(new Set(labels.map((label) => subkey(root, label).toString("hex"))).size, labels.length);
  t.notSame(subkey(root, "dataKeyWrap", ["ab", "c"]), subkey(root, "dataKeyWrap", ["a", "bc"]));
  t.notSame(subkey(root, "database"), subkey(randomKey(), "database"));
});

t.test("sealed bytes open only with the same key and the same fields", async (t) => {
  const key = randomKey();
  const plain = Buffer.from("attack at dawn");
  const aad = ["secret", "web", "DEPLOY_KEY", "1"];
  const sealed = seal(key, plain, aad);
  t.equal(sealed.length, plain.length + SEAL_OVERHEAD);
  t.same(open(key, sealed, aad), plain);
  t.same(open(key, seal(key, Buffer.alloc(0), []), []), Buffer.alloc(0));
  t.throws(() => open(randomKey(), sealed, aad), OpenFailed);
  for (const other of [
    ["secret", "db", "DEPLOY_KEY", "1"],
    ["secret", "we", "bDEPLOY_KEY", "1"],
    ["secret", "web", "DEPLOY_KEY", "2"],
    ["secret", "web", "DEPLOY_KEY"],
  ])
    t.throws(() => open(key, sealed, other), OpenFailed, other.join("/"));
  t.notSame(seal(key, plain, aad), sealed, "a fresh nonce each time");
});

t.test("every flipped bit and every cut is found", async (t) => {
  const key = randomKey();
  const sealed = seal(key, Buffer.from("x".repeat(20)), ["a"]);
  for (let i = 0; i < sealed.length; i++) {
    const changed = Buffer.from(sealed);
    changed[i]! ^= 1 << (i % 8);
    t.throws(() => open(key, changed, ["a"]), OpenFailed, `byte ${i}`);
    t.throws(() => open(key, sealed.subarray(0, i), ["a"]), OpenFailed, `cut to ${i}`);
  }
});

t.test("keys live in memory of their own and are wiped", async (t) => {
  for (const key of [keyBuffer(32), randomKey(), keyCopy(randomBytes(8)), subkey(randomKey(), "log")])
    t.equal(key.buffer.byteLength, key.length, "not in Node's shared pool");
  const key = randomKey();
  wipe(key, undefined);
  t.same(key, Buffer.alloc(32));
});

t.test("a value in the log is a MAC, equal for equal values under one key", async (t) => {
  const key = randomKey();
  t.equal(logMac(key, "v"), createHmac("sha256", key).update("v").digest("base64url"));
  t.not(logMac(key, "v"), logMac(randomKey(), "v"));
});
