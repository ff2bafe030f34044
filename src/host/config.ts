import { existsSync, readFileSync, statSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { PRIVATE_BLOCKS, parseBlock } from "../core/addresses.ts";
import { ENGINES } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import { resourcesShape } from "./resource-shape.ts";
import { vaultsShape } from "./vault-shape.ts";

export const DEFAULT_CONFIG = "/etc/sallyport/sallyport.yaml";
const MAX_BYTES = 64 * 1024;

/** What root decides about the host. Every key is documented in docs/configuration.md; an unknown one is an error. */
const Config = z.strictObject({
  /** Whether an Op may run where no cgroup bounds its memory and processes. */
  limits: z.enum(["required", "best-effort"]).default("required"),
  /** Where imported root file systems are. */
  runtimes: z
    .string()
    .max(1024)
    .regex(/^\/[^\0]*$/, "must be an absolute path")
    .optional(),
  network: z
    .strictObject({
      /** Blocks of addresses that are not public and that an Op may reach all the same, when its manifest says so too. */
      private: z
        .array(
          z.string().refine((text) => parseBlock(text) !== null, {
            error: "is no block of addresses, like 10.0.0.0/8",
          }),
        )
        .max(64)
        .default([...PRIVATE_BLOCKS]),
    })
    .prefault({}),
  /** What starts an Op whose op.yaml names no engine. */
  engine: z.enum(ENGINES).default("native"),
  /** What of the host an Op may ask for, by name. */
  resources: resourcesShape,
  /** Which outside vaults secrets may be fetched from. */
  vaults: vaultsShape,
});
export type Config = z.infer<typeof Config>;

/** Reads the file that was named, else the default one where it exists. Throws `config_invalid` naming the key. */
export function readConfig(named: string | undefined): Config {
  const file = named ?? DEFAULT_CONFIG;
  if (named === undefined && !existsSync(file)) return Config.parse({});
  let text: string;
  try {
    if (statSync(file).size > MAX_BYTES)
      throw new SallyportError("config_invalid", `${file} is larger than ${MAX_BYTES} bytes.`);
    text = readFileSync(file, "utf8");
  } catch (cause) {
    if (cause instanceof SallyportError) throw cause;
    throw new SallyportError("config_invalid", `${file} can't be read.`, { cause });
  }
  const parsed = Config.safeParse(parseYaml(text, file) ?? {});
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new SallyportError(
    "config_invalid",
    `${file}: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`.replaceAll(/ +/g, " ").trim(),
  );
}

function parseYaml(text: string, file: string): unknown {
  try {
    return parse(text, { maxAliasCount: 0, customTags: [], uniqueKeys: true });
  } catch (cause) {
    const line = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : "";
    throw new SallyportError("config_invalid", `${file} is no valid YAML: ${line}`, { cause });
  }
}
