import t from "tap";
import {
  EMPTY_ROOT,
  Frontier,
  leafHash,
  proveConsistency,
  proveInclusion,
  rootAt,
  verifyConsistency,
  verifyInclusion,
} from "../../src/audit/merkle.ts";
import { definition, flipped, StoredTree } from "./trees.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const entry = (i: number): Buffer => Buffer.from(`entry ${i}`);

t.test(
  "roots of Certificate Transparency's reference tree (certificate-transparency-go, merkletree tests)",
  async (t) => {
    const inputs = [
      "",
      "00",
      "10",
      "2021",
      "3031",
      "40414243",
      "5051525354555657",
      "606162636465666768696a6b6c6d6e6f",
    ];
    const roots = [
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
      "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    t.equal(hex(EMPTY_ROOT), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    const frontier = Frontier.empty();
    for (const [i, input] of inputs.entries()) {
      frontier.append(leafHash(Buffer.from(input, "hex")));
      t.equal(hex(frontier.root()), roots[i], `${i + 1} leaves`);
    }
  },
);

t.test(
  "the compact frontier gives the root of the definition, at every size, and survives a reload",
  async (t) => {
    const tree = new StoredTree();
    for (let size = 1; size <= 130; size++) {
      tree.add(entry(size));
      const expected = definition(tree.leaves);
      const loaded = await Frontier.load(size, tree.source);
      if (!tree.frontier.root().equals(expected)) t.fail(`root of ${size}`);
      if (!loaded.root().equals(expected)) t.fail(`loaded root of ${size}`);
      if (!(await rootAt(size, tree.source)).equals(expected)) t.fail(`rootAt ${size}`);
      t.equal(loaded.nodes.length, size.toString(2).replaceAll("0", "").length);
    }
    const clone = tree.frontier.clone();
    clone.append(leafHash(entry(0)));
    t.equal(tree.frontier.size, 130, "a clone is apart");
  },
);

t.test("every inclusion proof of every tree up to 70 leaves holds, and for that place only", async (t) => {
  const tree = new StoredTree();
  let checked = 0;
  for (let size = 1; size <= 70; size++) {
    tree.add(entry(size - 1));
    const root = tree.frontier.root();
    for (let index = 0; index < size; index++) {
      const proof = await proveInclusion(index, size, tree.source);
      const good = { index, size, leaf: tree.leaves[index]!, root, proof };
      const wrong = [
        { ...good, leaf: flipped(good.leaf) },
        { ...good, root: flipped(root) },
        { ...good, index: index + 1 },
        { ...good, index: index === 0 ? size : index - 1 },
        { ...good, proof: [...proof, root] },
        { ...good, proof: proof.slice(1) },
        { ...good, proof: proof.slice(0, -1) },
        ...proof.map((hash, i) => ({ ...good, proof: proof.with(i, flipped(hash, i % 32)) })),
      ];
      if (!verifyInclusion(good)) t.fail(`leaf ${index} of ${size}`);
      if (size > 1 && wrong.some(verifyInclusion)) t.fail(`a wrong proof of ${index} in ${size} holds`);
      checked++;
    }
  }
  t.equal(checked, (70 * 71) / 2);
});

t.test("every consistency proof between trees up to 70 leaves holds, and no changed one", async (t) => {
  const tree = new StoredTree();
  const roots = [EMPTY_ROOT];
  for (let to = 0; to <= 70; to++) {
    if (to > 0) {
      tree.add(entry(to));
      roots.push(tree.frontier.root());
    }
    const toRoot = roots[to]!;
    for (let from = 0; from <= to; from++) {
      const fromRoot = roots[from]!;
      const proof = await proveConsistency(from, to, tree.source);
      const good = { from, to, fromRoot, toRoot, proof };
      if (!verifyConsistency(good)) t.fail(`${from} -> ${to}`);
      const wrong = [
        { ...good, fromRoot: flipped(fromRoot) },
        { ...good, proof: [...proof, toRoot] },
        ...(from === 0 ? [] : [{ ...good, toRoot: flipped(toRoot) }]),
        ...(proof.length === 0
          ? []
          : [
              { ...good, proof: proof.slice(1) },
              { ...good, proof: proof.slice(0, -1) },
            ]),
        ...proof.map((hash, i) => ({ ...good, proof: proof.with(i, flipped(hash, i)) })),
        ...(from > 0 && from < to
          ? [
              { ...good, from: from - 1 },
              { ...good, from: from + 1 },
            ]
          : []),
        { ...good, proof: [...proof, Buffer.alloc(31)] },
      ];
      if (wrong.some(verifyConsistency)) t.fail(`a wrong proof ${from} -> ${to} holds`);
    }
  }
  t.pass("2556 pairs");
});

t.test("a rewritten history has no consistency proof", async (t) => {
  const honest = StoredTree.of(Array.from({ length: 40 }, (_, i) => entry(i)));
  for (let changed = 0; changed < 20; changed++) {
    const forged = StoredTree.of(Array.from({ length: 40 }, (_, i) => entry(i === changed ? 1000 : i)));
    const fromRoot = await rootAt(20, honest.source);
    const proof = await proveConsistency(20, 40, forged.source);
    t.notOk(
      verifyConsistency({ from: 20, to: 40, fromRoot, toRoot: forged.frontier.root(), proof }),
      `entry ${changed}`,
    );
  }
});

t.test("proofs cost O(log n) reads; sizes past 2^32 are exact", async (t) => {
  const tree = StoredTree.of(Array.from({ length: 5000 }, (_, i) => entry(i)));
  tree.reads = 0;
  await proveInclusion(1234, 5000, tree.source);
  t.ok(tree.reads <= 26, `${tree.reads} reads`);
  tree.reads = 0;
  await proveConsistency(4097, 5000, tree.source);
  t.ok(tree.reads <= 39, `${tree.reads} reads`);
  const same = leafHash(Buffer.alloc(0));
  const uniform = async (nodes: readonly { level: number; index: number }[]) =>
    nodes.map(({ level, index }) => {
      if (!Number.isSafeInteger(index * 2 ** level)) throw new Error("not exact");
      return same;
    });
  const size = 2 ** 40 + 2 ** 33 + 5;
  const root = await rootAt(size, uniform);
  const proof = await proveInclusion(2 ** 40 + 3, size, uniform);
  t.ok(
    verifyInclusion({ index: 2 ** 40 + 3, size, leaf: same, root, proof }) === false,
    "nodes of one hash are no tree",
  );
  t.ok(proof.length > 30 && proof.length < 45);
});

t.test("arguments that make no sense", async (t) => {
  const tree = StoredTree.of([entry(0)]);
  await t.rejects(proveInclusion(1, 1, tree.source), RangeError);
  await t.rejects(proveInclusion(-1, 1, tree.source), RangeError);
  await t.rejects(proveConsistency(2, 1, tree.source), RangeError);
  await t.rejects(rootAt(1.5, tree.source), RangeError);
  await t.rejects(rootAt(2, tree.source), /not stored/);
  const root = tree.frontier.root();
  t.notOk(verifyInclusion({ index: 0, size: 0, leaf: root, root, proof: [] }));
  t.notOk(verifyInclusion({ index: 0, size: Number.NaN, leaf: root, root, proof: [] }));
  t.notOk(verifyInclusion({ index: 0, size: 1, leaf: Buffer.alloc(0), root, proof: [] }));
  t.notOk(verifyConsistency({ from: 2, to: 1, fromRoot: root, toRoot: root, proof: [] }));
  t.notOk(verifyConsistency({ from: 0, to: 0, fromRoot: EMPTY_ROOT, toRoot: root, proof: [] }));
});
