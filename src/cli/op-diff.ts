import { createTwoFilesPatch } from "diff";
import { type BundleFile, bundleDigest, openBundle } from "../core/bundle.ts";
import { canonicalJson } from "../core/canonical.ts";
import type { Manifest } from "../core/manifest.ts";

/** More work than that for one file, and it is told as replaced. */
const MAX_EDITS = 2000;
const MAX_LINES = 20_000;

/** What decides what an Op may do, before what it is. */
const GRANTS = [
  "network",
  "secrets",
  "resources",
  "seccomp",
  "root",
  "engine",
  "limits",
  "confirm",
  "approval",
  "channels",
];

export type OpDiff = {
  manifest: { key: string; from: unknown; to: unknown }[];
  files: { path: string; change: "added" | "removed" | "changed" | "mode"; patch: string }[];
};

/** How two bundles of an Op differ: the manifest key by key, grants first; text by lines, other files by their digests. */
export function diffBundles(from: Uint8Array, to: Uint8Array): OpDiff {
  const [a, b] = [openBundle(from), openBundle(to)];
  return { manifest: diffManifests(a.manifest, b.manifest), files: diffFiles(a.files, b.files) };
}

function diffManifests(a: Manifest, b: Manifest): OpDiff["manifest"] {
  const keys = [...new Set([...GRANTS, ...Object.keys(a), ...Object.keys(b)])];
  const value = (m: Manifest, key: string): unknown => Reflect.get(m, key) ?? null;
  return keys
    .filter((key) => canonicalJson(value(a, key)) !== canonicalJson(value(b, key)))
    .map((key) => ({ key, from: value(a, key), to: value(b, key) }));
}

function diffFiles(a: readonly BundleFile[], b: readonly BundleFile[]): OpDiff["files"] {
  const paths = [...new Set([...a, ...b].map(({ path }) => path))].sort();
  return paths.flatMap((path): OpDiff["files"] => {
    const before = a.find((file) => file.path === path);
    const after = b.find((file) => file.path === path);
    if (before !== undefined && after !== undefined && Buffer.from(before.bytes).equals(after.bytes)) {
      if (before.mode === after.mode) return [];
      return [{ path, change: "mode", patch: `mode ${octal(before)} -> ${octal(after)}\n` }];
    }
    const change = before === undefined ? "added" : after === undefined ? "removed" : "changed";
    return [{ path, change, patch: patchOf(path, before, after) }];
  });
}

const octal = ({ mode }: BundleFile): string => mode.toString(8);

function patchOf(path: string, before: BundleFile | undefined, after: BundleFile | undefined): string {
  const [old, now] = [textOf(before), textOf(after)];
  if (old !== null && now !== null && lines(old) + lines(now) <= MAX_LINES) {
    const patch = createTwoFilesPatch(`a/${path}`, `b/${path}`, old, now, "", "", {
      context: 3,
      maxEditLength: MAX_EDITS,
    });
    if (patch !== undefined) return patch.slice(patch.indexOf("---"));
  }
  return `${summary(before)} -> ${summary(after)}\n`;
}

const lines = (text: string): number => text.split("\n").length;

function summary(file: BundleFile | undefined): string {
  if (file === undefined) return "nothing";
  return `${file.bytes.length} bytes, ${bundleDigest(file.bytes)}`;
}

/** Null for what is no text. */
function textOf(file: BundleFile | undefined): string | null {
  if (file === undefined) return "";
  if (file.bytes.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(file.bytes);
  } catch {
    return null;
  }
}
