import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { holdRuntimes, importImage, removeRuntime, storedDigests } from "../../src/cli/image/import.ts";
import { layoutTar, type Member, makeLayout, sha256, tar, writeLayout } from "./image-layout.ts";

/** What comes out of good images, and that nothing comes out of bad ones, on the disk or beyond. */

const base = mkdtempSync(join(tmpdir(), "sallyport-import-"));
t.teardown(() => {
  for (const name of readdirSync(join(base, "runtimes"))) {
    if (name.startsWith("sha256-")) removeRuntime(join(base, "runtimes"), name.replace("-", ":"));
  }
  rmSync(base, { recursive: true, force: true });
});
const runtimes = join(base, "runtimes");
mkdirSync(runtimes);
const victim = join(base, "victim");
writeFileSync(victim, "untouched");
const LIMITS = { bytes: 8 * 1024 * 1024, entries: 1000 };

let count = 0;
const place = (): string => join(base, `image-${++count}`);
const put = (made: ReturnType<typeof makeLayout>): string => writeLayout(place(), made);
const image = (...layers: readonly (readonly Member[])[]): string =>
  put(makeLayout(layers.map((members) => ({ tar: tar(members) }))));
const take = (path: string, limits = LIMITS) => importImage(path, runtimes, limits);
const rootOf = (digest: string): string => join(runtimes, digest.replace(":", "-"));

async function taken(...layers: readonly (readonly Member[])[]): Promise<(path: string) => string> {
  const { digest } = await take(image(...layers));
  return (path) => join(rootOf(digest), path);
}

const dir = (name: string): Member => ({ name, type: "5", mode: 0o700 });
const file = (name: string, bytes = name, mode = 0o600): Member => ({ name, bytes, mode });
const link = (name: string, to: string): Member => ({ name, type: "2", link: to });
const hard = (name: string, to: string): Member => ({ name, type: "1", link: to });

t.test("a good image, as a directory and as a tar, in every packing", async (t) => {
  const layer = tar([
    dir("usr/"),
    file("usr/a", "A", 0o4755),
    { name: "x", pax: { path: `usr/${"n".repeat(150)}é` }, bytes: "long" },
    link("bin", "usr"),
    hard("usr/b", "usr/a"),
    { name: "dev/sda", type: "4" },
  ]);
  const seen = new Set<string>();
  for (const packing of ["none", "gzip", "zstd"] as const) {
    const made = makeLayout([{ tar: layer, packing }]);
    const asTar = `${place()}.tar`;
    writeFileSync(asTar, layoutTar(made));
    const first = await take(asTar);
    t.match(first, { digest: made.digest, known: false }, packing);
    t.match(await take(put(made)), { digest: made.digest, known: true }, "twice is once");
    seen.add(first.digest);
    const root = rootOf(first.digest);
    t.equal(readFileSync(join(root, "bin/a"), "utf8"), "A");
    t.equal(readFileSync(join(root, `usr/${"n".repeat(150)}é`), "utf8"), "long");
    t.equal(readlinkSync(join(root, "bin")), "usr");
    t.equal(statSync(join(root, "usr/a")).ino, statSync(join(root, "usr/b")).ino);
    t.equal(lstatSync(join(root, "usr/a")).mode & 0o7777, 0o555, "no setuid bit, nothing to write");
    t.equal(lstatSync(root).mode & 0o7777, 0o555);
    t.equal(lstatSync(join(root, "usr")).mode & 0o7777, 0o555, "every account may enter");
    t.notOk(existsSync(join(root, "dev/sda")), "devices are left out");
    for (const name of ["passwd", "group", "hosts", "nsswitch.conf", "resolv.conf"])
      t.ok(lstatSync(join(root, "etc", name)).isFile(), "a place for the run's own files");
  }
  t.strictSame(storedDigests(runtimes).toSorted(), [...seen].toSorted());
});

t.test("layers: what one adds, changes and takes away", async (t) => {
  const at = await taken(
    [
      dir("d"),
      file("d/gone"),
      file("d/kept"),
      dir("o"),
      file("o/old"),
      dir("o/sub"),
      file("o/sub/old"),
      file("f"),
      dir("was-dir"),
      file("was-dir/x"),
      file("w"),
    ],
    [
      file("d/.wh.gone", ""),
      file("o/new"),
      file("o/.wh..wh..opq", ""),
      file("f", "second"),
      file("was-dir", "now a file"),
      file(".wh.w", ""),
      file("w", "of the same layer, whatever the order"),
    ],
    [file(".wh.f", ""), file(".wh.never-there", "")],
  );
  t.strictSame(readdirSync(at("d")), ["kept"]);
  t.strictSame(readdirSync(at("o")), ["new"]);
  t.equal(readFileSync(at("was-dir"), "utf8"), "now a file");
  t.notOk(existsSync(at("f")));
  t.equal(readFileSync(at("w"), "utf8"), "of the same layer, whatever the order");
});

