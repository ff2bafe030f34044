import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";
import { ERRORS, SallyportError } from "../../core/errors.ts";
import { asset, assetNames } from "../../host/asset.ts";
import { LONGEST_SOCKET } from "../../host/dirs.ts";
import { selfExec } from "../../host/self.ts";
import { FLOOR } from "../../keys/kdf.ts";

/** A Unix socket's path has room for 107 bytes, and this is what comes below the directory. */
const MAX_DIR = 107 - `/run/${LONGEST_SOCKET}`.length;
const START_MS = 20_000;
const STOP_MS = 1800;
const RESTART_MS = 5000;
const MAX_OUTPUT = 1024 * 1024;

export type Said = { status: number; out: string; err: string };

/**
 * A whole appliance in a temporary directory: the same executable started as a user would start it, with the passphrase on
 * a descriptor. `close` leaves no process and no file of it.
 */
export class House {
  readonly dir: string;
  readonly #passphrase = randomBytes(24).toString("base64url");
  readonly #log: string;
  readonly #children = new Set<ChildProcess>();
  #serve: ChildProcess | undefined;
  #closing = false;
  /** Resolves when `serve` ended though nobody told it to. */
  readonly fallen: Promise<void>;
  #fall: () => void = () => undefined;

  constructor() {
    const asked = join(tmpdir(), "sallyport-demo-");
    this.dir = temporary(asked.length + 6 > MAX_DIR ? "/tmp/sallyport-demo-" : asked);
    chmodSync(this.dir, 0o700);
    // Nobody has to be root to try it: where the host gives no cgroup, Ops run all the same, and the demo says so.
    writeFileSync(join(this.dir, "sallyport.yaml"), "limits: best-effort\n");
    this.#log = join(this.dir, "serve.log");
    this.fallen = new Promise((resolve) => {
      this.#fall = resolve;
    });
  }

