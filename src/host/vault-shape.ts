import { z } from "zod";
import { isName } from "../core/identity.ts";
import { isVaultPath } from "../core/vault-source.ts";

/** `vaults` of sallyport.yaml: the outside vaults that the courier may connect to, by name. */

const path = z.string().refine(isVaultPath, {
  error: "must be a path in the vault, like secret or kv/ops, without a slash at its ends",
});

const listed = z.strictObject({
  /** https://HOST[:PORT] */
  address: z
    .string()
    .max(300)
    .refine(isHttps, { error: "must be https://HOST or https://HOST:PORT, and no more" }),
  /** PEM file; null: the system's. */
  ca: z
    .string()
    .max(512)
    .regex(/^\/[^\0]+$/, "must be an absolute path")
    .nullable()
    .default(null),
  /** Of Vault Enterprise and OpenBao. */
  namespace: path.nullable().default(null),
  /** Of the KV version 2 engine. */
  mount: path.default("secret"),
  /** Of the AppRole method. */
  auth: path.default("approle"),
});

export const vaultsShape = z
  .record(
    z.string().refine((name) => isName("resource", name)),
    listed,
    {
      error: ({ code }) =>
        code === "invalid_key"
          ? "is no vault's name (a-z, 0-9, '_', '-')"
          : "must be names with what they stand for, like {corp: {address: https://vault.internal:8200}}",
    },
  )
  .refine((all) => Object.keys(all).length <= 16, { error: "must have at most 16 entries" })
  .default({});

export type ListedVaults = z.infer<typeof vaultsShape>;
/** What root says of one vault. */
export type VaultPlace = ListedVaults[string];

function isHttps(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.protocol !== "https:" || url.hostname === "") return false;
  const plain = `https://${url.hostname}${url.port === "" ? "" : `:${url.port}`}`;
  return [plain, `${plain}:443`].includes(text.toLowerCase().replace(/\/$/, ""));
}

/** What the courier connects to, once each. */
export function portsOf(vaults: ListedVaults): number[] {
  const ports = Object.values(vaults).map(({ address }) => Number(new URL(address).port || 443));
  return [...new Set(ports)];
}
