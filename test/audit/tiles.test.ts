import t from "tap";
import {
  bundleRanges,
  entriesBundle,
  entriesPath,
  parseEntriesBundle,
  tileBytes,
  tilePath,
  tilesBetween,
} from "../../src/audit/tiles.ts";
import { StoredTree } from "./trees.ts";

t.test("paths as C2SP tlog-tiles gives them", async (t) => {
  t.equal(tilePath(0, 0), "tile/0/000");
  t.equal(tilePath(0, 1_234_067), "tile/0/x001/x234/067");
  t.equal(tilePath(1, 1_234_067, 17), "tile/1/x001/x234/067.p/17");
  t.equal(tilePath(0, 999), "tile/0/999");
  t.equal(tilePath(0, 1000), "tile/0/x001/000");
  t.equal(tilePath(2, 1_000_000), "tile/2/x001/x000/000");
  t.equal(entriesPath(5), "tile/entries/005");
  t.equal(entriesPath(273, 112), "tile/entries/273.p/112");
});

t.test("the tiles of the specification's example, a tree of 70,000", async (t) => {
  const paths = tilesBetween(0, 70_000).map(({ level, index, width }) => tilePath(level, index, width));
  t.equal(paths.length, 274 + 2 + 1);
  for (const path of [
    "tile/0/000",
    "tile/0/272",
    "tile/0/273.p/112",
    "tile/1/000",
    "tile/1/001.p/17",
    "tile/2/000.p/1",
  ])
    t.ok(paths.includes(path), path);
  t.same(bundleRanges(0, 300), [
    { index: 0, width: 256 },
    { index: 1, width: 44 },
  ]);
});

t.test("growth writes what is new or wider, and nothing else", async (t) => {
  const name = ({ level, index, width }: { level: number; index: number; width: number }) =>
    `${level}/${index}/${width}`;
  t.same(tilesBetween(0, 0), []);
  t.same(tilesBetween(256, 256), []);
  t.same(tilesBetween(255, 256).map(name), ["0/0/256", "1/0/1"]);
  t.same(tilesBetween(256, 257).map(name), ["0/1/1"]);
  t.same(tilesBetween(100, 600).map(name), ["0/0/256", "0/1/256", "0/2/88", "1/0/2"]);
  for (const steps of [
    [1, 7, 300, 70_000],
    [255, 256, 257, 65_535, 65_536, 65_537],
  ]) {
    const have = new Set<string>();
    let size = 0;
    for (const next of steps) {
      for (const tile of tilesBetween(size, next)) have.add(name(tile));
      size = next;
      for (const tile of tilesBetween(0, next))
        if (!have.has(name(tile))) t.fail(`${name(tile)} is missing at ${next}`);
    }
  }
});

t.test("a tile holds the hashes of its nodes", async (t) => {
  const tree = StoredTree.of(Array.from({ length: 600 }, (_, i) => Buffer.from(`entry ${i}`)));
  const bytes = await tileBytes({ level: 0, index: 2, width: 88 }, tree.source);
  t.same(bytes, Buffer.concat(tree.leaves.slice(512)));
  const upper = await tileBytes({ level: 1, index: 0, width: 2 }, tree.source);
  t.equal(upper.length, 64);
  t.same(upper.subarray(32), tree.hashes.get("8/1"));
});

t.test("bundles of entries", async (t) => {
  const entries = [Buffer.from("a"), Buffer.alloc(0), Buffer.alloc(32 * 1024, 7)];
  const bytes = entriesBundle(entries);
  t.equal(bytes.subarray(0, 5).toString("hex"), "0001610000");
  t.same(parseEntriesBundle(bytes), entries);
  t.same(parseEntriesBundle(Buffer.alloc(0)), []);
  for (const cut of [1, 4, 6, bytes.length - 1])
    t.throws(() => parseEntriesBundle(bytes.subarray(0, cut)), { code: "log_damaged" }, `cut to ${cut}`);
  t.throws(() => parseEntriesBundle(entriesBundle(Array(257).fill(Buffer.from("x")))), {
    code: "log_damaged",
  });
  t.throws(() => entriesBundle([Buffer.alloc(65_536)]), RangeError);
});
