import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, constants, copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startWorkspace, type Workspace, type WorkspaceOptions } from "../../src/workspace/index.ts";

const ROOT = join(import.meta.dirname, "../..");
const PACKAGED = join(ROOT, "dist/sallyport");
export const PASSPHRASE = "correct horse battery staple";

/** What runs in these tests: the packaged executable; with SALLYPORT_TEST_DEV=1 the sources, for quick work on them. */
export function program(): string[] {
  if (process.env.SALLYPORT_TEST_DEV === "1")
    return [process.execPath, "--disable-sigusr1", join(ROOT, "src/main.ts")];
  // A benchmark's own copy.
  if (process.env.SALLYPORT_TEST_PROGRAM !== undefined) return [process.env.SALLYPORT_TEST_PROGRAM];
  if (!existsSync(PACKAGED)) throw new Error("dist/sallyport is missing; run scripts/build first");
  return [PACKAGED];
}

let reachable: string | undefined;

/** The same program where any account can reach it: a checkout may lie in a directory that only its owner enters. */
export function programForOthers(): string[] {
  const [file = "", ...rest] = program();
  if (rest.length > 0) return [file, ...rest];
  if (reachable === undefined) {
    const dir = mkdtempSync(join(tmpdir(), "sallyport-program-"));
    chmodSync(dir, 0o755);
    reachable = join(dir, "sallyport");
    copyFileSync(file, reachable, constants.COPYFILE_FICLONE);
    chmodSync(reachable, 0o755);
    process.once("exit", () => rmSync(dir, { recursive: true, force: true }));
  }
  return [reachable];
}

/** What a command begins with to run as another host account. */
export function asAccount(uid: number): string[] {
  return ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
}
export const OTHER_ACCOUNT = 65534;
/** For `skip`. */
export const needsRoot = process.getuid?.() === 0 ? false : "another account can be tried only as root";

export type Result = { status: number | null; stdout: string; stderr: string; json: () => never };

