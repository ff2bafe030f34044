import { isIPv4, isIPv6 } from "node:net";
import { z } from "zod";
import { bundlePathFault } from "./bundle-path.ts";
import { ENGINES } from "./engines.ts";
import { isChannelId, isName } from "./identity.ts";
import { inputShape, isPrintable } from "./inputs.ts";
import { approvalTime, limitsShape } from "./manifest-units.ts";

/** The shape of op.yaml (DESIGN section 6), key by key; every `error` is the sentence after the key's name. */

const one = (list: readonly string[]): string => `must be ${list.slice(0, -1).join(", ")} or ${list.at(-1)}`;
const choice = <const T extends readonly [string, ...string[]]>(list: T) =>
  z.enum(list, { error: one(list) });
const text = (error: string, test: (value: string) => boolean) => z.string({ error }).refine(test, { error });
const listOf = <T extends z.ZodType>(item: T, what: string, max: number) =>
  z
    .array(item, { error: `must be a list of ${what}` })
    .max(max, { error: `must have at most ${max} entries` });

const CONFIRM = ["none", "totp", "local"] as const;

const argument = z
  .string({ error: "must be text; put it in quotes" })
  .refine((value) => Buffer.byteLength(value) <= 4096, { error: "must have at most 4096 bytes" })
  .refine((value) => value.isWellFormed() && !value.includes("\0"), {
    error: "must be valid text without NUL",
  });

const ENV_REFUSED =
  /^(LD_|GCONV_PATH$|PATH$|HOME$|LANG$|LC_|ENV$|BASH_|IFS$|PS4$|SHELLOPTS$|NODE_|PYTHON|PERL|RUBY|GLIBC_|MALLOC_|INPUT_|SALLYPORT)/;
const SECRET_ERROR = "must be a secret's name (A-Z, 0-9, '_') or {name: NAME, as: file or env}";
const secretName = text(SECRET_ERROR, (value) => isName("secret", value));
const secret = z.union(
  [
    secretName.transform((name) => ({ name, as: "file" as const })),
    z.strictObject({ name: secretName, as: z.enum(["file", "env"]) }),
  ],
  { error: SECRET_ERROR },
);
export const isRefusedEnv = (name: string): boolean => ENV_REFUSED.test(name);

export interface NetworkTarget {
  readonly scheme: "tls" | "ssh";
  /** Lower-case DNS name, IPv4, or IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** It may resolve to a private address, within what root allows (network.private of sallyport.yaml). */
  readonly private?: true;
}

const NETWORK_ERROR = 'must be "host:port" (TLS) or "ssh://host:port", lower-case, a port of 1 to 65535';
const DNS_LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$/;

export function parseTarget(value: string): NetworkTarget | null {
  const [, scheme, bracketed, plain, digits] =
    /^(?:(ssh|tls):\/\/)?(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9._-]{1,253})):([1-9][0-9]{0,4})$/.exec(value) ??
    [];
  const port = Number(digits);
  if (!(port <= 65535)) return null;
  const host = bracketed ?? plain ?? "";
  const good = bracketed === undefined ? isHost(host) : isIPv6(host);
  return good ? { scheme: scheme === "ssh" ? "ssh" : "tls", host, port } : null;
}

function isHost(host: string): boolean {
  // "127.1" or "0x7f.1" would be read as addresses by some libraries and as names by others.
  if (/^[0-9.]+$/.test(host) || /^0x/.test(host)) return isIPv4(host);
  const labels = host.split(".");
  return labels.every((label) => DNS_LABEL.test(label)) && !/^[0-9]+$/.test(labels.at(-1) ?? "");
}

export function targetText({ scheme, host, port }: NetworkTarget): string {
  return `${scheme === "ssh" ? "ssh://" : ""}${host.includes(":") ? `[${host}]` : host}:${port}`;
}

const targetOf = z.string({ error: NETWORK_ERROR }).transform((value, context): NetworkTarget => {
  const target = parseTarget(value);
  if (target !== null) return target;
  context.addIssue({ code: "custom", message: NETWORK_ERROR });
  return z.NEVER;
});
const networkTarget = z.union(
  [
    targetOf,
    z
      .strictObject({ to: targetOf, private: z.boolean() })
      .transform((t): NetworkTarget => (t.private ? { ...t.to, private: true } : t.to)),
  ],
  { error: `${NETWORK_ERROR}; or {to: "host:port", private: true}` },
);

const bundlePath = (error: string) => text(error, (value) => bundlePathFault(value) === null);
const SECCOMP_ERROR = "must be default, strict, network, or a .json file of the folder";

export const manifestShape = z.strictObject(
  {
    op: text("must be namespace/name, lower-case, like web/restart", (value) => {
      const [namespace, name, ...rest] = value.split("/");
      return isName("namespace", namespace) && isName("op", name) && rest.length === 0;
    }),
    summary: text("must be one line of 1 to 200 characters, none of them control or invisible", (value) => {
      return value.trim() !== "" && value.length <= 200 && isPrintable(value);
    }),
    run: z
      .array(argument, { error: 'must be a list of texts, like ["./main.sh", "--all"]' })
      .min(1, { error: "must name at least the program" })
      .max(64, { error: "must have at most 64 elements" })
      .optional(),
    runtime: choice(["node", "python", "shell"]).optional(),
    entry: bundlePath("must be a file of the folder, like main.py").optional(),
    root: text("must be the name of an imported root file system (see: sallyport runtime list)", (value) =>
      isName("runtime", value),
    ).optional(),
    inputs: z
      .record(z.string(), inputShape, { error: "must be names with types, like {env: {type: string}}" })
      .optional(),
    secrets: listOf(secret, "secrets' names", 32).optional(),
    network: listOf(networkTarget, "targets", 32).optional(),
    resources: listOf(
      text("must be a resource's name (a-z, 0-9, '_', '-')", (value) => isName("resource", value)),
      "resources' names",
      32,
    ).optional(),
    limits: limitsShape.optional(),
    channels: listOf(
      text(
        "must be a channel's id, like C0123456789 (in Slack: channel name, About, at the end)",
        isChannelId,
      ),
      "channel ids",
      64,
    )
      .min(1, { error: "must not be empty; leave it out for any channel of the namespace" })
      .optional(),
    confirm: choice(CONFIRM).optional(),
    approval: z
      .strictObject(
        {
          count: z
            .int({ error: "must be a whole number, 1 to 10" })
            .min(1, { error: "must be 1 to 10" })
            .max(10, { error: "must be 1 to 10" }),
          group: text("must be a group's name", (value) => isName("group", value)).optional(),
          confirm: choice(CONFIRM).optional(),
          exclude_coder: z.boolean({ error: "must be true or false" }).optional(),
          expires: approvalTime.optional(),
        },
        { error: "must be like {count: 1, group: leads}" },
      )
      .optional(),
    concurrency: z
      .int({ error: "must be a whole number, 1 to 64" })
      .min(1, { error: "must be 1 to 64" })
      .max(64, { error: "must be 1 to 64" })
      .optional(),
    seccomp: text(SECCOMP_ERROR, (value) => {
      if (["default", "strict", "network"].includes(value)) return true;
      return value.endsWith(".json") && bundlePathFault(value) === null;
    }).optional(),
    engine: choice(ENGINES).optional(),
    reply: choice(["channel", "thread", "private"]).optional(),
  },
  { error: "must be keys with values; the first is op: namespace/name" },
);
