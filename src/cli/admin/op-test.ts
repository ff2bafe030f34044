import { readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import type { Command as Program } from "commander";
import { type Args, checkArgs, parseArgs } from "../../core/args.ts";
import { encodeBundle, openBundle } from "../../core/bundle.ts";
import { engineConflict } from "../../core/engines.ts";
import { SallyportError } from "../../core/errors.ts";
import type { Manifest } from "../../core/manifest.ts";
import { cleanText } from "../../core/text.ts";
import { makeGrant } from "../../exec/grant.ts";
import type { Run } from "../../exec/launch.ts";
import { Learned } from "../../exec/learn.ts";
import { withEngine } from "../../exec/oci.ts";
import { ownProfile, Profiles } from "../../exec/profiles.ts";
import type { RunResult } from "../../exec/result.ts";
import type { RunHandlers } from "../../exec/run.ts";
import { withRuntime } from "../../exec/runtime.ts";
import { asset } from "../../host/asset.ts";
import { orderOf } from "../../keeper/run-order.ts";
import { readBundleFolder } from "../bundle-folder.ts";
import { printData } from "../print.ts";
import { common, globalsOf } from "../program.ts";
import { openSandbox, type Sandbox } from "../sandbox.ts";
import type { Admin } from "./context.ts";
import { splitOwn, writeOutput } from "./runs.ts";

type Options = { learn?: boolean; sample?: string[]; output?: string };
type Op = ReturnType<typeof openBundle> & { bundle: Buffer };

const PROFILE = "seccomp-learned.json";
/** Of combinations that the manifest alone gives. */
const MAX_SAMPLES = 32;

/** op test DIR [--ARG VALUE ...], op test --learn DIR: an Op in the sandbox that it would have, as this person, without an appliance. */
export function addOpTest(op: Program, admin: Admin): void {
  common(op.command("test <dir> [args...]"))
    .description(
      "run an Op's folder here, in the sandbox that it would have; options stand before the folder",
    )
    .option("--learn", "run it on samples and write the narrowest system call profile that they need")
    .option(
      "--sample <file>",
      "inputs of one run as JSON (may be given several times)",
      (file, all: string[]) => [...all, file],
      [],
    )
    .option("-o, --output <file>", `where the learned profile goes (default: ${PROFILE} in the folder)`)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (dir: string, words: string[], options: Options, command: Program) => {
      const { own, rest } = splitOwn(words);
      const json = globalsOf(command).json === true || own.json === true;
      const bundle = encodeBundle(readBundleFolder(dir));
      const opened: Op = { ...openBundle(bundle), bundle };
      const { secrets, root, network, resources } = opened.manifest;
      const asks = Object.entries({ secrets, network, resources, root: root === undefined ? [] : [root] });
      const [missing] = asks.find(([, names]) => names.length > 0) ?? [];
      if (missing !== undefined)
        throw new SallyportError(
          "unsupported",
          `${missing}: only the appliance has what it names; publish the Op and run it.`,
        );
      // With --learn it runs natively.
      const { engine = "native", op: name } = opened.manifest;
      const conflict = options.learn === true ? null : engineConflict(engine, opened.manifest);
      if (conflict !== null)
        throw new SallyportError("engine_unavailable", `${name} asks for ${engine}: ${conflict}.`);
      if (options.learn !== true && (options.output !== undefined || (options.sample ?? []).length > 0))
        throw new SallyportError("usage", "--sample and --output go with --learn.");
      if (options.learn === true) await learn(opened, dir, { ...options, tokens: rest, json });
      else admin.exit(await test(opened, parseArgs(opened.manifest, rest), json));
    });
}

async function test(op: Op, args: Args, json: boolean): Promise<number> {
  const sandbox = openSandbox("serve");
  try {
    const collected: Buffer[] = [];
    const result = await runOnce(sandbox, op, args, {
      onOutput: (stream, bytes) => {
        if (json) collected.push(Buffer.from(bytes));
        else writeOutput(stream, bytes);
      },
      onDenied: (call, process) => {
        if (!json)
          note(`refused: ${call}${process === null ? "" : `, by ${process.name} (process ${process.pid})`}`);
      },
    });
    if (json) printData({ ...result, output: Buffer.concat(collected).toString("utf8") }, true, () => []);
    else if (result.outcome !== "exited" || result.detail !== null)
      note([result.outcome, result.signal, result.detail].filter((word) => word !== null).join(": "));
    return statusOf(result);
  } finally {
    await sandbox.close();
  }
}

