import type { z } from "zod";
import type { Args } from "./args.ts";
import { showPath } from "./bundle-path.ts";
import { canonicalJson } from "./canonical.ts";
import type { Engine } from "./engines.ts";
import { SallyportError } from "./errors.ts";
import { isName } from "./identity.ts";
import { INPUT_LIMITS, type Input, makeInput } from "./inputs.ts";
import { sizeFault } from "./launch-size.ts";
import { buildCommand, type Command } from "./manifest-command.ts";
import {
  isRefusedEnv,
  manifestShape,
  type NetworkTarget,
  parseTarget,
  targetText,
} from "./manifest-shape.ts";
import { type Limits, limitsSource, makeLimits } from "./manifest-units.ts";
import { issueSentence } from "./shape-issue.ts";
import { parseStrictYaml, YamlFault } from "./yaml-strict.ts";

export type { BooleanInput, Input, NumberInput, StringInput, Value } from "./inputs.ts";
export type { Command, Runtime } from "./manifest-command.ts";
export type { NetworkTarget } from "./manifest-shape.ts";
export { DEFAULT_LIMITS, type Limits, MAX_LIMITS } from "./manifest-units.ts";

export type Confirm = "none" | "totp" | "local";
export interface Manifest {
  /** "namespace/name" */
  readonly op: string;
  readonly namespace: string;
  readonly name: string;
  readonly summary: string;
  readonly command: Command;
  /** Name of an imported root file system, used instead of the host's; absent: the host's. */
  readonly root?: string;
  /** In the order of the file, which is the order of a modal's fields. */
  readonly inputs: readonly Input[];
  readonly secrets: readonly { readonly name: string; readonly as: "file" | "env" }[];
  readonly network: readonly NetworkTarget[];
  readonly resources: readonly string[];
  readonly limits: Limits;
  /** null: any channel of the namespace. */
  readonly channels: readonly string[] | null;
  readonly confirm: Confirm;
  readonly approval: {
    readonly count: number;
    readonly group: string | null;
    readonly confirm: Confirm;
    /** Whoever published the version that is to run is no approver. Absent: may be one. */
    readonly excludeCoder?: true;
    /** Absent: an hour. */
    readonly expiresMs?: number;
  } | null;
  readonly concurrency: number;
  /** "default", "strict", "network" or a .json file of the bundle. */
  readonly seccomp: string;
  readonly reply: "channel" | "thread" | "private";
  /** Absent: the host's default. */
  readonly engine?: Engine;
}

/** Bytes of op.yaml. */
export const MANIFEST_MAX = 64 * 1024;

const bad = (detail: string): SallyportError => new SallyportError("manifest_invalid", detail);

/** Reads op.yaml. Throws `manifest_invalid` with one sentence: which key, and what would be right. */
export function parseManifest(source: string | Uint8Array): Manifest {
  const bytes = typeof source === "string" ? Buffer.from(source, "utf8") : source;
  if (bytes.length > MANIFEST_MAX)
    throw bad(`It has ${bytes.length} bytes; at most ${MANIFEST_MAX} are read.`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw bad("It is not UTF-8 text.");
  }
  if (/[^\t\n\r\x20-\u{10ffff}]|[\x7f-\x84\x86-\x9f]/u.test(text)) throw bad("It holds a control character.");
  try {
    return build(parseStrictYaml(text));
  } catch (error) {
    if (error instanceof YamlFault) throw bad(error.message);
    throw error;
  }
}

function build(value: unknown): Manifest {
  const parsed = manifestShape.safeParse(value);
  if (!parsed.success) throw bad(issueSentence(parsed.error, value));
  const shape = parsed.data;
  const [namespace = "", name = ""] = shape.op.split("/");
  const inputs = buildInputs(shape.inputs ?? {});
  const confirm = shape.confirm ?? "none";
  const secrets = shape.secrets ?? [];
  for (const secret of secrets) {
    if (secret.as === "env" && isRefusedEnv(secret.name)) {
      throw bad(
        `secrets: ${secret.name} can't be an environment variable, it would change how programs run.`,
      );
    }
  }
  unique(
    "secrets",
    secrets.map((secret) => secret.name),
  );
  unique(
    "network",
    (shape.network ?? []).map((target) => targetText({ ...target, scheme: "tls" })),
  );
  if (shape.seccomp === "strict" && (shape.network ?? []).length > 0)
    throw bad(
      "seccomp: strict allows no internet socket; with network leave it out, or name the profile network.",
    );
  unique("resources", shape.resources ?? []);
  unique("channels", shape.channels ?? []);
  const manifest: Manifest = {
    op: shape.op,
    namespace,
    name,
    summary: shape.summary,
    command: buildCommand(shape, inputs),
    ...(shape.root === undefined ? {} : { root: shape.root }),
    inputs,
    secrets,
    network: shape.network ?? [],
    resources: shape.resources ?? [],
    limits: makeLimits(shape.limits),
    channels: shape.channels ?? null,
    confirm,
    approval:
      shape.approval === undefined
        ? null
        : {
            count: shape.approval.count,
            group: shape.approval.group ?? null,
            confirm: shape.approval.confirm ?? confirm,
            ...(shape.approval.exclude_coder === true ? { excludeCoder: true as const } : {}),
            ...(shape.approval.expires === undefined ? {} : { expiresMs: shape.approval.expires }),
          },
    concurrency: shape.concurrency ?? 1,
    seccomp: shape.seccomp ?? "default",
    reply: shape.reply ?? "channel",
    ...(shape.engine === undefined ? {} : { engine: shape.engine }),
  };
  // Else every run of the Op would be refused.
  const fault = sizeFault(manifest, defaultsOf(inputs));
  if (fault !== null) throw bad(`run: with the inputs' defaults its arguments ${fault}.`);
  return manifest;
}

