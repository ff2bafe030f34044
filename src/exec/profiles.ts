import { createHash } from "node:crypto";
import { decodeBundle } from "../core/bundle.ts";
import { SallyportError } from "../core/errors.ts";
import { asset } from "../host/asset.ts";
import { GRACE_MS, makePlainGrant, type RunOrder } from "./grant.ts";
import type { Launcher, Run } from "./launch.ts";
import { canceledEarly, launchFailed, type RunResult } from "./result.ts";

/** A compiled profile of a bundle. */
export interface Compiled {
  readonly program: Buffer;
  /** What the ceiling takes from it: "narrowed NAME" (some arguments only) or "refused NAME". */
  readonly notes: readonly string[];
}

const TIME_MS = 20_000;
const MAX_NOTES = 100;
/** Of programs kept: 32 KiB each at most. */
const MAX_KEPT = 128;

/**
 * Compiles the system call profiles that bundles bring, behind the ceiling. The profile is anybody's text and the compiler is C:
 * it runs in a sandbox of its own, under `strict`. Compiled once a runner's life, by content, not for each run; never stored, so
 * that a later build's ceiling holds for what was published under an earlier one.
 */
export class Profiles {
  readonly #launcher: Launcher;
  readonly #kept = new Map<string, Promise<Compiled>>();

  constructor(launcher: Launcher) {
    this.#launcher = launcher;
  }

  /** Throws `bundle_invalid` with the compiler's sentence, or `launch_failed` where it could not run. */
  compile(profile: Uint8Array): Promise<Compiled> {
    const key = createHash("sha256").update(profile).digest("hex");
    const kept = this.#kept.get(key) ?? this.#compile(profile);
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    // What could not run may run next time.
    kept.catch(() => this.#kept.delete(key));
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return kept;
  }

  /** As `compile`, with the error as the reason. Never throws. */
  async check(profile: Uint8Array): Promise<{ ok: boolean; reason: string; notes: readonly string[] }> {
    try {
      const { notes } = await this.compile(profile);
      return { ok: true, reason: "", notes };
    } catch (error) {
      return { ok: false, reason: reasonOf(error).slice(0, 500), notes: [] };
    }
  }

  /** A run that begins once its profile is compiled; a cancel before that ends it without a beginning. */
  run(profile: Uint8Array, start: (program: Uint8Array) => Run): Run {
    let live: Run | undefined;
    let canceled = false;
    const cancel = Promise.withResolvers<undefined>();
    const begun = Promise.withResolvers<void>();
    const begin = async (): Promise<RunResult> => {
      const compiling = this.compile(profile).catch((error: unknown) =>
        launchFailed(`seccomp: ${reasonOf(error)}`),
      );
      // A compile goes on, for the next run; nobody waits for it to hear that a run was canceled.
      const compiled = await Promise.race([compiling, cancel.promise]);
      if (canceled || compiled === undefined) return canceledEarly();
      if ("outcome" in compiled) return compiled;
      live = start(compiled.program);
      begun.resolve();
      return live.finished;
    };
    const finished = begin()
      .catch((error: unknown) => launchFailed(reasonOf(error)))
      .finally(() => begun.resolve());
    return {
      finished,
      begun: begun.promise,
      cancel: (now) => {
        canceled = true;
        cancel.resolve(undefined);
        live?.cancel(now);
      },
    };
  }

  async #compile(profile: Uint8Array): Promise<Compiled> {
    const grant = makePlainGrant({
      run: "seccomp-compile",
      files: [
        { tree: "op", path: "seccomp-compile", mode: 0o555, bytes: asset("seccomp-compile") },
        { tree: "op", path: "ceiling.json", mode: 0o444, bytes: asset("policies/seccomp/ceiling.json") },
        { tree: "op", path: "profile.json", mode: 0o444, bytes: profile },
      ],
      argv: ["./seccomp-compile", "--ceiling", "ceiling.json", "profile.json"],
      seccomp: "strict",
      limits: {
        wallMs: TIME_MS,
        graceMs: GRACE_MS,
        memoryBytes: 128 << 20,
        pids: 8,
        cpu: 1,
        tmpBytes: 1 << 20,
      },
      outputBytes: 256 * 1024,
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    const run = this.#launcher.run(grant, {
      onStarted: () => {},
      onOutput: (stream, bytes) => (stream === "stdout" ? out : err).push(Buffer.from(bytes)),
      ready: () => null,
      onProgress: () => {},
      onDenied: () => {},
    });
    const result = await run.finished;
    const said = Buffer.concat(err).toString("utf8").trim().split("\n");
    if (result.outcome === "exited" && result.exit === 0) {
      // Refused, they would be asked about before anybody listens.
      const lacks = said.filter((line) => line.startsWith("lacks ")).map((line) => line.slice(6));
      if (lacks.length > 0)
        throw new SallyportError(
          "bundle_invalid",
          `it does not allow ${lacks.join(" and ")}, without which no program starts or ends.`,
        );
      const notes = said.filter((line) => /^(narrowed|refused) [a-z0-9_]{1,64}$/.test(line));
      return { program: checked(Buffer.concat(out)), notes: [...new Set(notes)].slice(0, MAX_NOTES) };
    }
    const last = said.at(-1) ?? "";
    if (result.outcome === "exited" && last.startsWith("seccomp-compile: "))
      throw new SallyportError("bundle_invalid", `${printable(last.slice("seccomp-compile: ".length))}.`);
    throw new SallyportError(
      "launch_failed",
      `The profile could not be compiled: ${result.detail ?? result.signal ?? result.outcome}.`,
    );
  }
}

/** The profile of the bundle that the order names, or null where it names a shipped one. Throws `bundle_invalid`. */
export function ownProfile(order: Pick<RunOrder, "seccomp">, bundle: Uint8Array): Uint8Array | null {
  if (!order.seccomp.endsWith(".json")) return null;
  const file = decodeBundle(bundle).find(({ path }) => path === order.seccomp);
  if (file === undefined) throw new SallyportError("bundle_invalid", "The bundle lacks its seccomp profile.");
  return file.bytes;
}

/** A program is whole instructions; the kernel judges the rest, and a run whose program it refuses does not start. */
function checked(program: Buffer): Buffer {
  if (program.length > 0 && program.length % 8 === 0 && program.length <= 8 * 4096) return program;
  throw new SallyportError("launch_failed", `The compiler wrote a program of ${program.length} bytes.`);
}

const printable = (text: string): string => text.replace(/[^ -~]/g, "?").slice(0, 300);

function reasonOf(error: unknown): string {
  return error instanceof SallyportError ? error.detail || error.message : String(error);
}
