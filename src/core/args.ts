import { canonicalJson } from "./canonical.ts";
import { SallyportError } from "./errors.ts";
import { type Input, type Value, valueFault } from "./inputs.ts";
import type { Manifest } from "./manifest.ts";
import { inputOf, RUNTIMES } from "./manifest-command.ts";
import { cleanText, truncateGraphemes } from "./text.ts";

export { TOKEN_LIMITS, type TokenizeOptions, tokenize } from "./tokens.ts";

/** Checked values by input name, defaults filled in, in the manifest's order. Inputs not given are absent. */
export type Args = Readonly<Record<string, Value>>;

const bad = (detail: string): SallyportError => new SallyportError("input_invalid", detail);
const quote = (text: string): string => `"${truncateGraphemes(cleanText(text), 40)}"`;

/**
 * Words to values: `--name value`, `--name=value`, for a boolean also `--name` and `--no-name`; "-" may stand for
 * "_" in a name. Throws `input_invalid` with a sentence for the person.
 */
export function parseArgs(manifest: Manifest, tokens: readonly string[]): Args {
  const given = new Map<string, unknown>();
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i] ?? "";
    const [, spelled, equals, inline = ""] = /^--([A-Za-z][A-Za-z0-9_-]*)(=)?([\s\S]*)$/.exec(token) ?? [];
    if (spelled === undefined || (equals === undefined && inline !== "")) {
      throw bad(`${quote(token)} was not expected: values are given as --name value.${known(manifest)}`);
    }
    const { input, negated } = find(manifest, spelled);
    if (given.has(input.name)) throw bad(`--${input.name} is given twice.`);
    let text: string | undefined = equals === undefined ? undefined : inline;
    if (negated) {
      if (text !== undefined) throw bad(`--no-${input.name} takes no value.`);
      text = "false";
    }
    if (text === undefined) {
      const next = tokens[i + 1];
      if (input.type === "boolean") text = next === "true" || next === "false" ? next : undefined;
      else if (next === undefined) throw bad(`--${input.name} needs a value.`);
      else if (next.startsWith("--")) {
        throw bad(`--${input.name} needs a value; if that is ${quote(next)}, write --${input.name}=VALUE.`);
      } else text = next;
      if (text === undefined) text = "true";
      else i++;
    }
    given.set(input.name, fromText(input, text));
  }
  return checkArgs(manifest, Object.fromEntries(given));
}

/** Typed values (a modal's, or stored ones) to Args: undeclared, missing and ill-typed ones are refused. */
export function checkArgs(manifest: Manifest, values: Readonly<Record<string, unknown>>): Args {
  for (const name of Object.keys(values)) {
    if (!manifest.inputs.some((input) => input.name === name)) throw undeclared(manifest, name);
  }
  const args: Record<string, Value> = Object.create(null);
  for (const input of manifest.inputs) {
    const value = Object.hasOwn(values, input.name) ? values[input.name] : undefined;
    if (value === undefined || value === null) {
      if (input.default !== undefined) args[input.name] = input.default;
      else if (input.required) throw bad(`--${input.name} is required.${hint(input)}`);
      continue;
    }
    const fault = valueFault(input, value);
    if (fault !== null) throw bad(`--${input.name} ${fault}.`);
    // -0 and 0 would be equal values with different text.
    args[input.name] = value === 0 ? 0 : (value as Value);
  }
  return { ...args };
}

function find(manifest: Manifest, spelled: string): { input: Input; negated: boolean } {
  const name = spelled.replaceAll("-", "_");
  const input = manifest.inputs.find((candidate) => candidate.name === name);
  if (input !== undefined) return { input, negated: false };
  if (spelled.startsWith("no-")) {
    const flag = manifest.inputs.find((candidate) => candidate.name === name.slice(3));
    if (flag?.type === "boolean") return { input: flag, negated: true };
  }
  throw undeclared(manifest, spelled);
}

function undeclared(manifest: Manifest, name: string): SallyportError {
  return bad(`${manifest.op} has no input ${quote(name)}.${known(manifest)}`);
}

function known(manifest: Manifest): string {
  if (manifest.inputs.length === 0) return ` ${manifest.op} takes no values.`;
  return ` It takes ${manifest.inputs.map((input) => `--${input.name}`).join(", ")}.`;
}

function hint(input: Input): string {
  if (input.type === "string" && input.enum !== undefined) return ` It is one of ${input.enum.join(", ")}.`;
  return input.description === undefined ? "" : ` It is: ${input.description}`;
}

// One spelling a value: no "0x10", "1e3", "+5", " 5" or "yes", which tools read in different ways.
function fromText(input: Input, text: string): Value {
  switch (input.type) {
    case "string":
      return text;
    case "boolean":
      if (text === "true" || text === "false") return text === "true";
      throw bad(`--${input.name} must be true or false, not ${quote(text)}.`);
    case "integer":
      if (/^-?(0|[1-9][0-9]{0,15})$/.test(text)) return Number(text);
      throw bad(`--${input.name} must be a whole number, not ${quote(text)}.`);
    case "number":
      if (/^-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,4})?$/.test(text)) return Number(text);
      throw bad(`--${input.name} must be a number with at most 4 decimals, not ${quote(text)}.`);
  }
}

/** What is executed. An input takes the place of one whole element; nothing is joined, split or expanded. */
export function toArgv(manifest: Manifest, args: Args): string[] {
  const { command } = manifest;
  if (command.kind === "runtime") return [...RUNTIMES[command.runtime], `/op/${command.entry}`];
  return command.argv.map((element) => {
    const name = inputOf(element);
    if (name === null) return element;
    const value = args[name];
    if (value === undefined) throw bad(`--${name} is required.`);
    return String(value);
  });
}

/** INPUT_<NAME> for each value given. */
export function toEnv(manifest: Manifest, args: Args): Record<string, string> {
  const env: Record<string, string> = {};
  for (const { name } of manifest.inputs) {
    const value = args[name];
    if (value !== undefined) env[`INPUT_${name.toUpperCase()}`] = String(value);
  }
  return env;
}

/** /op/input.json: canonical JSON, one object, typed values. */
export function toInputJson(manifest: Manifest, args: Args): string {
  const values: Record<string, Value> = {};
  for (const { name } of manifest.inputs) {
    const value = args[name];
    if (value !== undefined) values[name] = value;
  }
  return canonicalJson(values);
}

/** One line for people, made safe to show; long values are cut. */
export function argsText(args: Args): string {
  return Object.entries(args)
    .map(([name, value]) => {
      const text = truncateGraphemes(cleanText(String(value)), 80);
      return `--${name} ${/^[\w.,:/@+-]+$/.test(text) && !text.startsWith("-") ? text : JSON.stringify(text)}`;
    })
    .join(" ");
}
