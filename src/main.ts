import { pathToFileURL } from "node:url";
import { COMMANDS } from "./cli/commands.ts";
import { asSallyportError, ERRORS, type SallyportError } from "./core/errors.ts";
import { loadBundle } from "./host/bundle.ts";
import { trimWhenIdle } from "./host/idle.ts";
import { isPackaged, repoPath, VERSION } from "./host/self.ts";

const ROLES: readonly string[] = ["keeper", "gateway", "runner", "notary", "egress", "courier"];
/** Flags that may stand before the command too: each says the same as its variable, over which it wins. */
const GLOBAL_FLAGS: ReadonlyMap<string, string> = new Map([
  ["--state-dir", "SALLYPORT_STATE_DIR"],
  ["--run-dir", "SALLYPORT_RUN_DIR"],
  ["--log-dir", "SALLYPORT_LOG_DIR"],
  ["--slack-api-url", "SALLYPORT_SLACK_API_URL"],
  ["--config", "SALLYPORT_CONFIG"],
]);

/** Takes the global flags that stand before the command; the command reads them from the environment. */
function takeGlobalFlags(argv: string[]): string[] {
  const [first = "", second] = argv;
  if (first === "--json") return [...takeGlobalFlags(argv.slice(1)), first];
  const [flag = "", inline] = first.includes("=") ? split(first) : [first];
  const variable = GLOBAL_FLAGS.get(flag);
  const value = inline ?? second;
  if (variable === undefined || value === undefined) return argv;
  process.env[variable] = value;
  return takeGlobalFlags(argv.slice(inline === undefined ? 2 : 1));
}

function split(flag: string): [string, string] {
  const at = flag.indexOf("=");
  return [flag.slice(0, at), flag.slice(at + 1)];
}

/** The module to load and what to give it. Only that one is loaded, so a process holds no other role's code. */
function choose(given: string[]): { bundle: string; args: string[] } {
  const argv = takeGlobalFlags(given);
  // `role grant ...` is a command for people; `role keeper ...` is how serve and the units start a role.
  if (argv[0] === "role" && ROLES.includes(argv[1] ?? ""))
    return { bundle: `roles/${argv[1]}`, args: argv.slice(2) };
  const word = argv.find((arg) => !arg.startsWith("-"));
  if (word === "self-check") return { bundle: "cli/self-check", args: argv };
  const file = word !== undefined && Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : "help";
  return { bundle: `cli/${file}`, args: argv };
}

// Without a handler SIGUSR1 would end the process, now that it opens no debugger (--disable-sigusr1).
process.on("SIGUSR1", () => {});
// A reader that goes away (a pager, a collector) ends nothing here.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

async function start(argv: string[]): Promise<number> {
  const [first = "", ...others] = takeGlobalFlags(argv);
  if (["--version", "-V"].includes(first) && others.every((flag) => flag === "--json")) {
    const text = others.length > 0 ? JSON.stringify({ version: VERSION }, null, 2) : VERSION;
    process.stdout.write(`${text}\n`);
    return 0;
  }
  const { bundle, args } = choose(argv);
  if (bundle.startsWith("roles/") || bundle === "cli/serve") trimWhenIdle();
  const module = isPackaged
    ? loadBundle(bundle)
    : await import(pathToFileURL(repoPath(`src/${bundle}.ts`)).href);
  return await (module as { main(argv: string[]): Promise<number> }).main(args);
}

/** What was written may still wait for a slow reader; exit would drop it. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.once("error", () => resolve());
    stream.write("", () => resolve());
  });
}

async function end(status: number): Promise<never> {
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(status);
}

/** A bundle has its own copy of the class, so `instanceof` is not enough. */
function isKnown(error: unknown): error is SallyportError {
  return (
    error instanceof Error && error.name === "SallyportError" && "code" in error && `${error.code}` in ERRORS
  );
}

start(process.argv.slice(2)).then(
  (status) => end(status),
  async (error: unknown) => {
    const known = isKnown(error) ? error : asSallyportError(error);
    const trace = known.code === "internal" && known.cause instanceof Error ? `${known.cause.stack}\n` : "";
    // An error can quote what others wrote: an op.yaml, a file's name. Loaded here, since its tables cost each start 20 ms.
    const { cleanText } = await import("./core/text.ts");
    process.stderr.write(cleanText(`sallyport: ${known.message}\n${trace}`, { newlines: true }));
    return end(known.exit);
  },
);
