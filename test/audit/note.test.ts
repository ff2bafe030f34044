import t from "tap";
import { checkpointText, openCheckpoint, parseCheckpointText } from "../../src/audit/checkpoint.ts";
import { parseVkey, signerFromSeed, signNote, verifyNote } from "../../src/audit/note.ts";

/** The example of Go's golang.org/x/mod/sumdb/note. */
const SEED = Buffer.from("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz", "base64").subarray(1);
const VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const TEXT =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const NOTE = `${TEXT}\n\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n`;

const log = signerFromSeed("sallyport.example/log", Buffer.alloc(32, 1));
const other = signerFromSeed("sallyport.example/log", Buffer.alloc(32, 2));
const witness = signerFromSeed("witness.example/w1", Buffer.alloc(32, 3));
const STATE = { origin: log.name, size: 7, root: Buffer.alloc(32, 9) };

t.test("the example of Go's sumdb/note, byte for byte", async (t) => {
  const signer = signerFromSeed("PeterNeumann", SEED);
  t.equal(signer.vkey, VKEY);
  t.equal(signer.keyId.toString("hex"), "c74f20a3");
  t.equal(signNote(TEXT, [signer]), NOTE);
  t.same(verifyNote(NOTE, [VKEY]), { text: TEXT, verified: ["PeterNeumann"] });
  t.same(verifyNote(Buffer.from(NOTE), [VKEY]).text, TEXT);
});

t.test("every changed character of a note is found", async (t) => {
  const note = signNote(checkpointText(STATE), [log]);
  const bytes = Buffer.from(note);
  for (let i = 0; i < bytes.length; i++) {
    for (const bit of [1, 0x20]) {
      const changed = Buffer.from(bytes);
      changed[i]! ^= bit;
      t.throws(() => verifyNote(changed, [log.vkey]), { code: "log_damaged" }, `byte ${i}`);
    }
    t.throws(() => verifyNote(bytes.subarray(0, i), [log.vkey]), { code: "log_damaged" }, `cut to ${i}`);
  }
});

t.test("a second signature line: a witness, an unknown key, a forged line of a known key", async (t) => {
  const text = checkpointText(STATE);
  const both = signNote(text, [log, witness]);
  t.same(verifyNote(both, [log.vkey, witness.vkey]).verified, [log.name, witness.name]);
  t.same(verifyNote(both, [log.vkey]).verified, [log.name], "unknown keys are passed over");
  t.throws(() => verifyNote(both, [other.vkey]), { code: "log_damaged", detail: /No known key/ });
  t.throws(() => verifyNote(both, []), { code: "log_damaged" });
  const [, ...lines] = signNote("other text\n", [witness]).split("\n\n");
  const forged = `${signNote(text, [log])}${lines.join("")}`;
  t.throws(() => verifyNote(forged, [log.vkey, witness.vkey]), {
    code: "log_damaged",
    detail: /w1 is wrong/,
  });
  t.same(verifyNote(forged, [log.vkey]).verified, [log.name]);
});

t.test("malformed notes", async (t) => {
  const good = signNote("text\n", [log]);
  const line = good.slice(6);
  for (const bad of [
    "",
    "\n",
    "text",
    "text\n",
    "text\n\n",
    `text${line}`,
    `text\n${line}`,
    good.slice(0, -1),
    good.replace("\u2014", "-"),
    good.replace("\u2014 ", "\u2014"),
    good.replace("\u2014 ", "\u2014  "),
    `${good}x`,
    good.replace("text", "te\u0001xt"),
    good.replace("text", "te\txt"),
    good.replace(/=*\n$/, "!\n"),
    `text\n\n\u2014 ${log.name} AAAA\n`,
    "x".repeat(70_000),
    `text\n\n${line.slice(1).repeat(101)}`,
  ])
    t.throws(() => verifyNote(bad, [log.vkey]), { code: "log_damaged" }, JSON.stringify(bad.slice(0, 30)));
  t.throws(() => verifyNote(Buffer.concat([Buffer.from([0xff]), Buffer.from(good)]), [log.vkey]), {
    code: "log_damaged",
  });
  t.equal(
    verifyNote(signNote("a\n\nb\n", [log]), [log.vkey]).text,
    "a\n\nb\n",
    "a text may hold blank lines",
  );
  t.throws(() => signNote("no newline", [log]), { code: "internal" });
  for (const name of ["", "with blank", "with+plus", "with\nnewline"])
    t.throws(() => signerFromSeed(name, SEED), { code: "input_invalid" }, JSON.stringify(name));
});

t.test("verifier keys", async (t) => {
  t.equal(parseVkey(`${VKEY}\n`).name, "PeterNeumann");
  for (const bad of [
    "",
    "PeterNeumann",
    VKEY.replace("c74f20a3", "c74f20a4"),
    VKEY.replace("PeterNeumann", "PeterNeumanm"),
    VKEY.replace("ARpc", "ARpd"),
    VKEY.replace("+AR", "+Ar"),
    VKEY.slice(0, -1),
    `${VKEY}A`,
    VKEY.replace("+ARpc", "+AhpC"),
  ])
    t.throws(() => parseVkey(bad), { code: "log_damaged" }, bad.slice(0, 40));
});

t.test("checkpoints", async (t) => {
  const text = checkpointText(STATE);
  t.equal(text, `sallyport.example/log\n7\n${Buffer.alloc(32, 9).toString("base64")}\n`);
  t.same(parseCheckpointText(text), STATE);
  const note = signNote(text, [log]);
  t.same(openCheckpoint(note, log.name, [log.vkey]), STATE);
  t.throws(() => openCheckpoint(note, "another/log", [log.vkey]), {
    code: "log_damaged",
    detail: /another log/,
  });
  t.throws(() => openCheckpoint(note, log.name, [other.vkey]), { code: "log_damaged" });
  const onlyWitness = signNote(text, [witness]);
  t.throws(() => openCheckpoint(onlyWitness, log.name, [log.vkey, witness.vkey]), {
    detail: /own key/,
    code: "log_damaged",
  });
  const root = STATE.root.toString("base64");
  for (const bad of [
    `\n7\n${root}\n`,
    `o\n07\n${root}\n`,
    `o\n-7\n${root}\n`,
    `o\n7.0\n${root}\n`,
    `o\n99999999999999999\n${root}\n`,
    `o\n7\n${root}`,
    `o\n7\n${root}\nextension\n`,
    `o\n7\n${root.slice(4)}\n`,
    `o\n7\n${root.replace("k=", "l=")}\n`,
  ])
    t.throws(() => parseCheckpointText(bad), { code: "log_damaged" }, JSON.stringify(bad.slice(0, 20)));
  t.throws(() => checkpointText({ ...STATE, origin: "a b" }), { code: "input_invalid" });
  t.throws(() => checkpointText({ ...STATE, size: -1 }), { code: "internal" });
});
