import t from "tap";
import { checkpointText } from "../../src/audit/checkpoint.ts";
import { type AuditEvent, makeEntry } from "../../src/audit/event.ts";
import { rootAt } from "../../src/audit/merkle.ts";
import { type Signer, signerFromSeed, signNote } from "../../src/audit/note.ts";
import { type VerifyInput, verifyLog } from "../../src/audit/verify.ts";
import { flipped, StoredTree } from "./trees.ts";

const signer = signerFromSeed("sallyport.example/log", Buffer.alloc(32, 1));
const other = signerFromSeed(signer.name, Buffer.alloc(32, 2));
const SIZE = 600;
const SIGNED = [0, 1, 2, 255, 256, 257, 400, 599];

const event = (i: number): AuditEvent => ({
  type: "request.received",
  outcome: "success",
  actor: { kind: "system" },
  data: { request: `q-${i}` },
});
const entries = Array.from({ length: SIZE }, (_, i) => makeEntry(event(i)).bytes);
const tree = StoredTree.of(entries);

async function note(size: number, by: Signer = signer, of: StoredTree = tree): Promise<string> {
  return signNote(checkpointText({ origin: signer.name, size, root: await rootAt(size, of.source) }), [by]);
}
const notes = await Promise.all(SIGNED.map((size) => note(size)));
const verify = (change: Partial<VerifyInput>) =>
  verifyLog({ entries, checkpoints: notes, origin: signer.name, vkeys: [signer.vkey], ...change });

t.test("an honest log verifies, with and without stored hashes", async (t) => {
  const good = {
    ok: true,
    size: SIZE,
    root: tree.frontier.root(),
    checkpoints: SIGNED.length,
    signedSize: 599,
  };
  t.same(await verify({}), good);
  t.same(await verify({ nodes: tree.source }), good);
  t.same(await verify({ expect: { size: 300, root: await rootAt(300, tree.source) } }), good);
  const nothing = { ok: true, size: 0, root: tree.frontier.root(), checkpoints: 0, signedSize: 0 };
  t.match(await verify({ entries: [], checkpoints: [] }), { ...nothing, root: Buffer });
});

t.test("changed, dropped, inserted, swapped: found, and named with its place", async (t) => {
  const replacement = makeEntry(event(9999)).bytes;
  const cases: [string, Uint8Array[], number][] = [
    ["first changed", entries.with(0, replacement), 0],
    ["one changed", entries.with(300, replacement), 300],
    ["last signed changed", entries.with(598, replacement), 598],
    ["one dropped", entries.toSpliced(300, 1), 300],
    ["one inserted", entries.toSpliced(300, 0, replacement), 300],
    ["two swapped", entries.with(300, entries[301]!).with(301, entries[300]!), 300],
    ["far swap", entries.with(10, entries[500]!).with(500, entries[10]!), 10],
  ];
  for (const [name, changed, at] of cases) {
    const exact = await verify({ entries: changed, nodes: tree.source });
    t.match(exact, { ok: false, at: { entry: at } }, `${name}: exact with stored hashes`);
    const ranged = await verify({ entries: changed });
    if (ranged.ok) t.fail(name);
    else
      t.ok(
        ranged.at.entry! <= at && at <= ranged.at.upTo!,
        `${name}: ${ranged.at.entry} to ${ranged.at.upTo}`,
      );
  }
});

t.test("whoever changes entry and hashes is still caught by the checkpoints", async (t) => {
  const changed = entries.with(300, makeEntry(event(9999)).bytes);
  const forged = StoredTree.of(changed);
  t.match(await verify({ entries: changed, nodes: forged.source }), {
    ok: false,
    at: { entry: 257, upTo: 399, checkpoint: 400 },
  });
  const resigned = await Promise.all(SIGNED.map((size) => note(size, other, forged)));
  t.match(await verify({ entries: changed, checkpoints: resigned }), { ok: false, what: /No known key/ });
  const after = await Promise.all(SIGNED.map((size) => note(size, signer, size < 400 ? tree : forged)));
  t.match(
    await verify({
      entries: changed,
      checkpoints: after,
      expect: { size: 400, root: await rootAt(400, tree.source) },
    }),
    {
      ok: false,
      at: { checkpoint: 400 },
      what: /known from elsewhere/,
    },
  );
});

t.test("a log that was cut or rolled back", async (t) => {
  t.match(await verify({ entries: entries.slice(0, 598) }), {
    ok: false,
    at: { entry: 598, checkpoint: 599 },
    what: /ends after 598/,
  });
  t.match(await verify({ entries: [] }), { ok: false, at: { entry: 0 } });
  const rolledBack = { entries: entries.slice(0, 400), checkpoints: notes.slice(0, 7) };
  t.match(await verify(rolledBack), { ok: true, size: 400 }, "alone, an old copy looks whole");
  const known = { size: 599, root: await rootAt(599, tree.source) };
  t.match(
    await verify({ ...rolledBack, expect: known }),
    { ok: false, what: /older copy/ },
    "a later checkpoint shows it",
  );
});

t.test("bad entries, checkpoints and stored hashes", async (t) => {
  t.match(await verify({ entries: entries.with(5, Buffer.from("{}")) }), {
    ok: false,
    at: { entry: 5 },
    what: /malformed/,
  });
  const spaced = Buffer.from(entries[5]!.toString().replace("{", "{ "));
  t.match(await verify({ entries: entries.with(5, spaced) }), {
    ok: false,
    at: { entry: 5 },
    what: /canonical/,
  });
  t.match(await verify({ checkpoints: notes.with(3, notes[3]!.replace("255", "254")) }), {
    ok: false,
    at: { checkpoint: 254 },
  });
  t.match(await verify({ checkpoints: [notes[4]!, notes[3]!] }), {
    ok: false,
    at: { checkpoint: 255 },
    what: /came after/,
  });
  const fork = await note(400, signer, StoredTree.of(entries.with(0, makeEntry(event(1)).bytes)));
  t.match(await verify({ checkpoints: [notes[6]!, fork] }), {
    ok: false,
    at: { checkpoint: 400 },
    what: /forked/,
  });
  t.match(await verify({ origin: "other/log" }), { ok: false, what: /another log/ });
  t.match(await verify({ checkpoints: ["", ...notes] }), { ok: false, at: { checkpoint: 0 } });
  t.match(
    await verify({ checkpoints: [...notes, notes[7]!] }),
    { ok: true },
    "the same one twice is no harm",
  );
  const damaged = async (nodes: Parameters<typeof tree.source>[0]) =>
    (await tree.source(nodes)).map((hash, i) =>
      nodes[i]!.level === 3 && nodes[i]!.index === 2 ? flipped(hash) : hash,
    );
  t.match(await verify({ nodes: damaged }), {
    ok: false,
    at: { entry: 16, upTo: 23 },
    what: /stored tree hash/,
  });
  await t.rejects(verify({ vkeys: ["nonsense"] }), { code: "log_damaged" });
});

t.test("streams: memory for one batch, whatever the length", async (t) => {
  let alive = 0;
  let most = 0;
  async function* counted() {
    for (const entry of entries) {
      most = Math.max(most, ++alive);
      yield entry;
      alive--;
    }
  }
  t.match(await verify({ entries: counted() }), { ok: true });
  t.equal(most, 1);
});
