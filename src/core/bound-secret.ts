import { sourceText, type VaultSource } from "./vault-source.ts";

/** Which version of a secret a run gets. */
export interface BoundSecret {
  readonly name: string;
  /** Of the secret as it is kept here, 1, 2, 3 ... */
  readonly number: number;
  /** Where in an outside vault the value is, and which version was there when the run was asked for. */
  readonly outside?: { readonly source: VaultSource; readonly version: string };
}

/** As core/digest binds it: of an outside vault source and version. */
export function bindingOf({ name, number, outside }: BoundSecret): {
  name: string;
  version: string | number;
} {
  const version = outside === undefined ? number : `${number} ${sourceText(outside.source, outside.version)}`;
  return { name, version };
}