  get #dirs(): Record<string, string> {
    return {
      SALLYPORT_CONFIG: join(this.dir, "sallyport.yaml"),
      SALLYPORT_STATE_DIR: join(this.dir, "state"),
      SALLYPORT_RUN_DIR: join(this.dir, "run"),
      SALLYPORT_LOG_DIR: join(this.dir, "log"),
    };
  }

  #start(args: readonly string[], stdio: ("ignore" | "pipe" | number)[]): ChildProcess {
    const { file, args: self } = selfExec();
    const { PATH = "/usr/bin:/bin", TZ } = process.env;
    // In a session of its own: Ctrl-C reaches the demo alone, which ends the rest in order, and nothing asks at its terminal.
    const child = spawn(file, [...self, ...args], {
      stdio,
      detached: true,
      env: { PATH, LANG: "C.UTF-8", ...(TZ === undefined ? {} : { TZ }), ...this.#dirs },
    });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }

  /** Runs one command of the executable to its end. `secret` goes to descriptor 3. Never throws for a status. */
  run(args: readonly string[], secret?: string): Promise<Said> {
    const child = this.#start(args, [
      "ignore",
      "pipe",
      "pipe",
      ...(secret === undefined ? [] : ["pipe" as const]),
    ]);
    if (secret !== undefined) {
      const pipe = child.stdio[3] as Writable;
      pipe.on("error", () => undefined);
      pipe.end(secret);
    }
    const text = { out: "", err: "" };
    for (const [name, stream] of [
      ["out", child.stdout],
      ["err", child.stderr],
    ] as const) {
      stream?.setEncoding("utf8");
      stream?.on("data", (chunk: string) => {
        if (text[name].length < MAX_OUTPUT) text[name] += chunk;
      });
    }
    return new Promise((resolve, reject) => {
      child.once("error", (cause) =>
        reject(new SallyportError("internal", "The executable can't be started again.", { cause })),
      );
      child.once("close", (code) => resolve({ status: code ?? 1, ...text }));
    });
  }

  /** As `run`, for a step that has to work. Throws `internal` with what the command said. */
  async must(args: readonly string[], secret?: string): Promise<string> {
    const said = await this.run(args, secret);
    if (said.status === 0) return said.out;
    const why = (said.err.trim() || said.out.trim()).split("\n").slice(-3).join(" ");
    throw new SallyportError(
      "internal",
      `"sallyport ${args.join(" ")}" ended with status ${said.status}: ${why}`,
    );
  }

  init(admin: string): Promise<string> {
    const { m, t, p } = FLOOR;
    return this.must(
      ["init", "--admin", admin, "--passphrase-fd", "3", "--argon2", `${m},${t},${p}`],
      `${this.#passphrase}\n`,
    );
  }

  /** Right after a lock the roles are being started anew, so nobody may answer yet. */
  async unlock(options: readonly string[] = []): Promise<Said> {
    const until = Date.now() + RESTART_MS;
    for (;;) {
      const said = await this.run(["unlock", "--passphrase-fd", "3", ...options], `${this.#passphrase}\n`);
      if (said.status !== ERRORS.not_running.exit || Date.now() > until) return said;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Starts all roles. Throws what `serve` said when it can't start. */
  async serve(slackApiUrl: string): Promise<void> {
    const log = openSync(this.#log, "a", 0o600);
    // Held open as long as this process lives, however it ends.
    const args = ["serve", "--end-with-stdin", "--slack-api-url", slackApiUrl, "--post-rate", "100"];
    const serve = this.#start(args, ["pipe", log, log]);
    closeSync(log);
    this.#serve = serve;
    serve.once("exit", () => {
      if (!this.#closing) this.#fall();
    });
    const socket = join(this.dir, "run", "admin.sock");
    const until = Date.now() + START_MS;
    while (!existsSync(socket)) {
      if (serve.exitCode !== null || serve.signalCode !== null)
        throw new SallyportError("internal", `serve ended at once: ${this.lastWords()}`);
      if (Date.now() > until)
        throw new SallyportError(
          "timeout",
          `serve did not start within ${START_MS / 1000} s: ${this.lastWords()}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The end of what `serve` printed: its warnings and errors, where there are any. */
  lastWords(): string {
    let lines: string[];
    try {
      lines = readFileSync(this.#log, "utf8").trimEnd().split("\n");
    } catch {
      return "(it said nothing)";
    }
    const grave = lines.filter((line) => !/^\{"(?:@timestamp|level":[123]0)/.test(line));
    return (grave.length > 0 ? grave : lines).slice(-3).join("\n").slice(-2000);
  }

  /** The Ops that come with the executable, each as a folder to publish. */
  examples(): string[] {
    const folders = new Set<string>();
    for (const name of assetNames("examples/")) {
      if (name.split("/").length < 3) continue;
      const file = join(this.dir, name);
      const bytes = asset(name);
      mkdirSync(dirname(file), { recursive: true });
      // Assets keep no mode: a script is what says which program reads it.
      writeFileSync(file, bytes, { mode: bytes.subarray(0, 2).equals(Buffer.from("#!")) ? 0o755 : 0o644 });
      folders.add(join(this.dir, name.split("/").slice(0, 2).join("/")));
    }
    return [...folders].sort();
  }

  /** Ends every process within about 2 s and removes the directory. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    const all = [...this.#children];
    const gone = all.map(
      (child) =>
        new Promise<void>((resolve) => {
          if (child.exitCode !== null || child.signalCode !== null) resolve();
          else child.once("exit", () => resolve());
        }),
    );
    for (const child of all) child.kill("SIGTERM");
    const timer = setTimeout(() => {
      for (const child of all) killGroup(child);
    }, STOP_MS);
    await Promise.all(gone);
    clearTimeout(timer);
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }

  /**
   * For the moment when there is no time left: nothing survives, at the price of nothing being said. The roles are ended by the
   * kernel as serve ends, a moment later, and may still write.
   */
  kill(): void {
    this.#closing = true;
    for (const child of this.#children) killGroup(child);
    try {
      rmSync(this.dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
    } catch {
      // It is in the temporary directory, encrypted under a passphrase that nobody has any more.
    }
  }

  get serving(): boolean {
    return this.#serve !== undefined && this.#serve.exitCode === null && this.#serve.signalCode === null;
  }
}

function temporary(prefix: string): string {
  try {
    return mkdtempSync(prefix);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new SallyportError(
      "not_found",
      `No temporary directory can be made in ${dirname(prefix)} (${code}); set TMPDIR to a place where one can.`,
      { cause },
    );
  }
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}
