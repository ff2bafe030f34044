import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { parseKeyring, serializeKeyring } from "../../src/keys/document.ts";
import { FLOOR, Kdf } from "../../src/keys/kdf.ts";
import {
  addSlot,
  createKeyring,
  openKeyring,
  readSlots,
  removeSlot,
  replaceRecovery,
} from "../../src/keys/keyring.ts";
import { randomKey } from "../../src/keys/memory.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const dir = mkdtempSync(join(tmpdir(), "keyring-"));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));
const kdf = new Kdf({ queue: 20 });
const ADA = Buffer.from("ada's long passphrase");
const BOB = Buffer.from("bob's long passphrase");
const pass = (passphrase: Buffer, slot?: string) => ({ kind: "passphrase", passphrase, slot }) as const;
const make = (file: string, name = "ada", passphrase = ADA) =>
  createKeyring({ file, name, passphrase, kdf, params: FLOOR });
const keep = (name: string, bytes: Buffer): string => {
  const file = join(dir, name);
  writeFileSync(file, bytes);
  return file;
};

const base = join(dir, "base.json");
const made = await make(base);
const pristine = readFileSync(base);

t.test("init makes one file of mode 0600, opened by passphrase and by recovery code", async (t) => {
  t.equal(statSync(base).mode & 0o777, 0o600);
  t.same(readdirSync(dir), ["base.json"], "no temporary file stays");
  t.ok(pristine.length < 2048, `${pristine.length} bytes`);
  const byPass = await openKeyring({ file: base, kdf, with: pass(ADA) });
  t.same(byPass.root, made.root);
  t.match(byPass.slot, { name: "ada", kind: "passphrase" });
  const byCode = await openKeyring({ file: base, kdf, with: { kind: "recovery", code: made.recoveryCode } });
  t.same(byCode.root, made.root);
  t.equal(byCode.id, made.id);
  t.same(
    readSlots(base).slots.map((slot) => slot.kind),
    ["passphrase", "recovery"],
  );
  for (const secret of [made.root, ADA, made.recoveryCode])
    for (const form of ["hex", "base64", "latin1"] as const)
      t.notOk(pristine.includes(secret.toString(form)), "nothing of the keys is in the file");
});

t.test("an existing file is never replaced by init", async (t) => {
  await t.rejects(make(base, "eve", BOB), { code: "already_initialized" });
  t.same(readFileSync(base), pristine);
});

t.test("a wrong passphrase and a wrong code open nothing; a mistyped code says so", async (t) => {
  await t.rejects(openKeyring({ file: base, kdf, with: pass(BOB) }), { code: "unlock_failed" });
  await t.rejects(openKeyring({ file: base, kdf, with: pass(Buffer.alloc(0)) }), { code: "unlock_failed" });
  await t.rejects(openKeyring({ file: base, kdf, with: pass(ADA, "nobody") }), { code: "not_found" });
  const other = await make(join(dir, "other.json"));
  const wrong = { kind: "recovery", code: other.recoveryCode } as const;
  await t.rejects(openKeyring({ file: base, kdf, with: wrong }), { code: "unlock_failed" });
  const typo = Buffer.from(made.recoveryCode);
  typo[0] = typo[0] === 0x37 ? 0x38 : 0x37;
  await t.rejects(openKeyring({ file: base, kdf, with: { kind: "recovery", code: typo } }), {
    code: "input_invalid",
    detail: /group 1/,
  });
});

t.test("weak passphrases, bad names and weak parameters make no file", async (t) => {
  const file = join(dir, "none.json");
  const bad = { file, name: "ada", passphrase: ADA, kdf, params: FLOOR };
  await t.rejects(createKeyring({ ...bad, passphrase: Buffer.from("short") }), { code: "input_invalid" });
  await t.rejects(createKeyring({ ...bad, name: "a\u0007" }), { code: "input_invalid" });
  await t.rejects(createKeyring({ ...bad, name: "recovery" }), { code: "input_invalid" });
  await t.rejects(createKeyring({ ...bad, params: { m: 8, t: 1, p: 1 } }), { code: "input_invalid" });
  t.throws(() => readSlots(file), { code: "not_initialized" });
});

t.test("slots are added, opened by name, removed; the last passphrase slot stays", async (t) => {
  const file = keep("slots.json", pristine);
  const { root } = made;
  const bob = await addSlot({ file, root, kdf, params: FLOOR, name: "bob", passphrase: BOB });
  t.same((await openKeyring({ file, kdf, with: pass(BOB) })).slot, bob);
  t.same((await openKeyring({ file, kdf, with: pass(BOB, bob.id) })).root, root);
  await t.rejects(openKeyring({ file, kdf, with: pass(BOB, "ada") }), { code: "unlock_failed" });
  await t.rejects(addSlot({ file, root, kdf, params: FLOOR, name: "bob", passphrase: BOB }), {
    code: "conflict",
  });
  t.equal(removeSlot({ file, root, slot: "ada" }).name, "ada");
  await t.rejects(openKeyring({ file, kdf, with: pass(ADA) }), { code: "unlock_failed" });
  t.throws(() => removeSlot({ file, root, slot: "bob" }), { code: "conflict" });
  t.throws(() => removeSlot({ file, root, slot: "ada" }), { code: "not_found" });
  const fresh = replaceRecovery({ file, root });
  await t.rejects(openKeyring({ file, kdf, with: { kind: "recovery", code: made.recoveryCode } }), {
    code: "unlock_failed",
  });
  t.same((await openKeyring({ file, kdf, with: { kind: "recovery", code: fresh.code } })).root, root);
  t.throws(() => removeSlot({ file, root: randomKey(), slot: "recovery" }), { code: "keyring_damaged" });
});

