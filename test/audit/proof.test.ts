import t from "tap";
import { proveInclusion } from "../../src/audit/merkle.ts";
import { signerFromSeed } from "../../src/audit/note.ts";
import { formatProof, parseProof, verifyProof } from "../../src/audit/proof.ts";
import { entryOf, noteOf, StoredTree, signer } from "./trees.ts";

/** C2SP tlog-proof: made for every entry of small trees, checked with the key alone, and refused when anything is another. */

const other = signerFromSeed("sallyport.example/log", Buffer.alloc(32, 2));
const entries = Array.from({ length: 300 }, (_, i) => entryOf(i));
const tree = StoredTree.of(entries);
const proofOf = async (index: number, size: number, by = signer): Promise<string> => {
  const checkpoint = await noteOf(tree, size, by);
  return formatProof({ index, hashes: await proveInclusion(index, size, tree.source), checkpoint });
};
const key = { origin: signer.name, vkeys: [signer.vkey] };

t.test("of every entry of trees of many sizes", async (t) => {
  for (const size of [1, 2, 3, 7, 8, 9, 255, 256, 257, 300])
    for (const index of new Set([0, 1, size >> 1, size - 2, size - 1].filter((i) => i >= 0 && i < size))) {
      const text = await proofOf(index, size);
      t.match(verifyProof(text, { ...key, entry: entries[index]! }), { index, checkpoint: { size } });
    }
  const text = await proofOf(5, 300);
  t.match(
    text,
    /^c2sp\.org\/tlog-proof@v1\nindex 5\n([A-Za-z0-9+/]{43}=\n)+\nsallyport\.example\/log\n300\n/,
  );
  t.equal(
    verifyProof(text.replace("\nindex", "\nextra YWJj\nindex"), { ...key, entry: entries[5]! }).index,
    5,
  );
});

t.test("anything changed in it is refused, with what does not hold", async (t) => {
  const text = await proofOf(5, 300);
  const check =
    (changed: string, entry = entries[5]!) =>
    () =>
      verifyProof(changed, { ...key, entry });
  const bad = (what: RegExp) => ({ code: "log_damaged", message: what });
  t.throws(check(text, entries[6]), bad(/it is not entry 5/));
  t.throws(check(text.replace("index 5", "index 6")), bad(/it is not entry 6/));
  const lines = text.split("\n");
  t.throws(
    check([...lines.slice(0, 2), lines[3], lines[2], ...lines.slice(4)].join("\n")),
    bad(/does not lead/),
  );
  t.throws(check([...lines.slice(0, 2), ...lines.slice(3)].join("\n")), bad(/does not lead/));
  t.throws(check(text.replace("\n300\n", "\n299\n")), { code: "log_damaged" });
  t.throws(() => verifyProof(text, { ...key, vkeys: [other.vkey], entry: entries[5]! }), {
    code: "log_damaged",
  });
  const forged = await proofOf(5, 300, other);
  t.throws(check(forged), { code: "log_damaged" }, "signed by another key of the same name");
  for (const [broken, what] of [
    ["", /blank line/],
    [text.replace("v1", "v2"), /does not begin/],
    [text.replace("index 5", "index 05"), /no index/],
    [text.replace("index 5", "index 99999999999999999"), /no index/],
    [text.replace(lines[2]!, "AAAA"), /no hash/],
    [text.replace(lines[2]!, `${lines[2]} `), /no hash/],
    [`c2sp.org/tlog-proof@v1\nindex 0\n${`${lines[2]}\n`.repeat(60)}\nx`, /more than 53/],
    ["x".repeat(70_000), /more than/],
  ] as const)
    t.throws(() => parseProof(broken), bad(what), broken.slice(0, 60));
});
