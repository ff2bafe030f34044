import { clearLine, createInterface, cursorTo, type Interface } from "node:readline";
import { SallyportError } from "../../core/errors.ts";

/** A prompt at the terminal that stays below what is printed meanwhile. */
export class Terminal {
  readonly #rl: Interface;
  #prompting = false;

  constructor() {
    this.#rl = createInterface({ input: process.stdin, output: process.stdout, historySize: 500 });
  }

  write(text: string): void {
    if (!this.#prompting) {
      process.stdout.write(text);
      return;
    }
    cursorTo(process.stdout, 0);
    clearLine(process.stdout, 0);
    process.stdout.write(text);
    this.#rl.prompt(true);
  }

  /** Calls `take` with each line, one after another, until it says `true`, Ctrl-D or Ctrl-C. */
  async lines(prompt: () => string, take: (line: string) => Promise<boolean>): Promise<void> {
    const rl = this.#rl;
    rl.on("SIGINT", () => rl.close());
    const typed: string[] = [];
    let isOver = false;
    let wake: () => void = () => undefined;
    rl.on("line", (line) => {
      typed.push(line);
      wake();
    });
    rl.once("close", () => {
      isOver = true;
      wake();
    });
    while (!isOver) {
      const line = typed.shift();
      if (line === undefined) {
        rl.setPrompt(prompt());
        rl.prompt();
        this.#prompting = true;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        this.#prompting = false;
        continue;
      }
      if (await take(line)) break;
    }
    process.stdout.write("\n");
  }

  close(): void {
    this.#rl.close();
  }
}

/** What a person typed wrongly is told; anything else ends the demo. */
export function told(error: unknown): string {
  if (error instanceof SallyportError && error.code !== "internal")
    return error.detail === "" ? error.message : error.detail;
  throw error;
}
