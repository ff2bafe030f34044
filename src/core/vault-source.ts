import { SallyportError } from "./errors.ts";

/** Where in an outside vault (KV version 2 of HashiCorp Vault and OpenBao) a secret's value is. */
export type VaultSource = {
  /** As root names it in sallyport.yaml. */
  readonly vault: string;
  /** Below the mount, like `app/deploy`. */
  readonly path: string;
  /** Which field of what lies there. */
  readonly key: string;
  /** null: whichever version is the newest. */
  readonly version: number | null;
};

export const VAULT_KEY_CHARS = 128;
export const VAULT_PATH_CHARS = 512;
export const VAULT_VERSION_MAX = 0x7fffffff;

const PATH = /^[A-Za-z0-9._~@+-]{1,128}(\/[A-Za-z0-9._~@+-]{1,128})*$/;

/** What a path, a mount or a vault's namespace may look like: nothing that a URL reads in another way. */
export function isVaultPath(text: string): boolean {
  return text.length <= VAULT_PATH_CHARS && PATH.test(text) && !/(^|\/)\.\.?(\/|$)/.test(text);
}

export function isVaultKey(text: string): boolean {
  return text.length >= 1 && text.length <= VAULT_KEY_CHARS && !/[\x00-\x1f\x7f]/.test(text);
}

/** Throws `input_invalid` that names what is wrong. `vaults`: the names in sallyport.yaml. */
export function checkSource(source: VaultSource, vaults: readonly string[]): VaultSource {
  const { vault, path, key, version } = source;
  if (!vaults.includes(vault)) throw new SallyportError("input_invalid", unknownVault(vault, vaults));
  if (!isVaultPath(path))
    throw new SallyportError(
      "input_invalid",
      "--path is the secret's path below the mount, like app/deploy: letters, digits and . _ ~ @ + - between slashes.",
    );
  if (!isVaultKey(key))
    throw new SallyportError("input_invalid", "--key is the name of a field of that secret, like password.");
  if (version !== null && !(Number.isInteger(version) && version >= 1 && version <= VAULT_VERSION_MAX))
    throw new SallyportError("input_invalid", "--version is a whole number from 1.");
  return source;
}

export function unknownVault(vault: string, vaults: readonly string[]): string {
  const known = vaults.length === 0 ? "it names none" : `it names ${vaults.join(", ")}`;
  return `sallyport.yaml has no vault ${vault} (${known}). Root adds it under vaults:, see docs/vault.md.`;
}

/** For people and for what an approval binds: `corp:app/deploy#password@7`; without a version what is set, not what it gives. */
export function sourceText({ vault, path, key }: VaultSource, version: string | number | null): string {
  return `${vault}:${path}#${key}${version === null ? "" : `@${version}`}`;
}
