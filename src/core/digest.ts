import { createHash } from "node:crypto";
import { canonicalJson, lengthPrefixed } from "./canonical.ts";
import { SallyportError } from "./errors.ts";

export interface RunBinding {
  /** Digest of the bundle, op.yaml included: "sha256:..." */
  readonly opDigest: string;
  /** "namespace/name" */
  readonly op: string;
  readonly args: Readonly<Record<string, string | number | boolean>>;
  /** Which version of each secret the run gets; order does not count. An outside vault gives source and version. */
  readonly secrets: readonly { readonly name: string; readonly version: string | number }[];
  /** Digest of the imported root file system; absent: the host's own. */
  readonly root?: string;
  /** Name of the local user who asked. */
  readonly requester: string;
  /** Slack channel id; null for a run from the host. */
  readonly channel: string | null;
  /** Unix time in ms after which it may not start; null: the order is used at once. */
  readonly expiresAt: number | null;
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;
export const isDigest = (value: unknown): value is string => typeof value === "string" && DIGEST.test(value);

/**
 * SHA-256 over everything that an approval or an Order binds, each field behind its length, the first naming the
 * format: changing, moving or swapping any of them gives another digest.
 */
export function runDigest(binding: RunBinding): string {
  const { opDigest, op, args, secrets, root, requester, channel, expiresAt } = binding;
  if (!isDigest(opDigest)) throw new SallyportError("internal", "A run is bound to the Op's content digest.");
  if (root !== undefined && !isDigest(root))
    throw new SallyportError("internal", "A run is bound to the root file system's digest.");
  if (expiresAt !== null && !Number.isSafeInteger(expiresAt)) {
    throw new SallyportError("internal", "An expiry is a time in whole milliseconds.");
  }
  const versions = secrets.map(({ name, version }) => [name, version] as const);
  versions.sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0));
  if (versions.some(([name], i) => i > 0 && versions[i - 1]?.[0] === name)) {
    throw new SallyportError("internal", "A secret is bound twice in one run.");
  }
  const bytes = lengthPrefixed([
    "sallyport run v1",
    opDigest,
    op,
    canonicalJson(args),
    canonicalJson(versions),
    requester,
    canonicalJson(channel),
    canonicalJson(expiresAt),
    ...(root === undefined ? [] : [root]),
  ]);
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** The first 12 hex digits, in threes, for two people to compare. Never compared by code. */
export function shortDigest(digest: string): string {
  if (!isDigest(digest)) throw new SallyportError("internal", "That is no digest.");
  return digest.slice(7, 19).replace(/(...)(?=.)/g, "$1 ");
}