t.test("a file that a hard link shares is not changed through the other name", async (t) => {
  const at = await taken([file("a", "one"), hard("b", "a")], [file("a", "two")]);
  t.equal(readFileSync(at("a"), "utf8"), "two");
  t.equal(readFileSync(at("b"), "utf8"), "one");
});

t.test("entries that would lead out stay inside", async (t) => {
  const at = await taken(
    [
      file("/absolute"),
      link("out", base),
      link("up", "../../../../../../../../.."),
      link("etc", victim),
      file("usr/x"),
    ],
    [
      file("out/victim", "through a link"),
      file(`up${base}/victim`, "up and down"),
      link("usr/y", "../../../y"),
    ],
  );
  t.equal(readFileSync(victim, "utf8"), "untouched");
  t.ok(existsSync(at("absolute")));
  t.equal(readFileSync(at(`.${base}/victim`), "utf8"), "up and down", "a link leads on inside the image");
  t.ok(lstatSync(at("etc")).isDirectory(), "the run's own files never go through a link");
});

const NUL = Buffer.alloc(12, 0xff);
const HUGE = Buffer.from([0x80, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xff, 0xff, 0xff, 0xff]);
const pax = (records: Record<string, string>): Member => ({ name: "p", pax: records });
const BAD: Readonly<Record<string, [() => string, RegExp]>> = {
  "a name that climbs": [() => image([file("a/../../victim")]), /climbs out/],
  "a pax name that climbs": [() => image([pax({ path: "../victim" })]), /climbs out/],
  "a hard link out": [() => image([hard("h", "../../../../../../etc/passwd")]), /climbs out/],
  "a hard link to a host's file": [() => image([hard("h", "/etc/hostname")]), /no file of the image/],
  "a hard link through a link": [
    () => image([link("l", "/etc"), hard("h", "l/hostname")]),
    /no file of the image/,
  ],
  "a hard link to a directory": [() => image([dir("d"), hard("h", "d")]), /no file of the image/],
  "links in a ring": [() => image([link("a", "b"), link("b", "a"), file("a/x")]), /too many links/],
  "a whiteout of ..": [() => image([file("d/.wh...", "")]), /names no file/],
  "a whiteout of nothing": [() => image([file("d/.wh.", "")]), /names no file/],
  "a file as a directory": [() => image([file("f"), file("f/x")]), /is a file, and a directory/],
  "the root as a file": [() => image([file("./")]), /place of the root/],
  "the root as a link": [() => image([link(".", "/etc")]), /place of the root/],
  "a sparse file": [() => image([{ name: "s", type: "S" }]), /sparse/],
  "a sparse file by pax": [() => image([pax({ "GNU.sparse.realsize": "99999999999999" })]), /sparse/],
  "a file of 4 GiB": [() => image([{ name: "h", size: 0xffffffff }]), /more than 8388608 bytes/],
  "a file of 16 TiB": [() => image([{ name: "h", size: HUGE }]), /more than 8388608 bytes/],
  "a file larger than numbers": [() => image([{ name: "h", size: NUL }]), /too large/],
  "a size that is none": [() => image([pax({ size: "-1" })]), /size in a pax header/],
  "a pax header that is none": [() => image([{ name: "x", type: "x", bytes: "999 path=x\n" }]), /malformed/],
  "a pax header of megabytes": [
    () => image([{ name: "x", type: "x", bytes: Buffer.alloc(1024 * 1024 + 1) }]),
    /extended header/,
  ],
  "more than 1000 entries": [
    () => image(Array.from({ length: 1001 }, (_, i) => file(`f${i}`, ""))),
    /more than 1000/,
  ],
  "1000 entries over and over": [
    () => image(Array.from({ length: 1001 }, () => file("same", ""))),
    /more than 1000/,
  ],
  "directories that no entry names": [
    () => image(Array.from({ length: 9 }, (_, i) => pax({ path: `${i}/${"d/".repeat(120)}f` }))),
    /more than 1000/,
  ],
  "links that lead up and down without end": [
    () => {
      const long = Array.from({ length: 600 }, () => "d/..").join("/");
      return image([
        dir("d"),
        ...Array.from({ length: 8 }, (_, i) => ({
          name: `l${i}`,
          type: "2",
          pax: { linkpath: i === 7 ? long : `${long}/l${i + 1}` },
        })),
        file("l0/x"),
      ]);
    },
    /too many directories/,
  ],
  "files that are too much together": [
    () => image(Array.from({ length: 9 }, (_, i) => ({ name: `${i}`, bytes: Buffer.alloc(1024 * 1024) }))),
    /more than 8388608 bytes/,
  ],
  "a component of 256 bytes": [() => image([pax({ path: "n".repeat(256) })]), /longer than 255/],
  "a path of 5000 bytes": [() => image([pax({ path: "n/".repeat(2500) })]), /longer than 4096/],
  "129 directories deep": [() => image([pax({ path: "n/".repeat(130) })]), /directories deep/],
  "a checksum that is wrong": [() => image([{ name: "x", sum: 1 }]), /checksum/],
  "an archive cut short": [() => put(makeLayout([{ tar: tar([file("x")]).subarray(0, 700) }])), /cut short/],
  "an unknown type": [() => image([{ name: "x", type: "V" }]), /of the type/],
  "a gzip bomb": [
    () => put(makeLayout([{ tar: Buffer.alloc(64 * 1024 * 1024), packing: "gzip" }])),
    /unpack to more/,
  ],
  "a zstd bomb": [
    () => put(makeLayout([{ tar: Buffer.alloc(64 * 1024 * 1024), packing: "zstd" }])),
    /unpack to more/,
  ],
  "gzip that is none": [
    () => put(makeLayout([{ tar: tar([]), mediaType: "application/vnd.oci.image.layer.v1.tar+gzip" }])),
    /no gzip stream/,
  ],
  "zstd that is none": [
    () => put(makeLayout([{ tar: tar([]), mediaType: "application/vnd.oci.image.layer.v1.tar+zstd" }])),
    /no zstd stream/,
  ],
  "a layer of an unknown type": [
    () => put(makeLayout([{ tar: tar([]), mediaType: "application/vnd.in-toto+json" }])),
    /of the type/,
  ],
  "a layer that unpacks to something else": [
    () => put(makeLayout([{ tar: tar([file("x")]), packing: "gzip", diffId: sha256(Buffer.from("other")) }])),
    /is damaged/,
  ],
  "another architecture": [
    () => put(makeLayout([{ tar: tar([]) }], { platform: { os: "linux", architecture: "arm64" } })),
    /no image for linux\/amd64/,
  ],
  "two images": [
    () => {
      const [one, two] = ["one", "two"].map((name) => makeLayout([{ tar: tar([file(name)]) }]));
      const index = [one!, two!].map(
        (made) =>
          (JSON.parse(made.files.get("index.json")!.toString()) as { manifests: object[] }).manifests[0],
      );
      const files = new Map([...one!.files, ...two!.files]);
      files.set("index.json", Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: index })));
      return put({ digest: "", files });
    },
    /2 images/,
  ],
  "an empty directory": [
    () => {
      const path = place();
      mkdirSync(path);
      return path;
    },
    /is it an OCI image layout/,
  ],
  nothing: [() => place(), /can't be read/],
  "a compressed tar of a layout": [
    () => {
      const path = place();
      writeFileSync(path, Buffer.from([0x1f, 0x8b, 8, 0]));
      return path;
    },
    /decompress it first/,
  ],
};