async function learn(op: Op, dir: string, o: Options & { tokens: string[]; json: boolean }): Promise<void> {
  const samples = samplesOf(op.manifest, o.sample ?? [], o.tokens);
  const learned = new Learned();
  const sandbox = openSandbox("learn");
  const results: { args: Args; outcome: string; exit: number | null }[] = [];
  try {
    for (const args of samples) {
      const result = await runOnce(
        sandbox,
        op,
        args,
        {
          onOutput: (_, bytes) => {
            if (!o.json) writeOutput("stderr", bytes);
          },
          onLearned: ({ nr, args: given }) => learned.add(nr, given),
        },
        learned.bitmap(),
      );
      if (result.outcome === "launch_failed")
        throw new SallyportError("launch_failed", result.detail ?? "The Op was not started.");
      results.push({ args, outcome: result.outcome, exit: result.exit });
      if (result.exit !== 0)
        note(
          `a sample ended with ${result.exit ?? result.signal ?? result.outcome}; what it did not come to is not learned`,
        );
    }
  } finally {
    await sandbox.close();
  }
  const file = o.output ?? join(dir, PROFILE);
  const runs = samples.length === 1 ? "1 run" : `${samples.length} runs`;
  const profile = learned.profile(`Learned from ${runs} of ${op.manifest.op}, within the host's ceiling`);
  try {
    writeFileSync(file, `${JSON.stringify(profile, null, 2)}\n`);
  } catch (cause) {
    throw new SallyportError(
      "usage",
      `The profile can't be written to ${file}: ${(cause as Error).message}`,
      { cause },
    );
  }
  printData({ file, calls: learned.size, samples: results }, o.json, () => [
    `${file}: ${learned.size} system calls, learned from ${runs}.`,
    ...(o.output === undefined
      ? [`Say "seccomp: ${PROFILE}" in op.yaml, and try it: sallyport op test ${dir}`]
      : []),
  ]);
}

/** One run to its end. `learnBitmap`: under the ceiling alone, telling what it calls. */
async function runOnce(
  { launcher }: Sandbox,
  op: Op,
  args: Args,
  handlers: Partial<RunHandlers>,
  learnBitmap?: Buffer,
): Promise<RunResult> {
  const order = orderOf("op-test", op.manifest, op.digest, args, {
    root: undefined,
    engine: op.manifest.engine ?? "native",
  });
  const all: RunHandlers = {
    onStarted: () => {},
    onOutput: () => {},
    ready: () => null,
    onProgress: (text, percent) => note(percent === null ? text : `${text} (${percent} %)`),
    onDenied: () => {},
    ...handlers,
  };
  const start = (program?: Uint8Array): Run => {
    const grant = withRuntime(makeGrant(order, op.bundle, [], false, program), order, "");
    // Calls are learned natively, where the host's kernel hears of all of them.
    const spec =
      learnBitmap === undefined
        ? withEngine(grant.spec, order.engine)
        : { ...grant.spec, learn: learnBitmap };
    return launcher.run({ ...grant, spec }, all);
  };
  const profile = ownProfile(order, op.bundle);
  const run =
    learnBitmap !== undefined
      ? start(asset("seccomp/ceiling.bpf"))
      : profile === null
        ? start()
        : new Profiles(launcher).run(profile, start);
  const cancel = (): void => run.cancel(false);
  process.once("SIGINT", cancel);
  process.once("SIGTERM", cancel);
  try {
    const ended = launcher.ended.then((why) => {
      throw new SallyportError("launch_failed", `The launcher ended: ${why}.`);
    });
    return await Promise.race([run.finished, ended]);
  } finally {
    process.off("SIGINT", cancel);
    process.off("SIGTERM", cancel);
  }
}

/** What is run: each file's inputs, what the command line says; with neither, defaults and every value of an enum or boolean. */
function samplesOf(manifest: Manifest, files: readonly string[], tokens: readonly string[]): Args[] {
  const samples = files.map((file) => checkArgs(manifest, readSample(file)));
  if (tokens.length > 0) samples.push(parseArgs(manifest, tokens));
  if (samples.length > 0) return samples;
  const base: Record<string, unknown> = {};
  for (const input of manifest.inputs) {
    const first = input.default ?? (input.type === "string" ? input.enum?.[0] : undefined);
    if (first !== undefined) base[input.name] = first;
    else if (input.type === "boolean") base[input.name] = false;
    else if (input.required)
      throw new SallyportError(
        "input_invalid",
        `--${input.name} has neither a default nor an enum to choose from: give samples, with --sample FILE or --${input.name} VALUE after the folder.`,
      );
  }
  const found = new Map<string, Args>();
  const take = (values: Record<string, unknown>): void => {
    const args = checkArgs(manifest, values);
    if (found.size < MAX_SAMPLES) found.set(JSON.stringify(args), args);
  };
  take(base);
  for (const input of manifest.inputs) {
    const values =
      input.type === "boolean" ? [true, false] : input.type === "string" ? (input.enum ?? []) : [];
    for (const value of values) take({ ...base, [input.name]: value });
  }
  return [...found.values()];
}

function readSample(file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new SallyportError("usage", `${file} is no sample: ${(cause as Error).message}`, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new SallyportError(
    "usage",
    `${file} is no sample: one JSON object with the inputs' values is expected.`,
  );
}

const note = (text: string): void => {
  process.stderr.write(`${cleanText(text)}\n`);
};

function statusOf({ exit, signal }: RunResult): number {
  if (exit !== null) return exit;
  const number = signal === null ? undefined : constants.signals[signal as keyof typeof constants.signals];
  return number === undefined ? 1 : 128 + number;
}
