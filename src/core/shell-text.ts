/**
 * Where an input would reach a shell or another interpreter as code, though each element of `run` is passed on whole, as in
 * [sh, -c, "${x}"]. Guards an author against a slip; what a script does with its arguments can't be seen from here.
 */

/** An element of `run`. */
export interface Word {
  readonly text: string;
  /** The name of the input that stands there, null for plain text. */
  readonly input: string | null;
  /** The input is no text: no more than a number, true or false can come. */
  readonly plain: boolean;
}

/** `code`: the value is a program or names it; `loads`: it names more code, not the program; `valued`: it is neither. */
type Kind = "code" | "loads" | "valued";

/** Options that take a value: short ones by letter (at the end of a cluster it is the next element), long ones with dashes. */
interface Options {
  readonly code?: string;
  readonly loads?: string;
  readonly valued?: string;
  /** Letters that take the rest of their element and never the next one. */
  readonly rest?: string;
  readonly long?: Readonly<Record<string, Kind>>;
}

interface Interpreter extends Options {
  readonly name: RegExp;
  readonly isShell?: boolean;
  /** After the first `code` option nothing is an option any more. */
  readonly ends?: boolean;
  /** Options are looked for behind operands too (GNU getopt). */
  readonly permutes?: boolean;
  /** How to write it instead; X stands for the input's element. */
  readonly instead: string;
}

const INTERPRETERS: readonly Interpreter[] = [
  {
    name: /^(sh|r?bash|dash|ash|hush|[a-z]*ksh(93)?|r?zsh|yash|posh|fish|t?csh)(-static|-?[\d.]+)?$/,
    isShell: true,
    // -c is a switch: with it and without it, what a shell reads is its first operand.
    valued: "oO",
    long: { "--rcfile": "loads", "--init-file": "loads" },
    instead: '["sh", "-c", "... \\"$1\\"", "sh", X]',
  },
  {
    name: /^(python|pypy)[\d.]*$/,
    code: "cm",
    valued: "WX",
    long: { "--check-hash-based-pycs": "valued" },
    ends: true,
    instead: '["python3", "-c", "... sys.argv[1]", X]',
  },
  {
    name: /^perl[\d.]*$/,
    code: "eE",
    loads: "I",
    rest: "0CDFMVimx",
    instead: '["perl", "-e", "... $ARGV[0]", "--", X]',
  },
  {
    name: /^ruby[\d.]*$/,
    code: "e",
    loads: "Ir",
    valued: "CE",
    rest: "0FKTWix",
    instead: '["ruby", "-e", "... ARGV[0]", "--", X]',
  },
  {
    name: /^node(js)?[\d.]*$/,
    code: "ep",
    loads: "r",
    valued: "C",
    long: {
      "-pe": "code",
      "--eval": "code",
      "--print": "code",
      "--require": "loads",
      "--import": "loads",
      "--loader": "loads",
      "--experimental-loader": "loads",
      "--conditions": "valued",
    },
    instead: '["node", "-e", "... process.argv[1]", "--", X]',
  },
  {
    name: /^php[\d.]*$/,
    code: "BEFRfr",
    loads: "cdz",
    valued: "t",
    instead: '["php", "-r", "... $argv[1]", "--", X]',
  },
  { name: /^lua(jit)?[\d.]*$/, code: "e", loads: "l", instead: '["lua", "./script.lua", X]' },
  { name: /^[gmn]?awk$/, code: "Eef", loads: "il", valued: "Fv", instead: '["awk", "... ARGV[1]", X]' },
  // The command "e" of GNU's hands text to a shell.
  { name: /^g?sed$/, code: "ef", valued: "l", rest: "i", permutes: true, instead: '["sed", "...", "--", X]' },
];

interface Wrapper extends Options {
  /** Elements between the options and the program. */
  readonly operands?: number;
  readonly assignments?: boolean;
}

/** Programs that run the one that their arguments name. */
const WRAPPERS: ReadonlyMap<string, Wrapper> = new Map<string, Wrapper>([
  [
    "env",
    {
      code: "S",
      valued: "uC",
      long: { "--split-string": "code", "--unset": "valued", "--chdir": "valued" },
      assignments: true,
    },
  ],
  ["busybox", {}],
  ["toybox", {}],
  ["nohup", {}],
  ["setsid", {}],
  ["nice", { valued: "n", long: { "--adjustment": "valued" } }],
  ["ionice", { valued: "cn", long: { "--class": "valued", "--classdata": "valued" } }],
  ["stdbuf", { valued: "eio", long: { "--input": "valued", "--output": "valued", "--error": "valued" } }],
  ["time", { valued: "fo", long: { "--format": "valued", "--output": "valued" } }],
  ["timeout", { valued: "ks", long: { "--kill-after": "valued", "--signal": "valued" }, operands: 1 }],
  ["xargs", { valued: "EILPadns" }],
  ["flock", { code: "c", valued: "Ew", operands: 1 }],
  ["taskset", { operands: 1 }],
  ["chroot", { operands: 1 }],
]);

/** Programs that hand their arguments to a shell, here or on another host. */
const SHELLING = /^(ssh|rsh|su|runuser|script|watch|parallel)$/;

/** The index of the element and a sentence without its full stop. */
type Fault = { readonly at: number; readonly fault: string };

