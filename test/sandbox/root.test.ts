import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { launch } from "./support/once.ts";
import { record, runSpec } from "./support/spec.ts";

/** What the launcher takes for a root file system and for a run's Node, and what it refuses. */

t.setTimeout(FILE_TIMEOUT);
const base = mkdtempSync(join(tmpdir(), "sallyport-root-"));
chmodSync(base, 0o755);
t.teardown(() => rmSync(base, { recursive: true, force: true }));
const ETC = ["passwd", "group", "hosts", "nsswitch.conf"];

let count = 0;
function root(change: (path: string) => void = () => undefined): string {
  const path = join(base, `root-${++count}`);
  mkdirSync(join(path, "etc"), { recursive: true });
  for (const name of ETC) writeFileSync(join(path, "etc", name), "of the image");
  change(path);
  return path;
}

const spec = (records: readonly Buffer[]): Buffer =>
  Buffer.concat([runSpec({ argv: ["/nothing"] }), ...records]);
const ask = (...records: readonly Buffer[]) => launch("once", spec(records), {});

const REFUSED: readonly (readonly [string, () => Buffer[], RegExp])[] = [
  ["a relative path", () => [record(14, "root")], /spec\.root/],
  ["none", () => [record(14, "")], /spec\.root/],
  ["two", () => [record(14, root()), record(14, root())], /spec\.repeated/],
  ["one with a NUL", () => [record(14, "/a\0b")], /spec\.root/],
  ["one that is not there", () => [record(14, join(base, "none"))], /runtime\.root/],
  [
    "a link to one",
    () => {
      const path = join(base, `link-${++count}`);
      symlinkSync(root(), path);
      return [record(14, path)];
    },
    /runtime\.root/,
  ],
  [
    "a file",
    () => {
      const path = join(base, `file-${++count}`);
      writeFileSync(path, "");
      return [record(14, path)];
    },
    /runtime\.root/,
  ],
  [
    "65 names at the top",
    () => [
      record(
        14,
        root((path) => {
          for (let i = 0; i < 65; i++) mkdirSync(join(path, `d${i}`));
        }),
      ),
    ],
    /runtime\.list/,
  ],
  [
    "no place for /etc/passwd",
    () => [
      record(
        14,
        root((path) => rmSync(join(path, "etc/passwd"))),
      ),
    ],
    /runtime\.move_mount/,
  ],
  [
    "a link in the place of /etc",
    () => [
      record(
        14,
        root((path) => {
          rmSync(join(path, "etc"), { recursive: true });
          symlinkSync("/dev", join(path, "etc"));
        }),
      ),
    ],
    /runtime\.(open_tree|move_mount|mount_setattr)/,
  ],
  [
    "an engine of the host's in it",
    () => [record(14, root()), record(16, Buffer.from([1, 0, 0, 0]))],
    /spec\.root/,
  ],
  ["a Node by a relative path", () => [record(18, "node")], /spec\.node/],
  ["a Node that is a directory", () => [record(18, base)], /runtime\.node/],
  ["a Node that is a device", () => [record(18, "/dev/null")], /runtime\.node/],
  ["a Node that is not there", () => [record(18, join(base, "none"))], /runtime\.node/],
];

t.test("what is none is refused with its step, and nothing runs", async (t) => {
  const fine = await ask(record(14, root()));
  t.match(fine, { code: 126, stderr: /exec/ }, "the way of testing works: the program is what is missing");
  for (const [what, make, step] of REFUSED) t.match(await ask(...make()), { code: 125, stderr: step }, what);
});
