import { createTwoFilesPatch } from "diff";
import { type BundleFile, bundleDigest, decodeBundle } from "../core/bundle.ts";
import { canonicalJson } from "../core/canonical.ts";
import { type Manifest, parseManifest } from "../core/manifest.ts";
import { targetText } from "../core/manifest-shape.ts";

/**
 * How much is done and said at most; beyond that a file is told by its size and digest. The work on a file grows with the
 * square of its edits: 1000 take about 0.3 s.
 */
const MAX_FILE = { bytes: 256 * 1024, lines: 20_000, edits: 1000 };
const MAX_ALL = { edits: 10_000, chars: 4 * 1024 * 1024 };

/** What decides what an Op may do, before what it is. */
const GRANTS = [
  "network",
  "secrets",
  "resources",
  "limits",
  "seccomp",
  "root",
  "engine",
  "confirm",
  "approval",
  "channels",
  "command",
];

export type OpDiff = {
  /** Null: this version does not accept the manifest of one of them any more. */
  manifest: { key: string; from: unknown; to: unknown }[] | null;
  files: { path: string; change: "added" | "removed" | "changed" | "mode"; patch: string }[];
};

/** How two bundles of an Op differ: the manifest key by key, grants first; text by lines, other files by their digests. */
export function diffBundles(from: Uint8Array, to: Uint8Array): OpDiff {
  const [a, b] = [decodeBundle(from), decodeBundle(to)];
  const [was, is] = [manifestOf(a), manifestOf(b)];
  return { manifest: was === null || is === null ? null : diffManifests(was, is), files: diffFiles(a, b) };
}

function manifestOf(files: readonly BundleFile[]): Manifest | null {
  try {
    return parseManifest(files.find(({ path }) => path === "op.yaml")?.bytes ?? "");
  } catch {
    return null;
  }
}

function diffManifests(a: Manifest, b: Manifest): NonNullable<OpDiff["manifest"]> {
  const [was, is] = [shown(a), shown(b)];
  const keys = [...new Set([...GRANTS, ...Object.keys(was), ...Object.keys(is)])];
  return keys.flatMap((key) => changes(key, was[key] ?? null, is[key] ?? null));
}

/** Of two objects the keys that differ, as "limits.timeMs". */
function changes(key: string, from: unknown, to: unknown): NonNullable<OpDiff["manifest"]> {
  if (canonicalJson(from) === canonicalJson(to)) return [];
  if (!isObject(from) || !isObject(to)) return [{ key, from, to }];
  const keys = [...new Set([...Object.keys(from), ...Object.keys(to)])];
  return keys.flatMap((inner) => changes(`${key}.${inner}`, from[inner] ?? null, to[inner] ?? null));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Network targets as their author wrote them. */
const shown = (manifest: Manifest): Record<string, unknown> => ({
  ...manifest,
  network: manifest.network.map((target) => `${targetText(target)}${target.private ? " (private)" : ""}`),
});

function diffFiles(a: readonly BundleFile[], b: readonly BundleFile[]): OpDiff["files"] {
  const [old, now] = [byPath(a), byPath(b)];
  const left = { ...MAX_ALL };
  return [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((path): OpDiff["files"] => {
    const [before, after] = [old.get(path), now.get(path)];
    if (before === undefined) return [{ path, change: "added", patch: patchOf(path, before, after, left) }];
    if (after === undefined) return [{ path, change: "removed", patch: patchOf(path, before, after, left) }];
    const mode = before.mode === after.mode ? "" : `mode ${octal(before)} -> ${octal(after)}\n`;
    if (Buffer.from(before.bytes).equals(after.bytes))
      return mode === "" ? [] : [{ path, change: "mode", patch: mode }];
    return [{ path, change: "changed", patch: mode + patchOf(path, before, after, left) }];
  });
}

const byPath = (files: readonly BundleFile[]): Map<string, BundleFile> =>
  new Map(files.map((file) => [file.path, file]));

const octal = ({ mode }: BundleFile): string => mode.toString(8);

/** Takes what it cost off `left`. */
function patchOf(
  path: string,
  before: BundleFile | undefined,
  after: BundleFile | undefined,
  left: { edits: number; chars: number },
): string {
  const [old, now] = [textOf(before), textOf(after)];
  if (old !== null && now !== null && lines(old) + lines(now) <= MAX_FILE.lines) {
    // Against nothing there is one way, however long.
    const against = before !== undefined && after !== undefined;
    const edits = Math.min(MAX_FILE.edits, left.edits);
    const patch = createTwoFilesPatch(`a/${path}`, `b/${path}`, old, now, undefined, undefined, {
      context: 3,
      ...(against ? { maxEditLength: edits } : {}),
    });
    const text = patch?.slice(patch.indexOf("---"));
    if (against) left.edits -= text === undefined ? edits : Math.min(edits, changed(text));
    if (text !== undefined && text.length <= left.chars) {
      left.chars -= text.length;
      return text;
    }
  }
  return `${summary(before)} -> ${summary(after)}\n`;
}

const lines = (text: string): number => text.split("\n").length;
const changed = (patch: string): number => patch.match(/^[-+]/gm)?.length ?? 0;

function summary(file: BundleFile | undefined): string {
  if (file === undefined) return "nothing";
  const text = textOf(file);
  const size = text === null ? "" : `${lines(text)} lines, `;
  return `${size}${file.bytes.length} bytes, ${bundleDigest(file.bytes)}`;
}

/** Null for what is no text, or too much of it. */
function textOf(file: BundleFile | undefined): string | null {
  if (file === undefined) return "";
  if (file.bytes.length > MAX_FILE.bytes || file.bytes.includes(0)) return null;
  try {
    // A byte-order mark that comes or goes is a difference.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file.bytes);
  } catch {
    return null;
  }
}
