/** Runs at once on this appliance; further ones wait as `queued`. */
const MAX_RUNNING = 16;

/** Places of running Ops: taken before the transaction that starts a run, so that two requests at once can't share one. */
export class RunSlots {
  readonly #byOp = new Map<string, number>();
  #all = 0;

  get taken(): number {
    return this.#all;
  }

  /** False where the Op's own bound or the appliance's is reached. */
  take(op: string, concurrency: number): boolean {
    const same = this.#byOp.get(op) ?? 0;
    if (same >= concurrency || this.#all >= MAX_RUNNING) return false;
    this.#byOp.set(op, same + 1);
    this.#all++;
    return true;
  }

  release(op: string): void {
    const same = this.#byOp.get(op) ?? 0;
    if (same <= 1) this.#byOp.delete(op);
    else this.#byOp.set(op, same - 1);
    this.#all--;
  }
}
