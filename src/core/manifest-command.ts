import type { z } from "zod";
import { SallyportError } from "./errors.ts";
import { type Input, isPrintable } from "./inputs.ts";
import type { manifestShape } from "./manifest-shape.ts";
import { shellFault } from "./shell-text.ts";

/** What an Op executes. */
export type Command =
  | { readonly kind: "argv"; readonly argv: readonly string[] }
  | { readonly kind: "runtime"; readonly runtime: Runtime; readonly entry: string };

export type Runtime = "node" | "python" | "shell";
/** Where a run finds the Node that our own executable is (sandbox/root.c, scripts/lib/start.c). */
export const NODE_PATH = "/run/runtime/node";
/** What stands before the entry. Of Python the first in PATH, as images have theirs in /usr/local; -u, so that what it prints is seen at once. */
export const RUNTIMES: Readonly<Record<Runtime, readonly string[]>> = {
  node: [NODE_PATH, "--disable-sigusr1"],
  python: ["python3", "-u"],
  shell: ["/bin/sh"],
};

const bad = (detail: string): SallyportError => new SallyportError("manifest_invalid", detail);

const REFERENCE = /^\$\{([a-z][a-z0-9_]{0,31})\}$/;
/** The input that an element of `run` stands for, null when it is plain text. */
export const inputOf = (element: string): string | null => REFERENCE.exec(element)?.[1] ?? null;

/** `run:`, or `runtime:` with `entry:`. Throws `manifest_invalid` with one sentence. */
export function buildCommand(shape: z.infer<typeof manifestShape>, inputs: readonly Input[]): Command {
  const { run, runtime, entry } = shape;
  if (run === undefined) {
    if (runtime === undefined && entry === undefined)
      throw bad("run: is missing; or give runtime: and entry:.");
    if (runtime === undefined) throw bad("runtime: is missing beside entry:; it is node, python or shell.");
    if (entry === undefined) throw bad("entry: is missing beside runtime:; it names the file to run.");
    return { kind: "runtime", runtime, entry };
  }
  if (runtime !== undefined || entry !== undefined) {
    throw bad("run: can't stand beside runtime: or entry:; keep one of the two forms.");
  }
  checkProgram(run[0] ?? "");
  run.forEach((element, i) => {
    const name = inputOf(element);
    if (name === null) {
      if (element.includes("${")) {
        throw bad(
          `run[${i}]: an input must be the whole element, like "\${env}"; text around it is not allowed.`,
        );
      }
      return;
    }
    const input = inputs.find((candidate) => candidate.name === name);
    if (input === undefined) throw bad(`run[${i}]: the input ${name} is not declared under inputs.`);
    if (!input.required && input.default === undefined) {
      throw bad(
        `run[${i}]: the input ${name} must be required or have a default, else the element would be missing.`,
      );
    }
  });
  const words = run.map((text) => {
    const input = inputOf(text);
    return { text, input, plain: inputs.find(({ name }) => name === input)?.type !== "string" };
  });
  const read = shellFault(words);
  if (read !== null) throw bad(`run[${read.at}]: ${read.fault}.`);
  return { kind: "argv", argv: run };
}

function checkProgram(program: string): void {
  const right = "./file of the folder, an absolute path or a program's name";
  if (inputOf(program) !== null) throw bad("run[0]: what runs can't be chosen by an input.");
  const path = program.startsWith("./")
    ? program.slice(2)
    : program.startsWith("/")
      ? program.slice(1)
      : null;
  const good =
    path === null
      ? /^[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}$/.test(program)
      : path !== "" && !path.split("/").some((part) => ["", ".", ".."].includes(part)) && isPrintable(path);
  if (!good) throw bad(`run[0]: must be ${right}.`);
}
