import { constants } from "node:os";
import type { Command as Program } from "commander";
import { SallyportError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import { pairs, printData, table } from "../print.ts";
import { common, globalsOf } from "../program.ts";
import { wholeFrom } from "../values.ts";
import type { Admin } from "./context.ts";

type Run = {
  run: string;
  op: string;
  state: string;
  requester: string;
  exit: number | null;
  signal: string | null;
  reason: string | null;
  requested: string;
  durationMs: number | null;
  usage: Usage | null;
  output?: string;
};

type Usage = { limitedBy: string | null; cpuMs: number; peakMemoryBytes: number; processes: number };

/** run, cancel, runs */
export function addRuns(program: Program, admin: Admin): void {
  common(program.command("run <op> [args...]"))
    .description(
      "run an Op; its output appears here, its exit status is this command's; --break-glass REASON: without its approvals",
    )
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (name: string, args: string[], _: object, command: Program) => {
      const { own, rest } = splitOwn(args);
      const isJson = globalsOf(command).json === true || own.json === true;
      const collected: Buffer[] = [];
      let close: () => void = () => undefined;
      let signaled: "SIGINT" | "SIGTERM" | undefined;
      const cancel = (signal: NodeJS.Signals) => {
        signaled = signal === "SIGINT" ? "SIGINT" : "SIGTERM";
        close();
      };
      process.once("SIGINT", cancel);
      process.once("SIGTERM", cancel);
      let data: Run;
      try {
        data = (await admin.call(
          command,
          "run",
          {
            op: name,
            tokens: rest,
            ...(own.breakGlass === undefined ? {} : { breakGlass: own.breakGlass }),
          },
          {
            onNotice: (text) => process.stderr.write(`${cleanText(text.trim())}\n`),
            onOutput: (stream, bytes) => {
              if (isJson) collected.push(bytes);
              else writeOutput(stream, bytes);
            },
            onConnected: (end) => {
              close = end;
              if (signaled !== undefined) end();
            },
          },
        )) as Run;
      } catch (error) {
        if (signaled === undefined) throw error;
        // The keeper cancels the run when its client leaves; what it came to is in `sallyport runs`.
        process.stderr.write("canceled\n");
        admin.exit(128 + constants.signals[signaled]);
        return;
      }
      if (isJson) printData({ ...data, output: Buffer.concat(collected).toString("utf8") }, true, () => []);
      // An Op's own exit status speaks for itself; an end that has a reason does not.
      else if (data.exit === null || data.reason !== null)
        process.stderr.write(`${cleanText(ending(data))}\n`);
      admin.exit(statusOf(data));
    });
  common(program.command("cancel <run>"))
    .description("end a run")
    .action((run: string, _: object, command: Program) =>
      admin.show(command, "run.cancel", { run }, () => [`${run} is being canceled.`]),
    );

  const runs = program.command("runs").description("runs, newest first").enablePositionalOptions(false);
  common(runs.command("list", { isDefault: true }))
    .option("--limit <n>", "at most this many")
    .option("--before <run>", "only older ones than this: the page before")
    .action((options: { limit?: string; before?: string }, command: Program) =>
      admin.show<"run.list", { runs: Run[] }>(
        command,
        "run.list",
        {
          ...(options.limit === undefined ? {} : { limit: wholeFrom(1, options.limit) }),
          ...(options.before === undefined ? {} : { before: options.before }),
        },
        (d) =>
          table(
            ["RUN", "OP", "STATE", "EXIT", "BY", "REQUESTED"],
            d.runs.map((r) => [
              r.run,
              r.op,
              r.state,
              r.exit === null ? "-" : String(r.exit),
              r.requester,
              r.requested,
            ]),
          ),
      ),
    );
  common(runs.command("show <run>")).action(async (run: string, _: object, command: Program) => {
    let output: Buffer = Buffer.alloc(0);
    const data = (await admin.call(
      command,
      "run.show",
      { run },
      {
        onBytes: (bytes) => {
          output = bytes;
        },
      },
    )) as Run;
    if (globalsOf(command).json === true)
      return printData({ ...data, output: output.toString("utf8") }, true, () => []);
    printData(data, false, () => [...pairs(data), ""]);
    writeOutput("stdout", output);
  });
}

function ending({ run, state, reason, durationMs, usage }: Run): string {
  const said = `${run} ${state}${reason === null ? "" : `: ${reason}`}`;
  if (usage === null || usage.limitedBy === null) return said;
  const { cpuMs, peakMemoryBytes, processes, limitedBy } = usage;
  const memory = `${Math.ceil(peakMemoryBytes / 1024 ** 2)} MiB`;
  return `${said} (${durationMs} ms, ${cpuMs} ms of CPU, ${memory}, ${processes} processes at most; limited by ${limitedBy})`;
}

/** An Op's bytes as they are, but for a terminal, which they could drive by escape codes. */
export function writeOutput(stream: "stdout" | "stderr", bytes: Buffer): void {
  process[stream].write(
    process[stream].isTTY ? cleanText(bytes.toString("utf8"), { newlines: true }) : bytes,
  );
}

type Own = { json?: true; breakGlass?: string };

/** No input can be named break-glass or hide a --json: what stands before a `--` is ours. */
export function splitOwn(args: readonly string[]): { own: Own; rest: string[] } {
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const own: Own = {};
  const rest: string[] = [];
  for (let i = 0; i < end; i++) {
    const word = args[i] ?? "";
    const [flag, attached] = /^(--break-glass)(?:=(.*))?$/s.exec(word)?.slice(1) ?? [];
    if (word === "--json") own.json = true;
    else if (flag !== undefined) own.breakGlass = reasonOf(attached ?? (i + 1 < end ? args[++i] : undefined));
    else rest.push(word);
  }
  return { own, rest: [...rest, ...args.slice(end + 1)] };
}

function reasonOf(text: string | undefined): string {
  if (text !== undefined && text.trim().length >= 3 && !text.startsWith("--")) return text.trim();
  throw new SallyportError("usage", '--break-glass takes the reason: --break-glass "what happened, ticket"');
}

function statusOf(run: Run): number {
  if (run.exit !== null) return run.exit;
  const signal =
    run.signal === null ? undefined : constants.signals[run.signal as keyof typeof constants.signals];
  return signal === undefined ? 1 : 128 + signal;
}
