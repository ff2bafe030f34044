import { Command, CommanderError } from "commander";
import { cleanText } from "../core/text.ts";
import { type Dirs, resolveDirs } from "../host/dirs.ts";

/** The options that every command takes; they may stand before or after the command word. */
export type Globals = {
  stateDir?: string;
  runDir?: string;
  logDir?: string;
  slackApiUrl?: string;
  config?: string;
  json?: boolean;
};

export function makeProgram(): Command {
  return (
    new Command("sallyport")
      .exitOverride()
      // It quotes the words that it does not know.
      .configureOutput({ writeErr: (text) => process.stderr.write(cleanText(text, { newlines: true })) })
      .showHelpAfterError("(see: sallyport --help)")
      .enablePositionalOptions(false)
  );
}

/** Adds the common options to a command; call it on every leaf, so that they may stand last as people type them. */
export function common(command: Command): Command {
  return command
    .option("--state-dir <dir>", "database and keyring (SALLYPORT_STATE_DIR)")
    .option("--run-dir <dir>", "sockets (SALLYPORT_RUN_DIR)")
    .option("--log-dir <dir>", "checkpoints and hash tiles (SALLYPORT_LOG_DIR)")
    .option("--slack-api-url <url>", "Slack's Web API (SALLYPORT_SLACK_API_URL)")
    .option("--config <file>", "sallyport.yaml (SALLYPORT_CONFIG)")
    .option("--json", "print data as JSON");
}

export function globalsOf(command: Command): Globals {
  return command.optsWithGlobals<Globals>();
}

export function dirsOf(globals: Globals): Dirs {
  return resolveDirs({
    ...(globals.stateDir === undefined ? {} : { state: globals.stateDir }),
    ...(globals.runDir === undefined ? {} : { run: globals.runDir }),
    ...(globals.logDir === undefined ? {} : { log: globals.logDir }),
  });
}

/** Runs the program; a mistake in the command line is exit status 2 and help is 0. The action's own status comes back through `status`. */
export async function runProgram(
  program: Command,
  argv: string[],
  status: () => number = () => 0,
): Promise<number> {
  try {
    await program.parseAsync(argv, { from: "user" });
    return status();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
}
