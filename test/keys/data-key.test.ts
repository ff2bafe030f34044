import { randomBytes } from "node:crypto";
import t from "tap";
import { newDataKey, openValue, sealValue, withDataKey } from "../../src/keys/data-key.ts";
import { OpenFailed, SEAL_OVERHEAD } from "../../src/keys/envelope.ts";
import { randomKey } from "../../src/keys/memory.ts";

const VALUE = Buffer.from("the value of a secret");
const wrapping = randomKey();
const web = newDataKey(wrapping, "web");
const place = { namespace: "web", name: "TOKEN", number: 3, keyId: web.id };

t.test("a value opens where it was sealed, and nowhere else", (t) => {
  const sealed = sealValue(web.key, VALUE, place);
  t.equal(sealed.length, VALUE.length + SEAL_OVERHEAD);
  t.notOk(sealed.includes(VALUE));
  t.same(openValue(web.key, sealed, place), VALUE);
  const moved = {
    namespace: { ...place, namespace: "db" },
    name: { ...place, name: "TOKEN2" },
    version: { ...place, number: 4 },
    "key id": { ...place, keyId: newDataKey(wrapping, "web").id },
    "the border between two fields": { ...place, namespace: "we", name: "bTOKEN" },
  };
  for (const [what, elsewhere] of Object.entries(moved))
    t.throws(() => openValue(web.key, sealed, elsewhere), OpenFailed, `another ${what}`);
  t.throws(() => openValue(randomKey(), sealed, place), OpenFailed, "another key");
  for (const at of [0, 12, sealed.length - 1]) {
    const changed = Buffer.from(sealed);
    changed[at]! ^= 1;
    t.throws(() => openValue(web.key, changed, place), OpenFailed, `byte ${at} changed`);
  }
  t.throws(() => openValue(web.key, sealed.subarray(0, -1), place), OpenFailed);
  t.throws(() => openValue(web.key, Buffer.alloc(0), place), OpenFailed);
  t.end();
});

t.test("a wrapped key opens under its own id and namespace, and is wiped after its use", (t) => {
  const { id, namespace, wrapped } = web;
  let lent: Buffer | undefined;
  const first = withDataKey(wrapping, web, (key) => {
    lent = key;
    return key.equals(web.key);
  });
  t.ok(first);
  t.same(lent, Buffer.alloc(32), "wiped");
  t.throws(
    () =>
      withDataKey(wrapping, web, (key) => {
        lent = key;
        throw new Error("in use");
      }),
    /in use/,
  );
  t.same(lent, Buffer.alloc(32), "also when its use fails");
  const use = () => t.fail("it opened");
  t.throws(() => withDataKey(wrapping, { id, namespace: "db", wrapped }, use), OpenFailed);
  t.throws(
    () => withDataKey(wrapping, { id: randomBytes(16).toString("hex"), namespace, wrapped }, use),
    OpenFailed,
  );
  t.throws(() => withDataKey(randomKey(), web, use), OpenFailed, "under another root");
  t.end();
});
