import type { Command } from "commander";
import { type Logger, pino } from "pino";
import { SallyportError } from "../core/errors.ts";
import { DEFAULT_CONFIG, readConfig } from "../host/config.ts";
import { harden } from "../host/harden.ts";
import { ownPlaces } from "../host/resource-places.ts";
import { readResources } from "../host/resources.ts";
import { runtimesDir } from "../host/runtimes.ts";
import { selfExec } from "../host/self.ts";
import { Sink } from "../host/sink.ts";
import { checkStateDir } from "../keeper/state-dir.ts";
import { KeeperFailed } from "./child.ts";
import { common, dirsOf, type Globals, globalsOf, makeProgram, runProgram } from "./program.ts";
import { Supervisor } from "./supervisor.ts";

export const SLACK_API_URL = "https://slack.com/api/";

type Options = { postRate?: string; endWithStdin?: boolean };

/** `sallyport serve`: all roles under one terminal. */
export async function main(argv: string[]): Promise<number> {
  const program = makeProgram();
  let chosen: { globals: Globals; own: Options } | undefined;
  common(program.command("serve"))
    .description("run all roles under this terminal until SIGINT or SIGTERM")
    .option("--post-rate <n>", "messages per second a Slack channel (default 1)")
    .option("--end-with-stdin", "end when standard input does: with the process that holds its other end")
    .action((own: Options, command: Command) => {
      chosen = { globals: globalsOf(command), own };
    });
  const status = await runProgram(program, argv);
  return chosen === undefined ? status : serve(chosen.globals, chosen.own);
}

async function serve(globals: Globals, { postRate, endWithStdin }: Options): Promise<number> {
  const dirs = dirsOf(globals);
  const slackApiUrl = globals.slackApiUrl ?? process.env.SALLYPORT_SLACK_API_URL ?? SLACK_API_URL;
  checkSlackUrl(slackApiUrl);
  checkStateDir(dirs.state, false);
  harden().disableCoreDumps();
  const log: Logger = pino({ base: { role: "supervisor" } }, new Sink(2));
  const configFile = globals.config ?? process.env.SALLYPORT_CONFIG;
  const config = readConfig(configFile);
  const runtimes = runtimesDir(config, dirs.state);
  const own = ownPlaces(dirs, selfExec().file, configFile ?? DEFAULT_CONFIG, runtimes);
  const supervisor = new Supervisor({
    limits: config.limits,
    private: config.network.private,
    engine: config.engine,
    runtimes,
    resources: readResources(config.resources, own),
    vaults: config.vaults,
    dirs,
    slackApiUrl,
    ...(postRate === undefined ? {} : { gatewayArgs: ["--post-rate", postRate] }),
    log,
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => void supervisor.stop(0));
  if (endWithStdin === true) {
    process.stdin.resume();
    for (const event of ["end", "error"]) process.stdin.once(event, () => void supervisor.stop(0));
  }
  try {
    await supervisor.start();
  } catch (error) {
    // Told to end while it still started: that the keeper did not get ready is what was asked for.
    if (supervisor.isStopping) return supervisor.ended;
    const status = error instanceof KeeperFailed ? error.status : 1;
    await supervisor.stop(status);
    if (!(error instanceof KeeperFailed)) throw error;
    return status;
  }
  if (!supervisor.isStopping)
    log.info({ runDir: dirs.run }, "serving, sealed; unlock with: sallyport unlock");
  return supervisor.ended;
}

/** Plain http only to this machine's loopback: a token must never cross a network in clear. */
function checkSlackUrl(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : null;
  const loopback =
    url !== null &&
    (/^127(\.\d+){3}$/.test(url.hostname) || url.hostname === "localhost" || url.hostname === "[::1]");
  if (url !== null && (url.protocol === "https:" || (url.protocol === "http:" && loopback))) return;
  throw new SallyportError("usage", `--slack-api-url must be https (http only for loopback): ${text}`);
}
