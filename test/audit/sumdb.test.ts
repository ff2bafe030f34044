import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { checkpointText } from "../../src/audit/checkpoint.ts";
import { signerFromSeed, signNote } from "../../src/audit/note.ts";
import { entriesBundle, entriesPath, tilePath } from "../../src/audit/tiles.ts";
import { writeTiles } from "../../src/cli/log-export.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { entryOf, flipped, noteOf, StoredTree, signer } from "./trees.ts";

t.setTimeout(FILE_TIMEOUT);

/** Verification by a tool that is not ours: Go's x/mod/sumdb (Debian: golang-go, golang-golang-x-mod-dev). */
const GOPATH = "/usr/share/gocode";
const why = goMissing();
const made = mkdtempSync(join(tmpdir(), "sumdb-"));
t.teardown(() => rmSync(made, { recursive: true, force: true }));
const dir = join(made, "log");

function goMissing(): string | false {
  if (spawnSync("go", ["version"]).error) return "go is not installed (Debian: golang-go)";
  if (!existsSync(`${GOPATH}/src/golang.org/x/mod/sumdb/tlog`))
    return "x/mod is missing (Debian: golang-golang-x-mod-dev)";
  return false;
}

const SIZE = 100_000;
const OLD = 1234;

async function exportLog(): Promise<void> {
  const entries = Array.from({ length: SIZE }, (_, i) => entryOf(i));
  const tree = StoredTree.of(entries);
  const head = {
    size: SIZE,
    checkpoint: await noteOf(tree, SIZE),
    origin: signer.name,
    vkeys: [signer.vkey],
  };
  await writeTiles(dir, head, async (from, to) => entriesBundle(entries.slice(from, to)));
  writeFileSync(join(dir, "checkpoint.old"), await noteOf(tree, OLD));
}

t.test("Go's sumdb reads the exported log and rejects a changed one", { skip: why }, async (t) => {
  const binary = join(made, "sumdb-check");
  execFileSync("go", ["build", "-o", binary, join(import.meta.dirname, "sumdb", "main.go")], {
    env: {
      ...process.env,
      GOPATH,
      GO111MODULE: "off",
      GOFLAGS: "",
      GOCACHE: join(tmpdir(), "sallyport-test-gocache"),
    },
  });
  await exportLog();
  const check = () => spawnSync(binary, [dir, "1000"], { encoding: "utf8" }).stdout.trim();
  t.equal(check(), `OK ${SIZE}`);

  const rejects = (path: string, change: (bytes: Buffer) => Uint8Array, what: RegExp) => {
    const file = join(dir, path);
    const before = readFileSync(file);
    writeFileSync(file, change(before));
    t.match(check(), what, `${path} changed`);
    writeFileSync(file, before);
  };
  rejects(entriesPath(100), (bytes) => flipped(bytes, 50), /REJECTED entry 25600 /);
  rejects(entriesPath(390, 160), (bytes) => bytes.subarray(0, -1), /REJECTED entry 99999 /);
  rejects(tilePath(0, 0), (bytes) => flipped(bytes), /REJECTED/);
  rejects(tilePath(1, 1, 134), (bytes) => flipped(bytes, 3), /REJECTED/);
  rejects(tilePath(2, 0, 1), (bytes) => flipped(bytes), /REJECTED/);
  rejects("checkpoint", (bytes) => flipped(bytes, bytes.length - 10), /REJECTED note.Open/);
  rejects("checkpoint.old", (bytes) => flipped(bytes, 25), /REJECTED note.Open/);
  const foreign = signerFromSeed(signer.name, Buffer.alloc(32, 2));
  const text = readFileSync(join(dir, "checkpoint"), "utf8").split("\n\n")[0]!;
  rejects("checkpoint", () => Buffer.from(signNote(`${text}\n`, [foreign])), /REJECTED note.Open/);
  const lie = checkpointText({ origin: signer.name, size: OLD, root: Buffer.alloc(32, 1) });
  rejects("checkpoint.old", () => Buffer.from(signNote(lie, [signer])), /REJECTED CheckTree/);
  t.equal(check(), `OK ${SIZE}`, "put back, it verifies again");
});