function defaultsOf(inputs: readonly Input[]): Args {
  return Object.fromEntries(
    inputs.flatMap((input) => (input.default === undefined ? [] : [[input.name, input.default]])),
  );
}

function buildInputs(shapes: NonNullable<z.infer<typeof manifestShape>["inputs"]>): Input[] {
  const names = Object.keys(shapes);
  if (names.length > INPUT_LIMITS.inputs) throw bad(`inputs: at most ${INPUT_LIMITS.inputs} are allowed.`);
  return names.map((name) => {
    const positive = name.slice("no_".length);
    if (name.startsWith("no_") && Object.hasOwn(shapes, positive) && shapes[positive]?.type === "boolean") {
      throw bad(
        `inputs.${name}: --no-${positive} already says that ${positive} is false; name it otherwise.`,
      );
    }
    if (!isName("input", name)) {
      throw bad(`inputs: ${showPath(name)} is no input's name; use a-z, 0-9, '_', a letter first.`);
    }
    const made = makeInput(name, shapes[name]!);
    if ("fault" in made) throw bad(`inputs.${name}.${made.key}: ${made.fault}.`);
    return made.input;
  });
}

function unique(key: string, names: readonly string[]): void {
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw bad(`${key}: ${twice} is there twice.`);
}

/** Canonical (RFC 8785); equal manifests give equal text. */
export function manifestToJson(manifest: Manifest): string {
  return canonicalJson(manifest);
}

/**
 * Reads what `manifestToJson` wrote, in this version or an earlier one, through all the checks of op.yaml again. A key that
 * is younger than the text has its default.
 */
export function manifestFromJson(json: string): Manifest {
  let stored: unknown = null;
  let manifest: Manifest | null = null;
  try {
    stored = JSON.parse(json);
    manifest = build(sourceOf(stored as Manifest));
  } catch (cause) {
    throw new SallyportError("manifest_invalid", "A stored manifest can't be read back.", { cause });
  }
  // What the way back would silently drop or change is not what was stored.
  if (canonicalJson(stored) !== json || canonicalJson(within(manifest, stored)) !== json)
    throw bad("A stored manifest is not in its canonical form.");
  return manifest;
}

/** `value` without the members that `shape` does not have. */
function within(value: unknown, shape: unknown): unknown {
  if (Array.isArray(value) && Array.isArray(shape)) return value.map((item, i) => within(item, shape[i]));
  if (value === null || typeof value !== "object" || shape === null || typeof shape !== "object")
    return value;
  const members = Object.entries(value).filter(([key]) => Object.hasOwn(shape, key));
  return Object.fromEntries(members.map(([key, member]) => [key, within(member, Reflect.get(shape, key))]));
}

function sourceOf(m: Manifest): Record<string, unknown> {
  const inputs = m.inputs.map(({ name, ...input }) => {
    const { minLength, maxLength, ...rest } = input as Record<string, unknown>;
    return [name, "enum" in rest || minLength === undefined ? rest : { ...rest, minLength, maxLength }];
  });
  const { command, approval } = m;
  return {
    op: m.op,
    summary: m.summary,
    ...(command.kind === "argv" ? { run: command.argv } : { runtime: command.runtime, entry: command.entry }),
    ...(m.root === undefined ? {} : { root: m.root }),
    inputs: Object.fromEntries(inputs),
    secrets: m.secrets,
    network: m.network.map((target) => {
      const text = targetText(target);
      if (parseTarget(text) === null) throw bad("network: a stored target is wrong.");
      return target.private === true ? { to: text, private: true } : text;
    }),
    resources: m.resources,
    limits: limitsSource(m.limits),
    ...(m.channels === null ? {} : { channels: m.channels }),
    confirm: m.confirm,
    ...(approval === null
      ? {}
      : {
          approval: {
            count: approval.count,
            confirm: approval.confirm,
            ...(approval.group === null ? {} : { group: approval.group }),
            ...(approval.excludeCoder === true ? { exclude_coder: true } : {}),
            ...(approval.expiresMs === undefined ? {} : { expires: `${approval.expiresMs / 1000}s` }),
          },
        }),
    concurrency: m.concurrency,
    seccomp: m.seccomp,
    reply: m.reply,
    ...(m.engine === undefined ? {} : { engine: m.engine }),
  };
}
