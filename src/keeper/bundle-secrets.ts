import { setImmediate } from "node:timers/promises";
import type { BundleFile } from "../core/bundle.ts";
import { SallyportError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { type Finding, findingsText, scanFiles } from "../core/secret-scan/scan.ts";
import type { Tx } from "../store/tx.ts";
import type { Caller } from "./callers.ts";

/** What in a bundle looks like a credential. Everybody else is served meanwhile. */
export function scanBundle(files: readonly BundleFile[]): Promise<Finding[]> {
  return scanFiles(files, setImmediate);
}

/** The refusal: where and by which rule, never what. */
export function credentialsFound(found: readonly Finding[]): SallyportError {
  return new SallyportError(
    "bundle_invalid",
    `It holds what looks like a credential: ${findingsText(found)}. Everybody who may see the Op could read it. Keep it as a secret (sallyport secret set NAMESPACE/NAME) and name it under secrets: in op.yaml. If it is none, publish with --allow-secret REASON.`,
  );
}

export function logAllowed(
  tx: Tx,
  o: {
    caller: Caller;
    manifest: Manifest;
    digest: string;
    found: readonly Finding[];
    reason: string | undefined;
  },
): void {
  const { caller, manifest, digest, found, reason } = o;
  tx.log({
    type: "op.secret_allowed",
    outcome: "success",
    actor: caller.actor,
    op: manifest.op,
    namespace: manifest.namespace,
    reason,
    data: {
      rules: [...new Set(found.map(({ rule }) => rule))].join(","),
      files: new Set(found.map(({ path }) => path)).size,
      digest,
    },
  });
}
