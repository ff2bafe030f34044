import { getSetting, getText, setSetting } from "./settings.ts";
import type { Reader, Tx } from "./tx.ts";

/** AppRole credentials of outside vaults, by the vault's name in sallyport.yaml. Nothing here is outside the encrypted database. */
const keysOf = (vault: string) =>
  ({ roleId: `vault.${vault}.role_id`, secretId: `vault.${vault}.secret_id` }) as const;

/** The caller wipes the secret id. */
export async function getCredential(
  reader: Reader,
  vault: string,
): Promise<{ roleId: string; secretId: Buffer } | undefined> {
  const roleId = await getText(reader, keysOf(vault).roleId);
  const secretId = await getSetting(reader, keysOf(vault).secretId);
  return roleId === undefined || secretId === undefined ? undefined : { roleId, secretId };
}

/** Replaces the one before. */
export async function setCredential(
  tx: Tx,
  vault: string,
  { roleId, secretId }: { roleId: string; secretId: Uint8Array },
): Promise<void> {
  await setSetting(tx, keysOf(vault).roleId, roleId);
  await setSetting(tx, keysOf(vault).secretId, secretId);
}

/** False: there was none. */
export async function removeCredential(tx: Tx, vault: string): Promise<boolean> {
  const { roleId, secretId } = keysOf(vault);
  return (await tx.run("DELETE FROM settings WHERE key IN (?, ?)", [roleId, secretId])) > 0;
}
