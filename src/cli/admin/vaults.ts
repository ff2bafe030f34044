import type { Command as Program } from "commander";
import { SallyportError } from "../../core/errors.ts";
import { sourceText } from "../../core/vault-source.ts";
import { common } from "../program.ts";
import { askSecret, readSecretFd } from "../prompt.ts";
import { vaultVersionOf } from "../values.ts";
import type { Admin } from "./context.ts";

type LoginOptions = { roleId: string; wrapped?: boolean; valueFd?: string };
type CheckOptions = { key: string; version?: string };
type Listed = { vault: string; address: string; credential: boolean };

/** Outside vaults: sallyport.yaml says where they are, these with which credential. */
export function addVaults(program: Program, admin: Admin): void {
  const vault = program
    .command("vault")
    .description("outside vaults (HashiCorp Vault, OpenBao) that secrets come from");
  common(vault.command("login <vault>"))
    .description("enter the AppRole secret id; it is tried, then kept encrypted")
    .requiredOption("--role-id <id>", "the AppRole's role id")
    .option("--wrapped", "what is entered is a wrapping token, which the secret id is taken out of")
    .option("--value-fd <n>", "read it from this descriptor")
    .action(async (name: string, options: LoginOptions, command: Program) => {
      const wrapped = options.wrapped === true;
      const secretId =
        options.valueFd === undefined
          ? await askSecret(wrapped ? "Wrapping token: " : "Secret id: ")
          : readSecretFd(options.valueFd, "--value-fd");
      try {
        if (secretId.length === 0) throw new SallyportError("input_invalid", "Nothing was entered.");
        const params = { vault: name, roleId: options.roleId, wrapped };
        await admin.show<"vault.login", { vault: string }>(
          command,
          "vault.login",
          params,
          (d) => [`The vault ${d.vault} took the credential. It is kept.`],
          { parts: [secretId] },
        );
      } finally {
        secretId.fill(0);
      }
    });
  common(vault.command("logout <vault>"))
    .description("forget the credential and have the vault revoke its token")
    .action((name: string, _: object, command: Program) =>
      admin.show<"vault.logout", { vault: string }>(command, "vault.logout", { vault: name }, (d) => [
        `The credential of ${d.vault} is forgotten. Runs that need that vault are refused.`,
      ]),
    );
  common(vault.command("list"))
    .description("the vaults of sallyport.yaml, and whether a credential is kept for them")
    .action((_: object, command: Program) =>
      admin.show<"vault.list", { vaults: Listed[] }>(command, "vault.list", {}, ({ vaults }) =>
        vaults.length === 0
          ? ["sallyport.yaml names no vault."]
          : vaults.map(
              (one) =>
                `${one.vault}  ${one.address}  ${one.credential ? "credential kept" : `no credential: sallyport vault login ${one.vault}`}`,
            ),
      ),
    );
  common(vault.command("check <vault> <path>"))
    .description("fetch a value as a run would, and say no more than its version")
    .requiredOption("--key <key>", "which field of the secret")
    .option("--version <n>", "this version, not the newest")
    .action((name: string, path: string, { key, version }: CheckOptions, command: Program) => {
      const source = { vault: name, path, key, version: vaultVersionOf(version) };
      return admin.show<"vault.check", { version: string }>(command, "vault.check", source, (d) => [
        `${sourceText(source, d.version)} can be fetched.`,
      ]);
    });
}
