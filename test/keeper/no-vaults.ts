import type { VaultClient } from "../../src/keeper/vaults.ts";

const none = (): Promise<never> => Promise.reject(new Error("no vault is asked here"));

/** For tests in which every value is kept here. */
export const NO_VAULTS: Pick<VaultClient, "fetch" | "version"> = { fetch: none, version: none };
