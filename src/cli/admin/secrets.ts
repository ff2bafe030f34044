import type { Command as Program } from "commander";
import { SallyportError } from "../../core/errors.ts";
import { Secret } from "../../core/secret.ts";
import type { VaultSource } from "../../core/vault-source.ts";
import { wipe } from "../../keys/memory.ts";
import { table } from "../print.ts";
import { common } from "../program.ts";
import { askSecret, readSecretFd } from "../prompt.ts";
import { vaultVersionOf } from "../values.ts";
import type { Admin } from "./context.ts";

type Listed = {
  secret: string;
  version: number;
  description: string;
  expires: string | null;
  ops: string[];
};
type Versions = {
  secret: string;
  removed: boolean;
  ops: string[];
  versions: { version: number; state: string; by: string; set: string; runs: string[]; source?: string }[];
};
type About = { description?: string; expires?: string };
type Put = About & { valueFd?: string; vault?: string; path?: string; key?: string; version?: string };

/** secret set | rotate | describe | list | versions | remove. No command shows a value, or any part of it. */
export function addSecrets(program: Program, admin: Admin): void {
  const secret = program.command("secret").description("values that Ops get, kept encrypted in a namespace");
  const about = (command: Program) =>
    common(command)
      .option("--description <text>", "what it is for")
      .option("--expires <date>", "YYYY-MM-DD, when it ceases to be valid; none: no date");
  for (const action of ["set", "rotate"] as const) {
    about(secret.command(`${action} <secret>`))
      .description(
        action === "set"
          ? "enter a new secret, named NAMESPACE/NAME"
          : "give a secret another value; runs under way keep the one that they have",
      )
      .option("--value-fd <n>", "read the value from this descriptor, to its end, less one final newline")
      .option(
        "--vault <name>",
        "the value stays in this outside vault, and is fetched for each run; with --path, --key",
      )
      .option("--path <path>", "where it is there, below the mount")
      .option("--key <key>", "which field of it")
      .option("--version <n>", "always this version, not the newest")
      .action(async (typed: string, options: Put, command: Program) => {
        const at = nameOf(typed);
        const params = { ...at, ...aboutOf(options) };
        const source = sourceOf(options);
        if (source !== null)
          return admin.show<"secret.source", { version: number; source: string }>(
            command,
            "secret.source",
            { ...params, source, rotate: action === "rotate" },
            (d) => [`${typed}: version ${d.version} is ${d.source}, fetched for each run.`],
          );
        const value =
          options.valueFd === undefined
            ? await askTwice(admin, command, at, action)
            : readSecretFd(options.valueFd, "--value-fd");
        await admin.show<`secret.${typeof action}`, { version: number }>(
          command,
          `secret.${action}`,
          params,
          (d) => [`${typed}: ${action === "set" ? "set" : "rotated"}, version ${d.version}.`],
          { parts: [new Secret(value)] },
        );
      });
  }
  about(secret.command("describe <secret>"))
    .description("change what is said of a secret, not its value")
    .action((typed: string, options: About, command: Program) =>
      admin.show(command, "secret.describe", { ...nameOf(typed), ...aboutOf(options) }, () => [
        `${typed}: changed.`,
      ]),
    );
  common(secret.command("list [namespace]"))
    .description("the secrets, and which Ops use them")
    .action((namespace: string | undefined, _: object, command: Program) =>
      admin.show<"secret.list", { secrets: Listed[] }>(
        command,
        "secret.list",
        namespace === undefined ? {} : { namespace },
        (d) =>
          table(
            ["SECRET", "VERSION", "EXPIRES", "OPS", "DESCRIPTION"],
            d.secrets.map((s) => [
              s.secret,
              String(s.version),
              s.expires ?? "-",
              s.ops.join(",") || "-",
              s.description,
            ]),
          ),
      ),
    );
  common(secret.command("versions <secret>"))
    .description("who set it when, and which runs still hold an older version")
    .action((typed: string, _: object, command: Program) =>
      admin.show<"secret.versions", Versions>(command, "secret.versions", nameOf(typed), (d) => [
        ...(d.removed ? [`${typed} was removed.`] : []),
        ...table(
          ["VERSION", "STATE", "SET", "BY", "RUNS", "FROM"],
          d.versions.map((v) => [
            String(v.version),
            v.state,
            v.set,
            v.by,
            v.runs.join(",") || "-",
            v.source ?? "here",
          ]),
        ),
      ]),
    );
  common(secret.command("remove <secret>"))
    .description("let no run get it any more")
    .action((typed: string, _: object, command: Program) =>
      admin.show<"secret.remove", { ops: string[] }>(command, "secret.remove", nameOf(typed), (d) => [
        `${typed}: removed.`,
        ...(d.ops.length === 0 ? [] : [`These Ops ask for it and can't run without: ${d.ops.join(", ")}`]),
      ]),
    );
}

function sourceOf({ vault, path, key, version, valueFd }: Put): VaultSource | null {
  if (vault === undefined) {
    if (path !== undefined || key !== undefined || version !== undefined)
      throw new SallyportError(
        "usage",
        "--path, --key and --version say where in an outside vault: --vault NAME",
      );
    return null;
  }
  if (path === undefined || key === undefined || valueFd !== undefined)
    throw new SallyportError("usage", "With --vault write --path PATH and --key KEY, and no value.");
  return { vault, path, key, version: vaultVersionOf(version) };
}

/** What would be refused whatever the value is refused before one is typed. */
async function askTwice(
  admin: Admin,
  command: Program,
  at: { namespace: string; name: string },
  action: "set" | "rotate",
): Promise<Buffer> {
  const { namespace, name } = at;
  const { secrets } = (await admin.call(command, "secret.list", { namespace })) as { secrets: Listed[] };
  const isThere = secrets.some((s) => s.secret === `${namespace}/${name}`);
  if (isThere && action === "set")
    throw new SallyportError(
      "conflict",
      `${namespace}/${name} is set already; give it another value with: sallyport secret rotate ${namespace}/${name}`,
    );
  if (!isThere && action === "rotate")
    throw new SallyportError(
      "not_found",
      `There is no secret ${namespace}/${name}; set it with: sallyport secret set ${namespace}/${name}`,
    );
  const first = await askSecret(`Value of ${namespace}/${name} (one line, not shown): `);
  let second: Buffer | undefined;
  try {
    second = await askSecret("The same again: ");
    if (first.equals(second)) return first;
  } catch (error) {
    wipe(first);
    throw error;
  } finally {
    wipe(second);
  }
  wipe(first);
  throw new SallyportError("input_invalid", "The two values differ; nothing was changed.");
}

function nameOf(typed: string): { namespace: string; name: string } {
  const [namespace, name, ...rest] = typed.split("/");
  if (namespace === undefined || name === undefined || rest.length > 0)
    throw new SallyportError("usage", "A secret is named NAMESPACE/NAME, like web/DEPLOY_KEY.");
  return { namespace, name };
}

function aboutOf({ description, expires }: About): { description?: string; expires?: number | null } {
  return {
    ...(description === undefined ? {} : { description }),
    ...(expires === undefined ? {} : { expires: expires === "none" ? null : dateOf(expires) }),
  };
}

/** The beginning of that day in UTC, in ms since the epoch. */
function dateOf(text: string): number {
  const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 10) !== text)
    throw new SallyportError("usage", "--expires takes a date like 2027-01-31, or none.");
  return ms;
}
