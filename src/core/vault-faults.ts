/** Why a vault gave nothing, as the courier tells it, and what a person reads of it. The courier's words reach nobody. */
export const VAULT_FAULTS = {
  no_login: "has no credential here. Enter one on the host: sallyport vault login VAULT",
  no_ca:
    "can't be verified: the file of its CA (vaults.VAULT.ca in sallyport.yaml) is missing, unreadable or no certificate",
  unreachable: "can't be reached. Is it up, and does the host's firewall let the courier through?",
  tls: "does not prove who it is: its certificate was refused, or it speaks no TLS of 1.2 or newer. See vaults.VAULT.ca in sallyport.yaml and the name in the certificate",
  timeout: "did not answer within 10 s",
  redirected:
    "sent the request on to another address, which is never followed. Name the active node, or the load balancer before it, in sallyport.yaml",
  login_refused: "refused the AppRole credential. Enter a new one on the host: sallyport vault login VAULT",
  unwrap_refused:
    "does not know the wrapping token: it expired, or somebody has used it already. In that case the secret id in it is known to somebody: have it revoked, and ask for a new one",
  forbidden: "does not let the AppRole read that path. Its policy needs read on MOUNT/data/PATH",
  not_found:
    "has no secret at that path, or no KV version 2 at that mount (vaults.VAULT.mount in sallyport.yaml)",
  deleted: "has deleted or destroyed that version of the secret",
  no_key: "has a secret at that path, but no field of that name in it",
  not_text: "has that field, but its value is no text",
  unfit:
    "has a value there that can't be kept out of an Op's output: it is empty, shorter than 4 bytes or a common word",
  limited: "refuses for now: too many requests (429)",
  unavailable: "answered with an error of its own. Is it sealed, or in trouble?",
  too_large: "answered with more than may be: 256 KiB an answer, 64 KiB a value",
  malformed: "answered with something that is no answer of a vault",
  courier: "was not asked: the courier, which alone reaches vaults, is not there. See the output of serve",
  internal: "was not asked: the courier failed. See the output of serve",
} as const;

export type VaultFault = keyof typeof VAULT_FAULTS;

/** `detail`: an error's code or an HTTP status. */
export function faultText(vault: string, address: string, fault: VaultFault, detail: string | null): string {
  const said = VAULT_FAULTS[fault].replaceAll("VAULT", vault);
  const end = /[.?]$/.test(said) || /sallyport vault login \S+$/.test(said) ? "" : ".";
  return `The vault ${vault} (${address}) ${said}${end}${detail === null ? "" : ` (${detail})`}`;
}