/** A real appliance in a directory of its own: the executable, its roles, and a workspace on loopback. */
export class TestAppliance {
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;
  workspace: Workspace | undefined;
  serving: ChildProcess | undefined;
  log = "";
  events: string[] = [];

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), "sallyport-e2e-"));
    chmodSync(this.dir, 0o755);
    this.configure("limits: best-effort\n");
    this.env = {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      SALLYPORT_CONFIG: join(this.dir, "sallyport.yaml"),
      SALLYPORT_STATE_DIR: join(this.dir, "state"),
      SALLYPORT_RUN_DIR: join(this.dir, "run"),
      SALLYPORT_LOG_DIR: join(this.dir, "log"),
    };
  }

  /** sallyport.yaml, for the next start. The rig's own lets Ops run on machines that give an ordinary user no cgroup. */
  configure(yaml: string): void {
    writeFileSync(join(this.dir, "sallyport.yaml"), yaml);
  }

  get stateDir(): string {
    return join(this.dir, "state");
  }

  /** Runs a command of the CLI. `secret` arrives on descriptor 3. */
  cli(args: readonly string[], secret?: string | Uint8Array, env: NodeJS.ProcessEnv = {}): Promise<Result> {
    return this.#run([...program(), ...args], env, secret);
  }

  /** As `cli`, from another host account, which root alone can. */
  cliAs(uid: number, args: readonly string[]): Promise<Result> {
    return this.#run([...asAccount(uid), ...programForOthers(), ...args], { HOME: "/" });
  }

  #run(command: readonly string[], env: NodeJS.ProcessEnv, secret?: string | Uint8Array): Promise<Result> {
    const [file = "", ...args] = command;
    const child = spawn(file, args, {
      env: { ...this.env, ...env },
      stdio: ["ignore", "pipe", "pipe", secret === undefined ? "ignore" : "pipe"],
    });
    if (secret !== undefined) {
      const input = child.stdio[3] as NodeJS.WritableStream;
      input.on("error", () => undefined);
      input.end(secret);
    }
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => err.push(chunk));
    return new Promise((resolve) => {
      child.once("close", (status) => {
        const stdout = Buffer.concat(out).toString("utf8");
        const stderr = Buffer.concat(err).toString("utf8");
        resolve({ status, stdout, stderr, json: () => JSON.parse(stdout) as never });
      });
    });
  }

  /** As `cli`, and throws unless it ended with 0. */
  async ok(args: readonly string[], secret?: string | Uint8Array): Promise<Result> {
    const result = await this.cli(args, secret);
    if (result.status !== 0) {
      throw new Error(
        `sallyport ${args.join(" ")} ended with ${result.status}: ${result.stderr}${this.log.slice(-3000)}`,
      );
    }
    return result;
  }

  async init(): Promise<string> {
    const made = await this.ok(
      ["init", "--passphrase-fd", "3", "--argon2", "65536,3,4", "--admin", "alice", "--json"],
      `${PASSPHRASE}\n`,
    );
    return (made.json() as { recoveryCode: string }).recoveryCode;
  }

  /** Starts `serve` and waits until the keeper answers. */
  async serve(o: { ownGroup?: boolean } = {}): Promise<void> {
    const [file = "", ...args] = program();
    const url = this.workspace === undefined ? [] : ["--slack-api-url", this.workspace.apiUrl];
    const child = spawn(file, [...args, "serve", "--post-rate", "50", ...url], {
      env: this.env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: o.ownGroup === true,
    });
    this.serving = child;
    let partial = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (partial + chunk.toString("utf8")).split("\n");
      partial = lines.pop() ?? "";
      this.events.push(...lines);
    });
    child.stderr?.on("data", (chunk: Buffer) => {
      this.log += chunk.toString("utf8");
    });
    await until(
      () => this.log.includes("serving, sealed") || child.exitCode !== null,
      20_000,
      () => this.log,
    );
    if (child.exitCode !== null) throw new Error(`serve ended with ${child.exitCode}: ${this.log}`);
  }

  async unlock(): Promise<void> {
    await this.ok(["unlock", "--passphrase-fd", "3"], PASSPHRASE);
  }

  async connectSlack(): Promise<void> {
    const { appToken, botToken } = this.workspace!;
    const said = await this.ok(
      ["slack", "connect", "--value-fd", "3", "--json"],
      `${appToken}\n${botToken}\n`,
    );
    if (!(said.json() as { connected: boolean }).connected)
      throw new Error(`not connected: ${said.stdout}${this.log}`);
  }

  /** Everything up to a person who may run Ops of namespace demo. */
  async ready(options: WorkspaceOptions = {}): Promise<Workspace> {
    this.workspace = await startWorkspace({ keepTcpOpen: false, ...options });
    await this.init();
    await this.serve();
    await this.unlock();
    await this.connectSlack();
    await this.ok(["namespace", "add", "demo"]);
    for (const name of ["alice", "bob", "mallory"]) this.workspace.addPerson({ name });
    this.workspace.addChannel({ name: "ops", members: ["alice", "bob", "mallory"], botIsMember: true });
    for (const name of ["bob", "mallory"]) await this.ok(["user", "add", name]);
    for (const name of ["alice", "bob", "mallory"]) await this.link(name);
    await this.ok(["role", "grant", "runner", "demo", "bob"]);
    return this.workspace;
  }

  /** The real flow: the person types /ops link, the admin confirms the code on the host. */
  async link(name: string): Promise<void> {
    const asked = this.workspace!.command(name, "ops", "/ops link");
    const answer = await asked.response(5000);
    const code = /sallyport link ([0-9A-Z-]+)/.exec(JSON.stringify(answer.blocks) + answer.text)?.[1];
    if (code === undefined) throw new Error(`no code in ${JSON.stringify(answer)}`);
    await this.ok(["link", code, "--user", name, "--json"]);
  }

  publish(dir: string): Promise<Result> {
    return this.ok(["op", "publish", dir, "--json"]);
  }

  async stopServing(): Promise<void> {
    const child = this.serving;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      await ended;
    }
  }

  /** Ends what this test started, and removes its directory. */
  async stop(): Promise<void> {
    await this.stopServing();
    await this.workspace?.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function until(
  test: () => boolean | Promise<boolean>,
  ms: number,
  why: () => string = () => "",
): Promise<void> {
  const end = Date.now() + ms;
  while (!(await test())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms. ${why().slice(-3000)}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
