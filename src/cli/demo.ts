import { readFileSync } from "node:fs";
import { SallyportError } from "../core/errors.ts";
import { harden } from "../host/harden.ts";
import type { Workspace } from "../workspace/index.ts";
import { buildWorkspace, CAST, furnish } from "./demo/cast.ts";
import { parseLine, parseScript } from "./demo/grammar.ts";
import { House } from "./demo/house.ts";
import { Show } from "./demo/show.ts";
import { Stage } from "./demo/stage.ts";
import { Terminal, told } from "./demo/terminal.ts";
import { makeProgram, runProgram } from "./program.ts";

const MAX_SCRIPT = 256 * 1024;
const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

type Script = ReturnType<typeof parseScript>;

/** `sallyport demo`: the whole appliance on one terminal, with a simulated workspace; nothing of it is left afterwards. */
export async function main(argv: string[]): Promise<number> {
  const program = makeProgram();
  let status = 0;
  program
    .command("demo")
    .description(
      "try everything on one terminal against a simulated workspace; nothing to configure, nothing left behind",
    )
    .option(
      "--script <file>",
      "play the lines of this file (- for standard input) and print what would be shown",
    )
    .action(async ({ script }: { script?: string }) => {
      const isAtTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
      const lines = script === undefined && isAtTerminal ? null : readScript(script ?? "-");
      status = await perform(lines);
    });
  return runProgram(program, argv, () => status);
}

function readScript(file: string): Script {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new SallyportError(
      "usage",
      `The script ${file} can't be read (${(cause as NodeJS.ErrnoException).code}).`,
      { cause },
    );
  }
  if (text.length > MAX_SCRIPT)
    throw new SallyportError("usage", `The script is longer than ${MAX_SCRIPT} characters.`);
  return parseScript(text, CAST);
}

/** `script` null: lines come from the terminal. */
async function perform(script: Script | null): Promise<number> {
  harden().disableCoreDumps();
  const house = new House();
  // However this process ends by itself, nothing stays; after a SIGKILL serve notices that its standard input closed.
  process.once("exit", () => house.kill());
  const interrupted = new Promise<number>((resolve) => {
    for (const [signal, code] of Object.entries(SIGNALS)) {
      process.once(signal, () => {
        resolve(code);
        // Asked again: at once.
        process.once(signal, () => process.exit(code));
      });
    }
  });
  const fallen = house.fallen.then((): number => {
    throw new SallyportError("internal", `serve ended by itself. Its last words:\n${house.lastWords()}`);
  });
  let workspace: Workspace | undefined;
  const terminal = script === null ? new Terminal() : null;
  const play = async (): Promise<number> => {
    workspace = await buildWorkspace();
    const write = (text: string) =>
      terminal === null ? void process.stdout.write(text) : terminal.write(text);
    const color = process.stdout.isTTY === true && (process.env.NO_COLOR ?? "") === "";
    const show = new Show({ workspace, write, color });
    await furnish(house, workspace, (name, what) => show.step(name, what));
    const stage = new Stage({ workspace, house, show });
    if (terminal === null) await playScript(script ?? [], stage, show);
    else await playTerminal(terminal, stage, show);
    return 0;
  };
  try {
    return await Promise.race([play(), interrupted, fallen]);
  } finally {
    terminal?.close();
    await house.close();
    await Promise.race([workspace?.close(), new Promise((resolve) => setTimeout(resolve, 200))]);
  }
}

async function playScript(script: Script, stage: Stage, show: Show): Promise<void> {
  show.note("");
  for (const [index, { typed, action }] of script.entries()) {
    if (action.kind === "quit") return;
    if (action.kind === "nothing") {
      if (typed !== "") show.comment(typed);
      continue;
    }
    if (action.kind === "host") show.typed("host", typed.replace(/^host\s*[:>]\s*/, ""));
    else if (action.kind === "say" || action.kind === "click") {
      const person = action.person ?? stage.person;
      show.typed(person, action.person === null ? typed : typed.replace(/^[^:>]*[:>]\s*/, ""));
    }
    try {
      await stage.perform(action);
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      throw new SallyportError(error.code, `Line ${index + 1} of the script: ${error.detail}`);
    }
  }
}

async function playTerminal(terminal: Terminal, stage: Stage, show: Show): Promise<void> {
  show.note(
    "\nType /ops help as alice, or help for what else there is. Ctrl-D ends the demo and removes everything.\n",
  );
  await terminal.lines(
    () => `${stage.person}> `,
    async (line) => {
      try {
        const action = parseLine(line, CAST);
        if (action.kind === "quit") return true;
        const done = stage.perform(
          action.kind === "say" || action.kind === "click" ? { ...action, wait: false } : action,
        );
        // Slack's answers come while one types on; the rest is worth waiting for.
        if (action.kind === "say") done.catch((error: unknown) => show.note(told(error)));
        else await done;
      } catch (error) {
        show.note(told(error));
      }
      return false;
    },
  );
}