t.test("bad images get one sentence each, and leave nothing", async (t) => {
  const before = readdirSync(runtimes).toSorted();
  for (const [what, [make, why]] of Object.entries(BAD)) {
    await t.rejects(take(make()), { code: "image_invalid", detail: why }, what);
    t.strictSame(readdirSync(runtimes).toSorted(), before, `${what}: nothing is left`);
  }
  t.equal(readFileSync(victim, "utf8"), "untouched");
});

t.test("a blob that was changed, shortened, or is a pipe or a link", async (t) => {
  const made = makeLayout([{ tar: tar([file("x", "content")]) }]);
  const change = async (what: string, act: (path: string) => void, why: RegExp) => {
    for (const name of made.files.keys()) {
      if (!name.startsWith("blobs/")) continue;
      const path = put(made);
      act(join(path, name));
      await t.rejects(take(path), { code: "image_invalid", detail: why }, `${what}: ${name.slice(0, 20)}`);
    }
  };
  await change(
    "a byte",
    (path) => {
      const bytes = readFileSync(path);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(path, bytes);
    },
    /is damaged|no JSON/,
  );
  await change("a byte less", (path) => truncateSync(path, statSync(path).size - 1), /bytes, where/);
  await change(
    "a directory",
    (path) => {
      rmSync(path);
      mkdirSync(path);
    },
    /no plain file/,
  );
  t.notOk(existsSync(rootOf(made.digest)));
});

t.test("one import at a time; what a killed one left is swept by the next", async (t) => {
  const release = holdRuntimes(runtimes);
  t.throws(() => holdRuntimes(runtimes), { code: "conflict" });
  release();
  const left = join(runtimes, ".import-0123");
  mkdirSync(join(left, "closed"), { recursive: true });
  writeFileSync(join(left, "closed/file"), "");
  chmodSync(join(left, "closed"), 0o555);
  holdRuntimes(runtimes)();
  t.notOk(existsSync(left));
});

t.test("removed means gone, and it can come again", async (t) => {
  const path = image([file("usr/x"), dir("usr/closed")]);
  const { digest } = await take(path);
  removeRuntime(runtimes, digest);
  t.notOk(existsSync(rootOf(digest)));
  removeRuntime(runtimes, digest);
  t.match(await take(path), { digest, known: false });
});
