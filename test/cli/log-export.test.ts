import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { checkpointText } from "../../src/audit/checkpoint.ts";
import { signerFromSeed, signNote } from "../../src/audit/note.ts";
import {
  entriesBundle,
  entriesPath,
  parseEntriesBundle,
  tileBytes,
  tilePath,
  tilesBetween,
} from "../../src/audit/tiles.ts";
import { writeTiles } from "../../src/cli/log-export.ts";
import { verifyExport } from "../../src/cli/log-verify.ts";
import { entryOf, flipped, noteOf, StoredTree, signer } from "../audit/trees.ts";

/** An exported log, verified from its files alone: what was changed, dropped, swapped, inserted, cut or put back is found and named. */

const entries = Array.from({ length: 1000 }, (_, i) => entryOf(i));
const tree = StoredTree.of(entries);
const note = (size: number) => noteOf(tree, size);

async function exported(t: { teardown(call: () => unknown): void }, size = 1000): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "log-export-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const head = { size, checkpoint: await note(size), origin: signer.name, vkeys: [signer.vkey] };
  await writeTiles(dir, head, async (from, to) => entriesBundle(entries.slice(from, to)));
  return dir;
}

t.test("the files are those of the tree, and verify, at many sizes", async (t) => {
  for (const size of [1, 2, 255, 256, 257, 511, 512, 513, 1000]) {
    const dir = await exported(t, size);
    for (const tile of tilesBetween(0, size)) {
      const path = tilePath(tile.level, tile.index, tile.width);
      t.ok(readFileSync(join(dir, path)).equals(await tileBytes(tile, tree.source)), `${size}: ${path}`);
    }
    t.match(verifyExport(dir, {}), { size, origin: signer.name, vkey: signer.vkey });
    t.match(verifyExport(dir, { vkey: signer.vkey, earlier: await note(Math.ceil(size / 2)) }), { size });
  }
});

t.test("each change is found and named", async (t) => {
  const dir = await exported(t);
  const bad = (what: RegExp) => ({ code: "log_damaged", message: what });
  const bundle = join(dir, entriesPath(1));
  const change = (make: (all: Buffer[]) => Buffer[], what: RegExp, o = {}) => {
    const before = readFileSync(bundle);
    writeFileSync(bundle, entriesBundle(make([...parseEntriesBundle(before)])));
    t.throws(() => verifyExport(dir, o), bad(what), String(what));
    writeFileSync(bundle, before);
  };
  const text = (b: Buffer) => Buffer.from(b.toString("utf8").replace("q-300", "q-999"));
  change(
    (all) => all.map((e, i) => (i === 44 ? text(e) : e)),
    /differs from its entries in tile\/0\/001, hash 44/,
  );
  change((all) => all.map((e, i) => (i === 44 ? flipped(e) : e)), /Entry 300:/);
  change((all) => all.filter((_, i) => i !== 44), /has 255 entries in tile\/entries\/001/);
  change((all) => [...all.slice(0, 44), entryOf("new"), ...all.slice(44)].slice(0, 256), /hash 44/);
  change((all) => [all[1]!, all[0]!, ...all.slice(2)], /tile\/0\/001, hash 0/);
  change((all) => [...all, all[0]!], /cut off|more than 256|257/);
  const file = (path: string, make: (bytes: Buffer) => Uint8Array, what: RegExp, o = {}) => {
    const before = readFileSync(join(dir, path));
    writeFileSync(join(dir, path), make(before));
    t.throws(() => verifyExport(dir, o), bad(what), `${path}: ${what}`);
    writeFileSync(join(dir, path), before);
  };
  file(tilePath(0, 2), (b) => flipped(b, 40), /tile\/0\/002, hash 1/);
  file(tilePath(1, 0, 3), (b) => flipped(b, 64), /tile\/1\/000\.p\/3, hash 2/);
  file(tilePath(0, 3, 232), (b) => b.subarray(0, -32), /hash 231/);
  file("checkpoint", (b) => flipped(b, b.length - 10), /signature|sign/);
  const foreign = signerFromSeed(signer.name, Buffer.alloc(32, 2));
  file("vkey", () => Buffer.from(`${foreign.vkey}\n`), /sign/, {});
  t.throws(() => verifyExport(dir, { vkey: foreign.vkey }), bad(/sign/));
  renameSync(bundle, `${bundle}.gone`);
  t.throws(() => verifyExport(dir, {}), bad(/missing/));
  renameSync(`${bundle}.gone`, bundle);
  t.match(verifyExport(dir, {}), { size: 1000 });
});

t.test("a log that was cut or put back does not extend a checkpoint that was kept", async (t) => {
  const later = await note(900);
  const dir = await exported(t, 700);
  t.match(verifyExport(dir, {}), { size: 700 }, "by itself it is sound");
  t.throws(() => verifyExport(dir, { earlier: later }), {
    code: "log_damaged",
    message: /has 700 entries, but 900 were signed/,
  });
  const root = StoredTree.of(Array.from({ length: 500 }, (_, i) => entryOf(`x${i}`))).frontier.root();
  const fork = signNote(checkpointText({ origin: signer.name, size: 500, root }), [signer]);
  t.throws(() => verifyExport(dir, { earlier: fork }), {
    code: "log_damaged",
    message: /among its first 500 entries/,
  });
});

t.test(
  "what does not fit the checkpoint is not written as if it did; nothing of others is written over",
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "log-export-"));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    writeFileSync(join(dir, "mine"), "x");
    const head = { size: 1000, checkpoint: await note(1000), origin: signer.name, vkeys: [signer.vkey] };
    const fetch = async (from: number, to: number) => entriesBundle(entries.slice(from, to));
    await t.rejects(writeTiles(dir, head, fetch), { code: "conflict", message: /something else/ });
    const fresh = join(dir, "new");
    const lying = async (from: number, to: number) =>
      entriesBundle(entries.slice(from, to).map((e, i) => (from + i === 300 ? entryOf("x") : e)));
    await t.rejects(writeTiles(fresh, head, lying), {
      code: "log_damaged",
      message: /do not give the signed root/,
    });
    t.throws(() => readFileSync(join(fresh, "checkpoint")), { code: "ENOENT" });
    await t.rejects(
      writeTiles(fresh, head, async (from) => entriesBundle(entries.slice(from, from + 3))),
      { message: /did not all come/ },
    );
    await writeTiles(fresh, head, fetch);
    t.match(verifyExport(fresh, {}), { size: 1000 });
  },
);