t.test("any flipped bit and any cut of the file is damage, never a wrong passphrase", async (t) => {
  for (let i = 0; i < pristine.length; i++) {
    const bytes = Buffer.from(pristine);
    bytes[i]! ^= 1 << (i % 7);
    t.throws(
      () => parseKeyring(bytes),
      { code: "keyring_damaged", detail: /Restore keyring.json/ },
      `byte ${i}`,
    );
  }
  for (let length = 0; length < pristine.length - 2; length += 7)
    t.throws(
      () => parseKeyring(pristine.subarray(0, length)),
      { code: "keyring_damaged" },
      `cut to ${length}`,
    );
});

t.test("strict: unknown keys, too many slots, too large, a link, a directory", async (t) => {
  const json = JSON.parse(pristine.toString());
  const refuse = (value: unknown, name: string) =>
    t.throws(() => parseKeyring(Buffer.from(JSON.stringify(value))), { code: "keyring_damaged" }, name);
  refuse({ ...json, extra: 1 }, "unknown key");
  refuse({ ...json, version: 2 }, "version");
  refuse({ ...json, slots: [] }, "no slot");
  refuse({ ...json, slots: Array(17).fill(json.slots[0]) }, "17 slots");
  refuse([], "array");
  t.throws(() => readSlots(keep("big.json", Buffer.alloc(65 * 1024, 0x20))), {
    code: "keyring_damaged",
    detail: /larger/,
  });
  symlinkSync(base, join(dir, "link.json"));
  t.throws(() => readSlots(join(dir, "link.json")), { code: "keyring_damaged" });
  t.throws(() => readSlots(dir), { code: "keyring_damaged", detail: /not a regular file/ });
});

/** What someone with write access to the file but without the root can do: everything but the MAC. */
function forge(
  change: (slots: Record<string, unknown>[], document: Record<string, unknown>) => void,
): Buffer {
  const json = JSON.parse(pristine.toString());
  change(json.slots, json);
  // Serialized under a wrong root: the checksum is right, the MAC is not.
  return serializeKeyring(json, randomKey());
}

t.test("who can't open the keyring can't change it unseen", async (t) => {
  const other = JSON.parse(readFileSync(join(dir, "other.json")).toString());
  const cases: [string, Buffer, string][] = [
    ["MAC only", forge(() => {}), "keyring_damaged"],
    ["recovery slot dropped", forge((slots) => slots.pop()), "keyring_damaged"],
    [
      "a foreign slot added",
      forge((slots) => slots.push({ ...other.slots[0], name: "eve" })),
      "keyring_damaged",
    ],
    ["slot renamed", forge((slots) => Object.assign(slots[0]!, { name: "eve" })), "unlock_failed"],
    [
      "work lowered to the floor",
      forge((slots) => Object.assign(slots[0]!, { kdf: { name: "argon2id", ...FLOOR, t: 4 } })),
      "unlock_failed",
    ],
    [
      "salts swapped",
      forge(([a, b]) => {
        [a!.salt, b!.salt] = [b!.salt, a!.salt];
      }),
      "unlock_failed",
    ],
    [
      "wrapped roots swapped",
      forge(([a, b]) => {
        [a!.wrapped, b!.wrapped] = [b!.wrapped, a!.wrapped];
      }),
      "unlock_failed",
    ],
    [
      "slots of another keyring",
      forge((_, json) => {
        json.slots = other.slots;
      }),
      "unlock_failed",
    ],
    [
      "id of another keyring",
      forge((_, json) => {
        json.id = other.id;
      }),
      "unlock_failed",
    ],
  ];
  for (const [name, bytes, code] of cases) {
    const file = keep("forged.json", bytes);
    await t.rejects(openKeyring({ file, kdf, with: pass(ADA) }), { code }, name);
  }
});

t.test("attacker-supplied work is refused at the door", async (t) => {
  for (const kdfParams of [
    { m: 2 ** 31, t: 3, p: 4 },
    { m: 65536, t: 1000, p: 4 },
    { m: 65536, t: 3, p: 255 },
    { m: 8, t: 1, p: 1 },
  ]) {
    const bytes = forge((slots) => Object.assign(slots[0]!, { kdf: { name: "argon2id", ...kdfParams } }));
    t.throws(() => parseKeyring(bytes), { code: "keyring_damaged", detail: /slots\.0\.kdf/ });
  }
});
