import type { Report } from "./tunnel.ts";

/** One connection, or `count` of them with the same target, outcome and reason, their bytes and times added up. */
export type Summary = Report & { readonly count: number };

/** Reported one by one up to here, then by the second; what is beyond is added up. An Op must not fill the log at will. */
const BURST = 200;
const PER_SECOND = 5;
const FLUSH_MS = 10_000;
const KINDS = 200;

export class Reports {
  readonly #tell: (summary: Summary) => void;
  readonly #sums = new Map<string, Summary>();
  #left = BURST;
  #filled = Date.now();
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (summary: Summary) => void) {
    this.#tell = tell;
  }

  add(report: Report): void {
    const now = Date.now();
    this.#left = Math.min(BURST, this.#left + ((now - this.#filled) / 1000) * PER_SECOND);
    this.#filled = now;
    if (this.#left >= 1) {
      this.#left--;
      this.#tell({ ...report, count: 1 });
      return;
    }
    // Its end, with the bytes, is what counts.
    if (report.outcome === "connected") return;
    const exact = JSON.stringify([report.outcome, report.target, report.reason]);
    const key = this.#sums.has(exact) || this.#sums.size < KINDS ? exact : report.outcome;
    const sum = this.#sums.get(key);
    this.#sums.set(key, {
      ...(key === exact ? report : { ...report, target: "", reason: "of several kinds" }),
      address: sum === undefined || sum.address === report.address ? report.address : null,
      bytesOut: report.bytesOut + (sum?.bytesOut ?? 0),
      bytesIn: report.bytesIn + (sum?.bytesIn ?? 0),
      ms: report.ms + (sum?.ms ?? 0),
      count: 1 + (sum?.count ?? 0),
    });
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS).unref();
  }

  /** Tells what was added up. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const sum of this.#sums.values()) this.#tell(sum);
    this.#sums.clear();
  }
}
