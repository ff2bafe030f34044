import type { Seen } from "./redact.ts";

/** The ways on which an Op's own bytes leave its run. `detail`: how it ended; `process`: the name that a process gave itself. */
export type PrintedIn = "stdout" | "stderr" | "progress" | "detail" | "process";

export interface Printed {
  /** namespace/NAME */
  readonly secret: string;
  readonly stream: PrintedIn;
  readonly count: number;
}

/** Counts what was taken out of a run's output. At most one for each secret and way. */
export class PrintedSecrets {
  readonly #counts = new Map<string, Printed>();
  readonly #first: (printed: Printed) => void;

  /** `first`: told when a secret is seen the first time on its way. */
  constructor(first: (printed: Printed) => void) {
    this.#first = first;
  }

  on(stream: PrintedIn): Seen {
    return (secret, count) => {
      const key = `${stream} ${secret}`;
      const before = this.#counts.get(key);
      const now = { secret, stream, count: (before?.count ?? 0) + count };
      this.#counts.set(key, now);
      if (before === undefined) this.#first(now);
    };
  }

  totals(): Printed[] {
    return [...this.#counts.values()];
  }
}
