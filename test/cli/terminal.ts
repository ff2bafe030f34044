import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../e2e/appliance.ts";

export const hasTmux = spawnSync("tmux", ["-V"]).status === 0;

/** A real terminal (tmux on a socket of its own) in which one command runs; its exit status is printed as `EXIT:n`. */
export class Terminal {
  readonly #dir = mkdtempSync(join(tmpdir(), "sallyport-tty-"));
  readonly #socket = join(this.#dir, "tmux");

  constructor(command: readonly string[], env: NodeJS.ProcessEnv) {
    const words = ["env", ...Object.entries(env).map(([k, v]) => `${k}=${v}`), ...command]
      .map(quote)
      .join(" ");
    this.#tmux(
      "-f",
      "/dev/null",
      "new-session",
      "-d",
      "-x",
      "160",
      "-y",
      "50",
      `${words}; echo "EXIT:$?"; exec sh`,
    );
    this.#tmux("set-option", "-g", "remain-on-exit", "on");
  }

  #tmux(...args: string[]): string {
    return execFileSync("tmux", ["-S", this.#socket, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      // Else it takes the account's login shell, which a service account has none of.
      env: { ...process.env, SHELL: "/bin/sh" },
    });
  }

  /** The shell that runs the command. */
  get pid(): number {
    return Number(this.#tmux("display-message", "-p", "#{pane_pid}").trim());
  }

  /** What the screen shows and has shown. */
  screen(): string {
    return this.#tmux("capture-pane", "-p", "-J", "-S", "-");
  }

  async shows(what: RegExp | string, ms = 15_000): Promise<string> {
    const seen = () => (typeof what === "string" ? this.screen().includes(what) : what.test(this.screen()));
    await until(seen, ms, () => `No ${what} on the screen:\n${this.screen()}`);
    return this.screen();
  }

  /** Types text as it is. */
  type(text: string): void {
    this.#tmux("send-keys", "-l", text);
  }

  /** Presses a key by its tmux name: Enter, C-c, BSpace. */
  press(key: string): void {
    this.#tmux("send-keys", key);
  }

  enter(text: string): void {
    this.type(text);
    this.press("Enter");
  }

  /** The exit status of the command. */
  async status(): Promise<number> {
    const screen = await this.shows(/EXIT:[0-9]+/);
    return Number(/EXIT:([0-9]+)/.exec(screen)?.[1]);
  }

  /** Whether the terminal echoes again, once the command has ended. */
  async echoes(): Promise<boolean> {
    this.enter("stty -a; echo done-$((1+1))");
    const screen = await this.shows("done-2");
    return / echo /.test(screen) && / icanon /.test(screen);
  }

  close(): void {
    try {
      this.#tmux("kill-server");
    } catch {
      // It has ended already.
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