/** What is wrong with `run`; null: no input is read as code, as far as its words tell. */
export function shellFault(argv: readonly Word[]): Fault | null {
  let at = 0;
  for (;;) {
    const word = argv[at];
    if (word === undefined) return null;
    if (word.input !== null) return { at, fault: "what runs can't be chosen by an input" };
    const name = baseOf(word.text);
    // The Op's own file may have any name; called as a shell it is taken for one.
    const isOwn = word.text.startsWith("./");
    if (!isOwn && SHELLING.test(name)) return shelled(argv, at, name);
    const interpreter = INTERPRETERS.find((one) => one.name.test(name) && (!isOwn || one.isShell === true));
    if (interpreter !== undefined) return interpreted(argv, at, name, interpreter);
    if (isOwn) return null;
    const wrapper = WRAPPERS.get(name);
    if (wrapper === undefined) return shellFurtherOn(argv, at);
    const next = wrapped(argv, at, name, wrapper);
    if (typeof next !== "number") return next;
    at = next;
  }
}

const baseOf = (text: string): string => text.slice(text.lastIndexOf("/") + 1);

/** A program that is not known here may run what follows: a shell's name and its -c are taken for that. */
function shellFurtherOn(argv: readonly Word[], from: number): Fault | null {
  for (let at = from + 1; at + 1 < argv.length; at++) {
    const name = baseOf(argv[at]!.text);
    const shell = INTERPRETERS.find((one) => one.isShell === true && one.name.test(name));
    if (shell === undefined || argv[at]!.input !== null || !/^-[a-z]*c$/.test(argv[at + 1]!.text)) continue;
    return interpreted(argv, at, name, shell);
  }
  return null;
}

function shelled(argv: readonly Word[], from: number, name: string): Fault | null {
  const at = argv.findIndex((word, i) => i > from && word.input !== null && !word.plain);
  if (at === -1) return null;
  return { at, fault: `${name} hands its arguments to a shell, which would read the value as code` };
}

/** The index of the program that `name` runs. */
function wrapped(argv: readonly Word[], from: number, name: string, wrapper: Wrapper): number | Fault {
  let operands = wrapper.operands ?? 0;
  for (let at = from + 1; at < argv.length; at++) {
    const { text, input, plain } = argv[at]!;
    if (input !== null) {
      // A number may be timeout's duration.
      if (!plain || operands-- <= 0)
        return { at, fault: `what runs can't be chosen by an input, and ${name} looks for it here` };
      continue;
    }
    if (text === "--" || text === "-") continue;
    if (!text.startsWith("-")) {
      const isAssignment = wrapper.assignments === true && text.includes("=");
      if (!isAssignment && operands-- <= 0) return at;
      continue;
    }
    const option = optionOf(text, wrapper);
    if (option?.kind === "code") {
      const input = argv.findIndex((word, i) => i > at && word.input !== null);
      if (input === -1) return argv.length;
      return { at: input, fault: `${name} ${text} makes a command of text; write each word as an element` };
    }
    if (option?.takesNext !== true) continue;
    at++;
    const value = argv[at];
    if (value !== undefined && value.input !== null && !value.plain)
      return { at, fault: `an option of ${name} can't be given by an input` };
  }
  return argv.length;
}

function interpreted(
  argv: readonly Word[],
  from: number,
  name: string,
  interpreter: Interpreter,
): Fault | null {
  const isShell = interpreter.isShell === true;
  const asCode = (at: number): Fault => {
    const instead = interpreter.instead.replace("X", () => `"\${${argv[at]?.input}}"`);
    return {
      at,
      fault: `${name} would read the value as code; write the code yourself and give it the value as an argument: ${instead}`,
    };
  };
  const isInput = (at: number): boolean => (argv[at]?.input ?? null) !== null;
  let hasCode = false;
  let at = from + 1;
  for (; at < argv.length; at++) {
    const { text } = argv[at]!;
    if (isInput(at)) {
      if (!hasCode) return asCode(at);
      return { at, fault: `${name} may read the value as an option that holds code; put "--" before it` };
    }
    if (text === "--" || (isShell && text === "-")) {
      at++;
      break;
    }
    if (text.length < 2 || !(text.startsWith("-") || (isShell && text.startsWith("+")))) {
      if (interpreter.permutes !== true) break;
      hasCode = true;
      continue;
    }
    // It reads its standard input, which is empty; what follows are arguments.
    if (isShell && /^-[a-z]*s/.test(text)) hasCode = true;
    const option = optionOf(text, interpreter);
    if (option === null) continue;
    if (option.takesNext) at++;
    if (option.takesNext && option.kind !== "valued" && isInput(at)) return asCode(at);
    if (option.kind !== "code") continue;
    if (interpreter.ends === true) return null;
    hasCode = true;
  }
  return !hasCode && isInput(at) ? asCode(at) : null;
}

/** What the option, or the first of its cluster that takes a value, is; null: none takes one. */
function optionOf(text: string, options: Options): { kind: Kind; takesNext: boolean } | null {
  const equals = text.indexOf("=");
  const long = options.long ?? {};
  const name = equals === -1 ? text : text.slice(0, equals);
  if (Object.hasOwn(long, name)) return { kind: long[name]!, takesNext: equals === -1 };
  if (text.startsWith("--")) return null;
  for (const [i, letter] of [...text].entries()) {
    if (i === 0) continue;
    if (options.rest?.includes(letter) === true) return null;
    for (const kind of ["code", "loads", "valued"] as const)
      if (options[kind]?.includes(letter) === true) return { kind, takesNext: i === text.length - 1 };
  }
  return null;
}
